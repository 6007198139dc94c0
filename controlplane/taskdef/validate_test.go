package taskdef

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"

	"ecsagent/controlplane/api"
)

// parse decodes a definition given as task members and members of its container
// app; a second container, db, stands beside it.
func parse(t testing.TB, task, app string) *api.RegisterTaskDefinitionRequest {
	t.Helper()
	if task != "" {
		task = ", " + task
	}
	if app != "" {
		app = ", " + app
	}
	text := fmt.Sprintf(`{"family": "web" %s, "containerDefinitions": [{"name": "app", "image": "x", "memory": 64 %s},
		{"name": "db", "image": "y", "memory": 64, "essential": false}]}`, task, app)
	def := new(api.RegisterTaskDefinitionRequest)
	if err := json.Unmarshal([]byte(text), def); err != nil {
		t.Fatalf("%v: %s", err, text)
	}
	return def
}

func TestValidate(t *testing.T) {
	const execution = `"executionRoleArn": "arn:aws:iam::1:role/e"`
	for _, tt := range []struct{ task, app, want string }{
		{"", "", ""},
		{`"networkMode": "host"`, `"portMappings": [{"containerPort": 80, "hostPort": 80}]`, ""},
		{`"networkMode": "host"`, `"portMappings": [{"containerPort": 80}]`, ""},
		{"", `"portMappings": [{"containerPort": 80, "protocol": "tcp"}, {"containerPort": 80, "protocol": "udp"}, {"containerPort": 80}]`, ""},
		{"", `"dependsOn": [{"containerName": "db", "condition": "COMPLETE"}], "links": ["db:database"], "volumesFrom": [{"sourceContainer": "db"}]`, ""},
		{`"volumes": [{"name": "v", "host": {"sourcePath": "/tmp"}}]`, `"mountPoints": [{"sourceVolume": "v", "containerPath": "/v", "readOnly": true}]`, ""},
		{execution, `"secrets": [{"name": "S", "valueFrom": "param"}]`, ""},
		{`"cpu": ".25 vCPU", "memory": "1GB"`, "", ""},
		{`"placementConstraints": [{"type": "memberOf", "expression": "attribute:a == b"}]`, "", ""},
		{"", `"ulimits": [{"name": "core", "softLimit": -1, "hardLimit": -1}, {"name": "nofile", "softLimit": 10, "hardLimit": -1}]`, ""},
		{"", `"extraHosts": [{"hostname": "h", "ipAddress": "host-gateway"}, {"hostname": "i", "ipAddress": "::1"}]`, ""},
		{"", `"logConfiguration": {"logDriver": "awslogs", "options": {"awslogs-group": "g", "awslogs-region": "r"}}`, ""},
		{`"networkMode": "awsvpc", "cpu": "256", "memory": "512", "requiresCompatibilities": ["FARGATE"]`, "", ""},

		{`"volumes": [{"name": "v", "configuredAtLaunch": true}, {"name": "w", "configuredAtLaunch": false}]`, "", ""},
		{`"volumes": [{"name": "v", "configuredAtLaunch": true}, {"name": "w", "configuredAtLaunch": true}]`, "",
			"volumes[1].configuredAtLaunch: Only one volume can be configured at launch: 'v' and 'w' are marked."},

		{`"family": ""`, "", "family: Family should not be null or empty."},
		{`"family": "a b"`, "", "family: Invalid family 'a b'"},
		{`"family": "` + strings.Repeat("x", 256) + `"`, "", "family: Invalid family"},
		{`"networkMode": "nat"`, "", "networkMode: Invalid value 'nat'."},
		{`"pidMode": "x"`, "", "pidMode: Invalid value"},
		{`"ipcMode": "x"`, "", "ipcMode: Invalid value"},
		{`"cpu": "100"`, "", "cpu: Invalid 'cpu' setting for task."},
		{`"cpu": "one"`, "", "cpu: Invalid 'cpu' setting for task."},
		{`"cpu": "256"`, `"cpu": 257`, "cpu: Invalid 'cpu' setting for task: the containers ask for 257"},
		{`"memory": "2"`, "", "memory: Invalid 'memory' setting for task."},
		{`"memory": "100"`, "", "memory: Invalid 'memory' setting for task: the containers ask for 128"},
		{`"placementConstraints": [{"type": "distinctInstance"}]`, "", "placementConstraints[0].type: "},
		{`"placementConstraints": [{"type": "memberOf", "expression": "huh"}]`, "", "placementConstraints[0].expression: Invalid expression"},
		{`"requiresCompatibilities": ["MOON"]`, "", "requiresCompatibilities[0]: Invalid value"},
		{`"tags": [{"key": "aws:x", "value": ""}]`, "", "tags[0].key: Tag keys must not begin with aws:."},
		{`"tags": [{"key": "x", "value": ""}, {"key": "x", "value": ""}]`, "", "tags[1].key: Duplicate"},
		{`"runtimePlatform": {"cpuArchitecture": "MIPS"}`, "", "runtimePlatform.cpuArchitecture: Invalid value"},
		{`"runtimePlatform": {"operatingSystemFamily": "PLAN9"}`, "", "runtimePlatform.operatingSystemFamily: Invalid value"},
		{`"proxyConfiguration": {"type": "APPMESH", "containerName": "envoy"}`, "", "proxyConfiguration: proxyConfiguration requires networkMode=awsvpc."},

		{`"volumes": [{"name": "a b"}]`, "", "volumes[0].name: Invalid volume name"},
		{`"volumes": [{"name": "a"}, {"name": "a"}]`, "", "volumes[1].name: Volume names must be unique"},
		{`"volumes": [{"name": "a", "host": {}, "efsVolumeConfiguration": {"fileSystemId": "f"}}]`, "", "volumes[0]: Volume 'a' must have only one configuration."},
		{`"volumes": [{"name": "a", "dockerVolumeConfiguration": {"scope": "all"}}]`, "", "volumes[0].dockerVolumeConfiguration.scope"},
		{`"volumes": [{"name": "a", "dockerVolumeConfiguration": {"scope": "task", "autoprovision": true}}]`, "", "volumes[0].dockerVolumeConfiguration.autoprovision"},
		{`"volumes": [{"name": "a", "efsVolumeConfiguration": {"fileSystemId": "f", "authorizationConfig": {"iam": "ENABLED"}}}]`, "", "volumes[0].efsVolumeConfiguration.transitEncryption"},

		{"", `"name": ""`, "containerDefinitions[0].name: Container.name should not be null or empty."},
		{"", `"name": "a.b"`, "containerDefinitions[0].name: Container.name contains invalid characters."},
		{"", `"name": "db"`, "containerDefinitions[1].name: Container names must be unique"},
		{"", `"essential": false`, "containerDefinitions: Task definition must have at least one essential container."},
		{"", `"image": ""`, "containerDefinitions[0].image: Container.image should not be null or empty."},
		{"", `"image": "a b"`, "containerDefinitions[0].image: Container.image contains invalid characters."},
		{"", `"image": "a@sha256:12"`, "containerDefinitions[0].image: "},
		{"", `"memory": 0`, "Invalid setting for container 'app'. At least one of 'memory' or 'memoryReservation' must be specified."},
		{"", `"memory": 3`, "containerDefinitions[0].memory: Invalid 'memory' setting"},
		{"", `"memory": -5`, "containerDefinitions[0].memory: Invalid 'memory' setting"},
		{"", `"memoryReservation": 65`, "containerDefinitions[0].memoryReservation: Invalid setting for container 'app'. 'memory' must be greater"},
		{"", `"cpu": -1`, "containerDefinitions[0].cpu: "},
		{`"memory": "256"`, `"memory": 300, "memoryReservation": 10`, "containerDefinitions[0].memory: Invalid 'memory' setting for container 'app': it is greater than the task's."},
		{"", `"startTimeout": -1`, "containerDefinitions[0].startTimeout: "},
		{"", `"stopTimeout": 90000`, "containerDefinitions[0].stopTimeout: "},
		{"", `"restartPolicy": {"enabled": true, "restartAttemptPeriod": 59}`, "containerDefinitions[0].restartPolicy.restartAttemptPeriod: "},
		{"", `"resourceRequirements": [{"type": "GPU", "value": "many"}]`, "containerDefinitions[0].resourceRequirements[0].value: "},
		{"", `"environment": [{"name": "", "value": "x"}]`, "containerDefinitions[0].environment[0].name: "},
		{"", `"environmentFiles": [{"type": "s3", "value": "arn:aws:s3:::b/a.env"}]`, "you must also specify a value for 'executionRoleArn'"},
		{execution, `"environmentFiles": [{"type": "http", "value": "x"}]`, "containerDefinitions[0].environmentFiles[0].type: "},
		{"", `"secrets": [{"name": "S", "valueFrom": "p"}]`, "When you are specifying container secrets, you must also specify a value for 'executionRoleArn'."},
		{execution, `"environment": [{"name": "S", "value": ""}], "secrets": [{"name": "S", "valueFrom": "p"}]`, "The secret name must be unique and not shared"},
		{"", `"versionConsistency": "maybe"`, "containerDefinitions[0].versionConsistency: "},

		{"", `"portMappings": [{"containerPort": 0}]`, "containerDefinitions[0].portMappings[0].containerPort: "},
		{"", `"portMappings": [{"containerPort": 65536}]`, "containerDefinitions[0].portMappings[0].containerPort: "},
		{"", `"portMappings": [{"containerPort": 80, "protocol": "sctp"}]`, "containerDefinitions[0].portMappings[0].protocol: "},
		{"", `"portMappings": [{"containerPort": 80, "hostPort": 8080}, {"containerPort": 81, "hostPort": 8080}]`, "portMappings[1].hostPort: Host port 8080/tcp is used by more than one"},
		{`"networkMode": "host"`, `"portMappings": [{"containerPort": 80, "hostPort": 81}]`, "When networkMode=host, the host ports and container ports in port mappings must match."},
		{`"networkMode": "awsvpc"`, `"portMappings": [{"containerPort": 80, "hostPort": 81}]`, "When networkMode=awsvpc, the host ports and container ports in port mappings must match."},
		{`"networkMode": "none"`, `"portMappings": [{"containerPort": 80}]`, "Port mappings are not supported when networkMode=none."},
		{"", `"portMappings": [{"containerPortRange": "90-80"}]`, "portMappings[0].containerPortRange: Invalid port range"},
		{"", `"portMappings": [{"containerPortRange": "80-90", "containerPort": 80}]`, "cannot be given together"},
		{"", `"portMappings": [{"containerPortRange": "80-90", "hostPort": 80}]`, "portMappings[0].hostPort: "},
		{"", `"portMappings": [{"containerPortRange": "80-90"}, {"containerPort": 85}]`, "A port can only be included in one port mapping per container"},
		{`"networkMode": "host"`, `"portMappings": [{"containerPortRange": "80-90"}]`, "containerPortRange is not supported when networkMode=host."},
		{"", `"portMappings": [{"containerPort": 80, "name": "a"}, {"containerPort": 81, "name": "a"}]`, "Port mapping names must be unique"},

		{"", `"mountPoints": [{"sourceVolume": "none", "containerPath": "/x"}]`, "Unknown volume 'none'."},
		{`"volumes": [{"name": "v"}]`, `"mountPoints": [{"sourceVolume": "v"}]`, "mountPoints[0].containerPath: "},
		{`"volumes": [{"name": "v"}]`, `"mountPoints": [{"sourceVolume": "v", "containerPath": "/v"}, {"sourceVolume": "v", "containerPath": "/v"}]`, "Duplicate mount point"},
		{"", `"volumesFrom": [{"sourceContainer": "none"}]`, "volumesFrom[0].sourceContainer: Unknown container"},
		{"", `"volumesFrom": [{"sourceContainer": "app"}]`, "cannot take volumes from itself"},

		{"", `"dependsOn": [{"containerName": "app", "condition": "START"}]`, "Container 'app' cannot depend on itself."},
		{"", `"dependsOn": [{"containerName": "none", "condition": "START"}]`, "Container 'app' depends on unknown container 'none'."},
		{"", `"dependsOn": [{"containerName": "db", "condition": "HEALTHY"}]`, "Container 'db' must have a health check"},
		{"", `"dependsOn": [{"containerName": "db", "condition": "LATER"}]`, "dependsOn[0].condition: Invalid value"},
		{"", `"dependsOn": [{"containerName": "db", "condition": "START"}, {"containerName": "db", "condition": "START"}]`, "more than once"},
		{`"networkMode": "host"`, `"links": ["db"]`, "Links are not supported when networkMode=host."},
		{"", `"links": ["none:x"]`, "links to unknown container 'none'"},
		{"", `"links": ["app"]`, "cannot link to itself"},
		{`"networkMode": "host"`, `"hostname": "h"`, "hostname is not supported when networkMode=host."},
		{`"networkMode": "awsvpc"`, `"dnsServers": ["1.1.1.1"]`, "dnsServers is not supported when networkMode=awsvpc."},

		{"", `"healthCheck": {"command": ["curl", "x"]}`, "healthCheck.command: "},
		{"", `"healthCheck": {"command": ["CMD"]}`, "healthCheck.command: "},
		{"", `"healthCheck": {"command": ["CMD", "x"], "interval": 4}`, "healthCheck.interval: "},
		{"", `"healthCheck": {"command": ["CMD", "x"], "timeout": 61}`, "healthCheck.timeout: "},
		{"", `"healthCheck": {"command": ["CMD", "x"], "retries": 11}`, "healthCheck.retries: "},
		{"", `"healthCheck": {"command": ["CMD", "x"], "startPeriod": 301}`, "healthCheck.startPeriod: "},
		{"", `"ulimits": [{"name": "files", "softLimit": 1, "hardLimit": 1}]`, "ulimits[0].name: Invalid ulimit"},
		{"", `"ulimits": [{"name": "core", "softLimit": 2, "hardLimit": 1}]`, "ulimits[0].softLimit: "},
		{"", `"ulimits": [{"name": "core", "softLimit": -1, "hardLimit": 1}]`, "ulimits[0].softLimit: "},
		{"", `"ulimits": [{"name": "core", "softLimit": 1, "hardLimit": 1}, {"name": "core", "softLimit": 1, "hardLimit": 1}]`, "Duplicate ulimit"},
		{`"networkMode": "host"`, `"systemControls": [{"namespace": "net.core.somaxconn", "value": "1"}]`, "systemControls[0].namespace: "},
		{"", `"extraHosts": [{"hostname": "h", "ipAddress": "x"}]`, "extraHosts[0].ipAddress: "},
		{"", `"logConfiguration": {}`, "logConfiguration.logDriver: Log driver should not be null or empty."},
		{"", `"logConfiguration": {"logDriver": "paper"}`, "logConfiguration.logDriver: Invalid value 'paper'."},
		{"", `"logConfiguration": {"logDriver": "awslogs"}`, "Log driver awslogs requires options: awslogs-region, awslogs-group"},
		{"", `"logConfiguration": {"logDriver": "awsfirelens"}`, "requires a container with firelensConfiguration"},
		{"", `"firelensConfiguration": {"type": "vector"}`, "firelensConfiguration.type: "},
		{"", `"firelensConfiguration": {"type": "fluentbit", "options": {"config-file-type": "file"}}`, "must be given together"},
		{"", `"firelensConfiguration": {"type": "fluentbit", "options": {"x": "y"}}`, "Unknown FireLens option"},
		{"", `"linuxParameters": {"tmpfs": [{"containerPath": "", "size": 1}]}`, "linuxParameters.tmpfs[0].containerPath: "},
		{"", `"linuxParameters": {"swappiness": 101}`, "linuxParameters.swappiness: "},
		{"", `"linuxParameters": {"devices": [{"hostPath": "/dev/x", "permissions": ["fly"]}]}`, "linuxParameters.devices[0].permissions: "},

		{`"requiresCompatibilities": ["FARGATE"]`, "", "networkMode: Fargate only supports network mode"},
		{`"requiresCompatibilities": ["FARGATE"], "networkMode": "awsvpc"`, "", "Fargate requires that 'cpu' be defined at the task level."},
		{`"requiresCompatibilities": ["FARGATE"], "networkMode": "awsvpc", "cpu": "256"`, "", "Fargate requires that 'memory' be defined at the task level."},
		{`"requiresCompatibilities": ["FARGATE"], "networkMode": "awsvpc", "cpu": "256", "memory": "4096"`, "", "No Fargate configuration exists for given values"},
		{`"requiresCompatibilities": ["FARGATE"], "networkMode": "awsvpc", "cpu": "256", "memory": "512"`, `"privileged": true`, "privileged"},
		{`"requiresCompatibilities": ["FARGATE"], "networkMode": "awsvpc", "cpu": "256", "memory": "512"`, `"stopTimeout": 121`, "stopTimeout: "},
		{`"requiresCompatibilities": ["EXTERNAL"], "networkMode": "awsvpc"`, "", "Network mode awsvpc is not supported by launch type EXTERNAL."},
		{"", `"command": ["` + strings.Repeat("x", maxSize) + `"]`, "Max allowed length is '65536' bytes."},
	} {
		problems := Validate(parse(t, tt.task, tt.app))
		switch {
		case tt.want == "" && len(problems) > 0:
			t.Errorf("{%s} {%s}: %v", tt.task, clip(tt.app), problems)
		case tt.want != "" && !slices.ContainsFunc(problems, func(p Problem) bool { return strings.Contains(p.Error(), tt.want) }):
			t.Errorf("{%s} {%s}: %v lacks %q", tt.task, clip(tt.app), problems, tt.want)
		case len(problems) > 2: // one mistake is not told many times
			t.Errorf("{%s} {%s}: %v", tt.task, clip(tt.app), problems)
		}
	}
}

func TestCycles(t *testing.T) {
	for _, tt := range []struct {
		edges string // a>b: a waits for b
		cycle bool
	}{
		{"a>b b>c a>c", false}, {"a>b b>a", true}, {"a>b b>c c>a", true}, {"a>b c>d d>c", true}, {"", false},
		{"a>b b=c c~a", true}, {"a=b b~c", false}, // = by a link, ~ by volumesFrom
	} {
		def := &api.RegisterTaskDefinitionRequest{Family: "f"}
		for _, name := range []string{"a", "b", "c", "d"} {
			cd := api.ContainerDefinition{Name: name, Image: "x", Memory: 16}
			for edge := range strings.FieldsSeq(tt.edges) {
				if edge[:1] != name {
					continue
				}
				switch edge[1] {
				case '>':
					cd.DependsOn = append(cd.DependsOn, api.ContainerDependency{ContainerName: edge[2:], Condition: "START"})
				case '=':
					cd.Links = append(cd.Links, edge[2:])
				default:
					cd.VolumesFrom = append(cd.VolumesFrom, api.VolumeFrom{SourceContainer: edge[2:]})
				}
			}
			def.ContainerDefinitions = append(def.ContainerDefinitions, cd)
		}
		problems := Validate(def)
		if got := len(problems) == 1 && strings.Contains(problems[0].Message, "must not form a cycle"); got != tt.cycle || !tt.cycle && len(problems) > 0 {
			t.Errorf("%s: %v", tt.edges, problems)
		}
	}
}

func TestSizes(t *testing.T) {
	for in, want := range map[string]int{"": 0, "256": 256, "1024": 1024, "1 vCPU": 1024, "1vcpu": 1024, ".25 vCPU": 256, "0.5 VCPU": 512} {
		if got, err := ParseCPU(in); err != nil || got != want {
			t.Errorf("cpu %q: %d, %v", in, got, err)
		}
	}
	for in, want := range map[string]int{"": 0, "512": 512, "1GB": 1024, "0.5 GB": 512, "30 gb": 30720} {
		if got, err := ParseMemory(in); err != nil || got != want {
			t.Errorf("memory %q: %d, %v", in, got, err)
		}
	}
	for _, in := range []string{"-1", "x", " ", "vCPU", "1 GB", "1.5", "1  vCPU", "99999999999999999999"} {
		if got, err := ParseCPU(in); err == nil {
			t.Errorf("cpu %q is read as %d", in, got)
		}
	}
}

func TestRequiredAttributes(t *testing.T) {
	for _, tt := range []struct{ task, app, want string }{
		{"", "", ""},
		{`"taskRoleArn": "r"`, "", "com.amazonaws.ecs.capability.docker-remote-api.1.17 com.amazonaws.ecs.capability.task-iam-role"},
		{`"pidMode": "task"`, "", "ecs.capability.pid-ipc-namespace-sharing"},
		{`"networkMode": "awsvpc"`, "", "ecs.capability.task-eni"},
		{`"runtimePlatform": {"operatingSystemFamily": "LINUX"}`, "", "ecs.os-type=linux"},
		{"", `"privileged": true`, "com.amazonaws.ecs.capability.privileged-container"},
		{"", `"privileged": false`, ""},
		{"", `"stopTimeout": 5`, "ecs.capability.container-ordering"},
		{"", `"restartPolicy": {"enabled": true}`, "ecs.capability.container-restart-policy"},
		{"", `"image": "111122223333.dkr.ecr.eu-west-1.amazonaws.com/x"`, "com.amazonaws.ecs.capability.ecr-auth"},
		{"", `"repositoryCredentials": {"credentialsParameter": "arn"}`, "ecs.capability.private-registry-authentication.secretsmanager"},
		{"", `"portMappings": [{"containerPortRange": "1-2"}]`, "ecs.capability.network.container-port-range"},
		{`"executionRoleArn": "r"`, `"secrets": [{"name": "a", "valueFrom": "p"}, {"name": "b", "valueFrom": "arn:aws:secretsmanager:r:1:secret:s"}]`,
			"ecs.capability.secrets.asm.environment-variables ecs.capability.secrets.ssm.environment-variables"},
		{`"volumes": [{"name": "v", "dockerVolumeConfiguration": {"driver": "rexray/ebs:latest"}}]`, "",
			"com.amazonaws.ecs.capability.docker-remote-api.1.25 ecs.capability.docker-plugin.rexray/ebs.latest"},
		{`"volumes": [{"name": "v", "efsVolumeConfiguration": {"fileSystemId": "f"}}]`, "", "com.amazonaws.ecs.capability.docker-remote-api.1.25 ecs.capability.efs"},
	} {
		def := parse(t, tt.task, tt.app)
		if problems := Validate(def); len(problems) > 0 {
			t.Errorf("{%s} {%s}: %v", tt.task, tt.app, problems)
			continue
		}
		d := Complete(def)
		var names []string
		for _, a := range d.RequiresAttributes {
			name := a.Name
			if a.Value != "" {
				name += "=" + a.Value
			}
			names = append(names, name)
		}
		if got := strings.Join(names, " "); got != tt.want {
			t.Errorf("{%s} {%s}: %s, want %s", tt.task, tt.app, got, tt.want)
		}
	}
}
