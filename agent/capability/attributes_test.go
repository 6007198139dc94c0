package capability

import (
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"
)

// supervised is the host of docs/spec/03 section 4.10 with a program that lacks
// nothing.
func supervised() Facts {
	return Facts{
		OS: "linux", Implemented: All(),
		DockerAPIs: DockerAPIs("linux", "1.44", "1.24"), VolumePlugins: []string{"amazon-ecs-volume-plugin"}, PauseImage: true,
		LogDrivers: []string{"json-file", "syslog", "awslogs", "fluentd", "none"}, TaskRole: true, TaskRoleHost: true,
		TaskLimits: true, ExecutionRoleLogs: true, PluginCapabilities: []string{"efsAuth"},
		TaskENI: true, Trunking: true, CNIVersion: "abc-2024.09.0", BranchCNIVersion: "def-2024.09.0",
		CPUFlags:  []string{"fpu", "sse4_1", "sse4_2", "avx", "avx2"},
		ExecAgent: true, ServiceConnectImage: true, EBS: true, CSIImage: true, FaultTools: true,
	}
}

const acceptance = `
ecs.capability.private-registry-authentication.secretsmanager
ecs.capability.secrets.ssm.environment-variables
ecs.capability.secrets.ssm.bootstrap.log-driver
ecs.capability.ecr-endpoint
ecs.capability.secrets.asm.environment-variables
ecs.capability.secrets.asm.bootstrap.log-driver
ecs.capability.container-ordering
ecs.capability.full-sync
ecs.capability.env-files.s3
ecs.capability.network.container-port-range
ecs.capability.container-restart-policy
com.amazonaws.ecs.capability.privileged-container
com.amazonaws.ecs.capability.docker-remote-api.1.17
com.amazonaws.ecs.capability.docker-remote-api.1.18
com.amazonaws.ecs.capability.docker-remote-api.1.19
com.amazonaws.ecs.capability.docker-remote-api.1.20
com.amazonaws.ecs.capability.docker-remote-api.1.21
com.amazonaws.ecs.capability.docker-remote-api.1.22
com.amazonaws.ecs.capability.docker-remote-api.1.23
com.amazonaws.ecs.capability.docker-remote-api.1.24
com.amazonaws.ecs.capability.docker-remote-api.1.25
com.amazonaws.ecs.capability.docker-remote-api.1.28
com.amazonaws.ecs.capability.docker-remote-api.1.29
com.amazonaws.ecs.capability.docker-remote-api.1.30
com.amazonaws.ecs.capability.docker-remote-api.1.32
com.amazonaws.ecs.capability.logging-driver.json-file
com.amazonaws.ecs.capability.logging-driver.syslog
com.amazonaws.ecs.capability.logging-driver.awslogs
com.amazonaws.ecs.capability.logging-driver.fluentd
com.amazonaws.ecs.capability.logging-driver.none
com.amazonaws.ecs.capability.task-iam-role
com.amazonaws.ecs.capability.task-iam-role-network-host
ecs.capability.task-cpu-mem-limit
ecs.capability.increased-task-cpu-limit
ecs.capability.task-eni
ecs.capability.task-eni.ipv6
ecs.capability.cni-plugin-version=abc-2024.09.0
ecs.capability.task-eni-trunking
ecs.capability.branch-cni-plugin-version=def-2024.09.0
com.amazonaws.ecs.capability.ecr-auth
ecs.capability.execution-role-ecr-pull
ecs.capability.container-health-check
ecs.capability.execution-role-awslogs
ecs.capability.docker-plugin.local
ecs.capability.docker-plugin.amazon-ecs-volume-plugin
ecs.capability.pid-ipc-namespace-sharing
ecs.capability.aws-appmesh
ecs.capability.task-eia
ecs.capability.task-eia.optimized-cpu
ecs.capability.firelens.fluentd
ecs.capability.firelens.fluentbit
com.amazonaws.ecs.capability.logging-driver.awsfirelens
ecs.capability.logging-driver.awsfirelens.log-driver-buffer-limit
ecs.capability.firelens.non-root-user
ecs.capability.efs
ecs.capability.storage.s3-files
ecs.capability.firelens.options.config.file
ecs.capability.firelens.options.config.s3
ecs.capability.efsAuth
ecs.capability.execute-command
ecs.capability.service-connect-v1
ecs.capability.storage.ebs-task-volume-attach
ecs.capability.storage.ebsta-non-root-user
ecs.capability.fault-injection
ecs.capability.ipv6-only
`

func lines(attributes []Attribute) []string {
	var out []string
	for _, a := range attributes {
		line := a.Name
		if a.Value != "" {
			line += "=" + a.Value
		}
		out = append(out, line)
	}
	return out
}

func TestAcceptanceVector(t *testing.T) {
	if diff := cmp.Diff(strings.Fields(acceptance), lines(Attributes(supervised()))); diff != "" {
		t.Errorf("attributes (-want +got)\n%s", diff)
	}
}

// without and with are what a change of facts takes from, and adds to, the
// acceptance vector.
func TestConditions(t *testing.T) {
	tests := []struct {
		name    string
		change  func(*Facts)
		without string
		with    string
	}{
		{"privileged disabled", func(f *Facts) { f.PrivilegedDisabled = true }, "com.amazonaws.ecs.capability.privileged-container", ""},
		{"selinux", func(f *Facts) { f.SELinux = true }, "", "com.amazonaws.ecs.capability.selinux"},
		{"apparmor", func(f *Facts) { f.AppArmor = true }, "", "com.amazonaws.ecs.capability.apparmor"},
		{"no task roles", func(f *Facts) { f.TaskRole = false }, "com.amazonaws.ecs.capability.task-iam-role", ""},
		{"no task roles in host mode", func(f *Facts) { f.TaskRoleHost = false }, "com.amazonaws.ecs.capability.task-iam-role-network-host", ""},
		{"no task limits", func(f *Facts) { f.TaskLimits = false }, "ecs.capability.task-cpu-mem-limit ecs.capability.increased-task-cpu-limit", ""},
		{"no health checks", func(f *Facts) { f.HealthChecksDisabled = true }, "ecs.capability.container-health-check", ""},
		{"no task eni", func(f *Facts) { f.TaskENI = false; f.BlockIMDS = true },
			"ecs.capability.task-eni ecs.capability.task-eni.ipv6 ecs.capability.cni-plugin-version=abc-2024.09.0 ecs.capability.task-eni-trunking ecs.capability.branch-cni-plugin-version=def-2024.09.0 ecs.capability.aws-appmesh", ""},
		{"no trunking", func(f *Facts) { f.Trunking = false }, "ecs.capability.task-eni-trunking ecs.capability.branch-cni-plugin-version=def-2024.09.0", ""},
		{"silent plugins still block", func(f *Facts) { f.CNIVersion, f.BranchCNIVersion, f.BlockIMDS = "", "", true },
			"ecs.capability.cni-plugin-version=abc-2024.09.0 ecs.capability.branch-cni-plugin-version=def-2024.09.0", "ecs.capability.task-eni-block-instance-metadata"},
		{"no awslogs override", func(f *Facts) { f.ExecutionRoleLogs = false }, "ecs.capability.execution-role-awslogs", ""},
		{"managed plugin", func(f *Facts) { f.VolumePlugins = append(f.VolumePlugins, "rexray/ebs:latest", "x:1.0") }, "",
			"ecs.capability.docker-plugin.rexray/ebs ecs.capability.docker-plugin.rexray/ebs.latest ecs.capability.docker-plugin.x.1.0"},
		{"a plugin named twice", func(f *Facts) { f.VolumePlugins = append(f.VolumePlugins, "local", "amazon-ecs-volume-plugin") }, "", ""},
		{"gpu", func(f *Facts) { f.GPU, f.GPUDriver = true, "550.1" }, "", "ecs.capability.nvidia-driver-version.550.1 ecs.capability.gpu-driver-version=550.1"},
		{"gpu without driver", func(f *Facts) { f.GPU = true }, "", ""},
		{"no pause image", func(f *Facts) { f.PauseImage = false }, "ecs.capability.pid-ipc-namespace-sharing", ""},
		{"older cpu", func(f *Facts) { f.CPUFlags = []string{"avx", "sse4_1", "sse4_2"} }, "ecs.capability.task-eia.optimized-cpu", ""},
		{"gmsa", func(f *Facts) { f.GMSA, f.GMSADomainless = true, true }, "", "ecs.capability.gmsa ecs.capability.gmsa-domainless"},
		{"no exec agent", func(f *Facts) { f.ExecAgent = false }, "ecs.capability.execute-command", ""},
		{"no service connect image", func(f *Facts) { f.ServiceConnectImage = false }, "ecs.capability.service-connect-v1", ""},
		{"no csi image", func(f *Facts) { f.CSIImage = false }, "ecs.capability.storage.ebs-task-volume-attach", ""},
		{"no ebs", func(f *Facts) { f.EBS = false }, "ecs.capability.storage.ebs-task-volume-attach ecs.capability.storage.ebsta-non-root-user", ""},
		{"no fault tools", func(f *Facts) { f.FaultTools = false }, "ecs.capability.fault-injection", ""},
		{"imds roles", func(f *Facts) { f.IMDSRoles = true }, "", "ecs.capability.imds-iam-roles"},
		{"fsx is for windows", func(f *Facts) { f.FSx = true }, "", ""},
		{"awsfirelens as a driver adds nothing", func(f *Facts) { f.LogDrivers = append(f.LogDrivers, "awsfirelens", "bogus") }, "", ""},
		{"more drivers", func(f *Facts) { f.LogDrivers = append(f.LogDrivers, "logentries", "sumologic") }, "",
			"com.amazonaws.ecs.capability.logging-driver.logentries com.amazonaws.ecs.capability.logging-driver.sumologic"},
		{"external", func(f *Facts) { f.External = true; f.BlockIMDS = true },
			"ecs.capability.task-eni ecs.capability.task-eni.ipv6 ecs.capability.cni-plugin-version=abc-2024.09.0 ecs.capability.task-eni-trunking " +
				"ecs.capability.branch-cni-plugin-version=def-2024.09.0 ecs.capability.aws-appmesh ecs.capability.task-eia ecs.capability.task-eia.optimized-cpu " +
				"ecs.capability.service-connect-v1 ecs.capability.storage.ebs-task-volume-attach ecs.capability.storage.ebsta-non-root-user ecs.capability.fault-injection",
			"ecs.capability.external"},
		{"old docker", func(f *Facts) {
			f.DockerAPIs = DockerAPIs("linux", "1.21", "1.12")
			f.LogDrivers = []string{"awslogs", "splunk"}
		},
			"com.amazonaws.ecs.capability.docker-remote-api.1.22 com.amazonaws.ecs.capability.docker-remote-api.1.23 com.amazonaws.ecs.capability.docker-remote-api.1.24 " +
				"com.amazonaws.ecs.capability.docker-remote-api.1.25 com.amazonaws.ecs.capability.docker-remote-api.1.28 com.amazonaws.ecs.capability.docker-remote-api.1.29 " +
				"com.amazonaws.ecs.capability.docker-remote-api.1.30 com.amazonaws.ecs.capability.docker-remote-api.1.32 " +
				"com.amazonaws.ecs.capability.logging-driver.json-file com.amazonaws.ecs.capability.logging-driver.syslog com.amazonaws.ecs.capability.logging-driver.fluentd " +
				"com.amazonaws.ecs.capability.logging-driver.none ecs.capability.task-cpu-mem-limit ecs.capability.increased-task-cpu-limit ecs.capability.container-health-check", ""},
	}
	base := lines(Attributes(supervised()))
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			f := supervised()
			tt.change(&f)
			got := lines(Attributes(f))
			var lost, won []string
			for _, b := range base {
				if !slices.Contains(got, b) {
					lost = append(lost, b)
				}
			}
			for _, g := range got {
				if !slices.Contains(base, g) {
					won = append(won, g)
				}
			}
			slices.Sort(lost)
			want := strings.Fields(tt.without)
			slices.Sort(want)
			if !slices.Equal(lost, want) {
				t.Errorf("took away %q, want %q", lost, want)
			}
			if !slices.Equal(won, strings.Fields(tt.with)) {
				t.Errorf("added %q, want %q", won, strings.Fields(tt.with))
			}
		})
	}
}

func TestWindows(t *testing.T) {
	f := supervised()
	f.OS, f.FSx, f.DockerAPIs = "windows", true, DockerAPIs("windows", "1.44", "1.24")
	got := lines(Attributes(f))
	for _, name := range []string{
		"task-eni.ipv6", "task-eni-trunking", "task-cpu-mem-limit", "pid-ipc-namespace-sharing", "aws-appmesh", "task-eia", "firelens.fluentd", "efs", "efsAuth",
		"storage.s3-files", "storage.ebsta-non-root-user", "fault-injection", "ipv6-only", "docker-plugin.amazon-ecs-volume-plugin", "service-connect-v1",
	} {
		if slices.Contains(got, prefix+name) {
			t.Errorf("%s is advertised on windows", name)
		}
	}
	for _, name := range []string{prefix + "fsxWindowsFileServer", prefix + "task-eni", prefix + "docker-plugin.local", legacy + "docker-remote-api.1.17",
		legacy + "docker-remote-api.1.30", prefix + "execute-command", prefix + "storage.ebs-task-volume-attach"} {
		if !slices.Contains(got, name) {
			t.Errorf("%s is missing on windows", name)
		}
	}
	if slices.Contains(got, legacy+"docker-remote-api.1.32") {
		t.Error("API 1.32 is advertised on windows")
	}
}

func TestDockerAPIs(t *testing.T) {
	tests := []struct{ os, server, minimum, first, last string }{
		{"linux", "1.44", "1.24", "1.17", "1.44"},
		{"linux", "1.41", "1.12", "1.17", "1.41"},
		{"linux", "1.52", "1.44", "1.17", "1.44"},
		{"linux", "1.60", "1.50", "1.17", "1.44"},
		{"linux", "1.30", "1.22", "1.22", "1.30"},
		{"linux", "1.20", "", "1.17", "1.20"},
		{"linux", "", "", "", ""},
		{"linux", "2.0", "1.24", "", ""},
		{"linux", "1.x", "", "", ""},
		{"windows", "1.44", "1.24", "1.17", "1.30"},
		{"windows", "1.52", "1.44", "1.17", "1.30"},
	}
	for _, tt := range tests {
		got := DockerAPIs(tt.os, tt.server, tt.minimum)
		first, last := "", ""
		if len(got) > 0 {
			first, last = got[0], got[len(got)-1]
		}
		if first != tt.first || last != tt.last {
			t.Errorf("%+v: got %s to %s", tt, first, last)
		}
	}
}

// A program that implements nothing promises nothing but its Docker versions.
func TestNothingImplemented(t *testing.T) {
	f := supervised()
	f.Implemented = nil
	for _, a := range Attributes(f) {
		if !strings.HasPrefix(a.Name, legacy+"docker-remote-api.") {
			t.Errorf("%s is advertised", a.Name)
		}
	}
}

// Adding a feature never takes an attribute away, and no name comes twice.
func TestFeaturesOnlyAdd(t *testing.T) {
	var features []Feature
	for f := range All() {
		features = append(features, f)
	}
	slices.Sort(features)
	rapid.Check(t, func(t *rapid.T) {
		f := supervised()
		f.External = rapid.Bool().Draw(t, "external")
		f.OS = rapid.SampledFrom([]string{"linux", "windows"}).Draw(t, "os")
		some := rapid.SliceOfDistinct(rapid.SampledFrom(features), rapid.ID).Draw(t, "features")
		f.Implemented = Implemented(some...)
		before := lines(Attributes(f))
		f.Implemented = Implemented(append(some, rapid.SampledFrom(features).Draw(t, "one more"))...)
		after := lines(Attributes(f))
		i := 0
		seen := make(map[string]bool)
		for _, a := range after {
			if seen[a] {
				t.Fatalf("%s comes twice", a)
			}
			seen[a] = true
			if i < len(before) && before[i] == a {
				i++
			}
		}
		if i < len(before) {
			t.Fatalf("%s got lost or changed its place", before[i])
		}
	})
}

func TestCheck(t *testing.T) {
	f := supervised()
	f.DockerAPIs = DockerAPIs("linux", "1.21", "")
	if err := Check(f); err != nil {
		t.Errorf("the default is refused: %v", err)
	}
	f.TaskLimitsExplicit = true
	if err := Check(f); err == nil || !strings.Contains(err.Error(), "1.22") {
		t.Errorf("error %v", err)
	}
	f.DockerAPIs = DockerAPIs("linux", "1.22", "")
	if err := Check(f); err != nil {
		t.Error(err)
	}
	for name, want := range map[string]bool{"json-file": true, "awsfirelens": true, "bogus": false, "": false} {
		if KnownLogDriver(name) != want {
			t.Errorf("KnownLogDriver(%q) is %v", name, !want)
		}
	}
}

func TestInstanceAttributes(t *testing.T) {
	i := Instance{
		TaskENI: true, VPCID: "vpc-1", SubnetID: "subnet-1", OSType: "linux", OSFamily: "LINUX", OSDetailed: "amzn_2023",
		Architecture: "x86_64", OutpostARN: "arn:op",
	}
	want := strings.Fields("ecs.vpc-id=vpc-1 ecs.subnet-id=subnet-1 ecs.os-type=linux ecs.os-family=LINUX ecs.os-type-detailed=amzn_2023 ecs.outpost-arn=arn:op")
	if got := lines(InstanceAttributes(i)); !slices.Equal(got, want) {
		t.Errorf("%q, want %q", got, want)
	}
	i.External, i.OutpostARN, i.OSDetailed = true, "", ""
	want = strings.Fields("ecs.os-type=linux ecs.os-family=LINUX ecs.cpu-architecture=x86_64")
	if got := lines(InstanceAttributes(i)); !slices.Equal(got, want) {
		t.Errorf("external: %q, want %q", got, want)
	}
}
