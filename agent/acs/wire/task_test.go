package wire

import (
	"encoding/json"
	"errors"
	"flag"
	"os"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"ecsagent/agent/credentials"
	"ecsagent/agent/task"
)

var rewrite = flag.Bool("update", false, "rewrite the golden files")

// A task with every member there is.
func TestGoldenTask(t *testing.T) {
	raw, err := os.ReadFile("testdata/task.json")
	if err != nil {
		t.Fatal(err)
	}
	parsed, err := ParseTask(raw)
	if err != nil {
		t.Fatal(err)
	}
	spec, warnings, err := parsed.Spec()
	if err != nil {
		t.Fatal(err)
	}
	if len(warnings) != 1 || !strings.Contains(warnings[0], `unknown property "unheardOf"`) {
		t.Errorf("warnings: %q", warnings)
	}
	got, err := json.MarshalIndent(spec, "", "  ")
	if err != nil {
		t.Fatal(err)
	}
	const golden = "testdata/spec.golden.json"
	if *rewrite {
		if err := os.WriteFile(golden, got, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(golden)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), string(got)); diff != "" {
		t.Error(diff)
	}
	if strings.Contains(string(got), "s3cr3t") {
		t.Error("a spec holds a secret")
	}
	if spec.Containers[0].EntryPoint != nil || spec.Containers[1].EntryPoint == nil {
		t.Error("a null entry point means the image's, an empty one means none")
	}

	sets, err := parsed.Credentials()
	if err != nil {
		t.Fatal(err)
	}
	wantSets := []credentials.Set{
		{ID: "r", TaskARN: spec.ARN, Role: credentials.Application, RoleARN: "arn:role", AccessKeyID: "AKIA",
			SecretAccessKey: "s3cr3t", SessionToken: "t0k3n", Expiration: "2025-01-02T09:04:05Z"},
		{ID: "x", TaskARN: spec.ARN, Role: credentials.Execution},
	}
	if diff := cmp.Diff(wantSets, sets); diff != "" {
		t.Error(diff)
	}
}

// decode runs a task through everything the session asks of it.
func decode(raw string) (*task.Spec, error) {
	t, err := ParseTask(json.RawMessage(raw))
	if err != nil {
		return nil, err
	}
	spec, _, err := t.Spec()
	return spec, err
}

const (
	container = `{"name":"app","image":"i"}`
	eni       = `"ec2Id":"e","macAddress":"0a:1b:2c:3d:4e:5f"`
	v4        = `,"ipv4Addresses":[{"privateAddress":"10.0.1.23"}],"subnetGatewayIpv4Address":"10.0.1.1/24"`
)

func withTask(members string) string {
	return `{"arn":"a/b","desiredStatus":"RUNNING","containers":[` + container + `],` + members + `}`
}

func withContainer(members string) string {
	return `{"arn":"a/b","desiredStatus":"RUNNING","containers":[{"name":"app","image":"i",` + members + `}]}`
}

func withENI(members string) string {
	return withTask(`"elasticNetworkInterfaces":[{` + members + `}]`)
}

func withAttachment(kind string, properties ...string) string {
	var list []string
	for i := 0; i < len(properties); i += 2 {
		value, _ := json.Marshal(properties[i+1])
		list = append(list, `{"name":"`+properties[i]+`","value":`+string(value)+`}`)
	}
	return withTask(`"networkMode":"bridge","attachments":[{"attachmentType":"` + kind + `","attachmentProperties":[` + strings.Join(list, ",") + `]}]`)
}

func withServiceConnect(mode, config string) string {
	raw := withAttachment(AttachmentServiceConnect, "ContainerName", "app", "ServiceConnectConfig", config)
	return strings.Replace(raw, `"networkMode":"bridge"`, `"networkMode":"`+mode+`"`, 1)
}

func TestRejections(t *testing.T) {
	for _, tc := range []struct{ name, raw, want string }{
		{"not an object", `[]`, `decode task: message is a list: want an object`},
		{"null", `null`, `decode task: message is absent: want an object`},
		{"not JSON", `{"arn":`, `decode task: message: not JSON: unexpected EOF`},
		{"no arn", `{}`, `arn is absent: want a non-empty string`},
		{"arn of wrong type", `{"arn":7}`, `arn is 7: want a string`},
		{"arn that escapes", `{"arn":"a/.."}`, `arn "a/..": task id ".." is not a name`},
		{"arn with backslash", `{"arn":"a/b\\c"}`, `arn "a/b\\c": task id "b\\c" holds a slash, a backslash or a control character`},

		{"unknown status", `{"arn":"a/b","desiredStatus":"PENDING"}`, `desiredStatus is "PENDING": want NONE, MANIFEST_PULLED, CREATED, RUNNING or STOPPED`},
		{"no containers", `{"arn":"a/b","desiredStatus":"RUNNING"}`, `containers is empty: want at least one container`},
		{"containers as object", `{"arn":"a/b","desiredStatus":"RUNNING","containers":{}}`, `containers is an object: want a list of objects`},
		{"null container", `{"arn":"a/b","desiredStatus":"RUNNING","containers":[null]}`, `containers[0] is absent: want an object`},
		{"twice the same name", `{"arn":"a/b","desiredStatus":"RUNNING","containers":[` + container + `,` + container + `]}`,
			`containers[1].name is "app": another container of the task has this name`},
		{"nameless container", `{"arn":"a/b","desiredStatus":"RUNNING","containers":[{"image":"i"}]}`, `containers[0].name is absent: want a non-empty string`},
		{"container name with slash", `{"arn":"a/b","desiredStatus":"RUNNING","containers":[{"name":"../x"}]}`,
			`containers[0].name "../x" holds a slash, a backslash or a control character`},

		{"string for integer", withTask(`"memory":"512"`), `memory is "512": want a whole number from 0 to 2147483647`},
		{"negative cpu", withTask(`"cpu":-1`), `cpu is -1: want a number that is not negative`},
		{"cpu beyond measure", withTask(`"cpu":1e999`), `cpu is 1e999: want a number that is not negative`},
		{"number for string", withTask(`"family":7`), `family is 7: want a string`},
		{"string for flag", withTask(`"enableFaultInjection":"yes"`), `enableFaultInjection is "yes": want true or false`},
		{"credentials without id", withTask(`"roleCredentials":{"secretAccessKey":"s3cr3t"}`), `roleCredentials.credentialsId is absent: want a non-empty string`},
		{"credentials of wrong type", withTask(`"roleCredentials":{"credentialsId":"r","sessionToken":12345}`), `roleCredentials.sessionToken is a number: want a string`},

		{"negative container cpu", withContainer(`"cpu":-1`), `containers[0].cpu is -1: want a whole number from 0 to 9223372036854775807`},
		{"fraction", withContainer(`"memory":1.5`), `containers[0].memory is 1.5: want a whole number from 0 to 8796093022207`},
		{"negative timeout", withContainer(`"stopTimeout":-1`), `containers[0].stopTimeout is -1: want a whole number from 0 to 2147483647`},
		{"port too large", withContainer(`"portMappings":[{"containerPort":65536}]`), `containers[0].portMappings[0].containerPort is 65536: want a whole number from 0 to 65535`},
		{"host port too large", withContainer(`"portMappings":[{"containerPort":1},{"containerPort":1,"hostPort":70000}]`), `containers[0].portMappings[1].hostPort is 70000: want a whole number from 0 to 65535`},
		{"protocol", withContainer(`"portMappings":[{"containerPort":1,"protocol":"sctp"}]`), `containers[0].portMappings[0].protocol is "sctp": want "tcp" or "udp"`},
		{"empty protocol", withContainer(`"portMappings":[{"containerPort":1,"protocol":""}]`), `containers[0].portMappings[0].protocol is "": want "tcp" or "udp"`},
		{"no port", withContainer(`"portMappings":[{}]`), `containers[0].portMappings[0].containerPort is absent: want a port from 1 to 65535, or containerPortRange`},
		{"range backwards", withContainer(`"portMappings":[{"containerPortRange":"9-8"}]`), `containers[0].portMappings[0].containerPortRange is "9-8": want two ports as "first-last"`},
		{"port and range", withContainer(`"portMappings":[{"containerPort":1,"containerPortRange":"8-9"}]`), `containers[0].portMappings[0].containerPortRange is "8-9": want a port or a range, not both`},
		{"environment as list", withContainer(`"environment":[]`), `containers[0].environment is a list: want an object`},
		{"environment value", withContainer(`"environment":{"PIN":1234}`), `containers[0].environment["PIN"] is a number: want a string`},
		{"command", withContainer(`"command":"ls"`), `containers[0].command is "ls": want a list of strings`},
		{"command word", withContainer(`"command":["a",{}]`), `containers[0].command[1] is an object: want a string`},
		{"condition", withContainer(`"dependsOn":[{"containerName":"x","condition":"LATER"}]`), `containers[0].dependsOn[0].condition is "LATER": want START, COMPLETE, SUCCESS or HEALTHY`},
		{"dependency on nothing", withContainer(`"dependsOn":[{"condition":"START"}]`), `containers[0].dependsOn[0].containerName is absent: want a non-empty string`},
		{"exit code", withContainer(`"restartPolicy":{"ignoredExitCodes":[0,"1"]}`), `containers[0].restartPolicy.ignoredExitCodes[1] is "1": want an exit code`},
		{"docker config as object", withContainer(`"dockerConfig":{"hostConfig":{}}`), `containers[0].dockerConfig.hostConfig is an object: want a string`},

		{"empty overrides", withContainer(`"overrides":""`), `containers[0].overrides is "": want a JSON object: not JSON: EOF`},
		{"broken overrides", withContainer(`"overrides":"{"`), `containers[0].overrides is "{": want a JSON object: not JSON: unexpected EOF`},
		{"trailing overrides", withContainer(`"overrides":"{} {}"`), `containers[0].overrides is "{} {}": want a JSON object: not JSON: more data after the value`},
		{"overrides of wrong type", withContainer(`"overrides":7`), `containers[0].overrides is 7: want a JSON object in a string`},
		{"overrides hold a list", withContainer(`"overrides":"[]"`), `containers[0].overrides holds a list: want a JSON object`},
		{"unknown override", withContainer(`"overrides":"{\"cpu\":1}"`), `containers[0].overrides has the unknown member "cpu": only command can be overridden`},
		{"unknown override in object", withContainer(`"overrides":{"cpu":1}`), `containers[0].overrides has the unknown member "cpu": only command can be overridden`},
		{"override of wrong type", withContainer(`"overrides":{"command":"ls"}`), `containers[0].overrides.command is "ls": want a list of strings`},

		{"nameless volume", withTask(`"volumes":[{"host":{}}]`), `volumes[0].name is absent: want a non-empty string`},
		{"volume without host", withTask(`"volumes":[{"name":"v"}]`), `volumes[0].host is absent: want an object`},
		{"volume type", withTask(`"volumes":[{"name":"v","type":"ebs"}]`), `volumes[0].type is "ebs": want host, docker, efs or fsxWindowsFileServer (unrecognized volume type)`},
		{"docker volume without settings", withTask(`"volumes":[{"name":"v","type":"docker"}]`), `volumes[0].dockerVolumeConfiguration is absent: want an object`},
		{"scope", withTask(`"volumes":[{"name":"v","type":"docker","dockerVolumeConfiguration":{"scope":"all"}}]`), `volumes[0].dockerVolumeConfiguration.scope is "all": want task or shared`},
		{"efs without settings", withTask(`"volumes":[{"name":"v","type":"efs"}]`), `volumes[0].efsVolumeConfiguration is absent: want an object`},

		{"interface without MAC", withENI(`"ec2Id":"e"` + v4), `elasticNetworkInterfaces[0].macAddress is absent: want a non-empty string`},
		{"interface with odd MAC", withENI(`"ec2Id":"e","macAddress":"x"` + v4), `elasticNetworkInterfaces[0].macAddress is "x": want a MAC address`},
		{"interface without address", withENI(eni), `elasticNetworkInterfaces[0].ipv4Addresses is absent: want at least one address`},
		{"interface without gateway", withENI(eni + `,"ipv4Addresses":[{"privateAddress":"10.0.1.23"}]`), `elasticNetworkInterfaces[0].subnetGatewayIpv4Address is absent: want an address with the length of its prefix, as "10.0.1.1/24"`},
		{"IPv6 only without gateway", withENI(eni + `,"ipv6Addresses":[{"address":"2001:db8::1"}]`), `elasticNetworkInterfaces[0].subnetGatewayIpv6Address is absent: want an address with the length of its prefix, as "10.0.1.1/24"`},
		{"wrong family", withENI(eni + `,"ipv4Addresses":[{"privateAddress":"2001:db8::1"}]`), `elasticNetworkInterfaces[0].ipv4Addresses[0].privateAddress is "2001:db8::1": want an IP address of this family`},
		{"protocol veth", withENI(eni + v4 + `,"interfaceAssociationProtocol":"veth"`), `elasticNetworkInterfaces[0].interfaceAssociationProtocol is "veth": want "default" or "vlan"`},
		{"protocol empty", withENI(eni + v4 + `,"interfaceAssociationProtocol":""`), `elasticNetworkInterfaces[0].interfaceAssociationProtocol is "": want "default" or "vlan"`},
		{"vlan without properties", withENI(eni + v4 + `,"interfaceAssociationProtocol":"vlan"`), `elasticNetworkInterfaces[0].interfaceVlanProperties.vlanId is absent: want a non-empty string`},

		{"proxy without type", withTask(`"proxyConfiguration":{}`), `proxyConfiguration.type is absent: want "APPMESH"`},
		{"encoding", withTask(`"associations":[{"content":{"encoding":"rot13"}}]`), `associations[0].content.encoding is "rot13": want identity or base64`},

		{"attachment without type", withTask(`"attachments":[{}]`), `attachments[0].attachmentType is absent: want a non-empty string`},
		{"property without name", withTask(`"attachments":[{"attachmentType":"amazonebs","attachmentProperties":[{"value":"x"}]}]`), `attachments[0].attachmentProperties[0].name is absent: want a non-empty string`},
		{"EBS without volume", withAttachment("amazonebs", "volumeName", "v", "sourceVolumeHostPath", "p"), `attachments[0].attachmentProperties: property "volumeId" is absent: want a value`},
		{"EBS with empty value", withAttachment("amazonebs", "volumeId", "v", "volumeName", "v", "sourceVolumeHostPath", "p", "fileSystem", ""), `attachments[0].attachmentProperties: property "fileSystem" is empty: want a value`},
		{"S3 without name", withAttachment("s3files", "volumeId", "v"), `attachments[0].attachmentProperties: property "volumeName" is absent: want a value`},

		{"service connect without config", withAttachment("serviceconnectdetail", "ContainerName", "app"), `attachments[0].attachmentProperties: property "ServiceConnectConfig" is absent: want a value`},
		{"service connect for nobody", withAttachment("serviceconnectdetail", "ContainerName", "x", "ServiceConnectConfig", "{}"), `attachment serviceconnectdetail: ContainerName is "x": want the name of a container of the task`},
		{"service connect nonsense", withServiceConnect("bridge", `nonsense`), `attachment serviceconnectdetail: ServiceConnectConfig: not JSON: invalid character 'o' in literal null (expecting 'u')`},
		{"egress without name", withServiceConnect("bridge", `{"egressConfig":{}}`), `attachment serviceconnectdetail: ServiceConnectConfig.egressConfig.listenerName is absent: want a non-empty string`},
		{"egress CIDR", withServiceConnect("bridge", `{"egressConfig":{"listenerName":"o","vip":{"ipv6Cidr":"x"}}}`), `attachment serviceconnectdetail: ServiceConnectConfig.egressConfig.vip.ipv6Cidr is "x": want a CIDR block`},
		{"DNS address", withServiceConnect("bridge", `{"dnsConfig":[{"hostName":"h","address":"h2"}]}`), `attachment serviceconnectdetail: ServiceConnectConfig.dnsConfig[0].address is "h2": want an IP address`},
		{"ingress in host mode", withServiceConnect("host", `{"ingressConfig":[{}]}`), `attachment serviceconnectdetail: ingressConfig: want network mode bridge or awsvpc, not "host"`},
		{"listener port", withServiceConnect("bridge", `{"ingressConfig":[{"listenerPort":65536}]}`), `attachment serviceconnectdetail: ServiceConnectConfig.ingressConfig[0].listenerPort is 65536: want a whole number from 0 to 65535`},
		{"intercept port 0", withServiceConnect("awsvpc", `{"ingressConfig":[{"interceptPort":0,"listenerName":"n"}]}`), `attachment serviceconnectdetail: ServiceConnectConfig.ingressConfig[0].interceptPort is 0: want a whole number from 1 to 65535`},
		{"intercept without name", withServiceConnect("awsvpc", `{"ingressConfig":[{"interceptPort":80}]}`), `attachment serviceconnectdetail: ServiceConnectConfig.ingressConfig[0].listenerName is absent: want a non-empty string`},
		{"ports meet", withServiceConnect("awsvpc", `{"ingressConfig":[{"listenerPort":80},{"interceptPort":80,"listenerName":"n"}]}`), `attachment serviceconnectdetail: ServiceConnectConfig.ingressConfig[1].interceptPort is 80: want a port that no other listener uses`},
		{"host ports meet", withServiceConnect("bridge", `{"ingressConfig":[{"hostPort":80},{"hostPort":80}]}`), `attachment serviceconnectdetail: ServiceConnectConfig.ingressConfig[1].hostPort is 80: want a port that no other listener uses`},
	} {
		t.Run(tc.name, func(t *testing.T) {
			spec, err := decode(tc.raw)
			if err == nil {
				t.Fatalf("accepted as %+v", spec)
			}
			if diff := cmp.Diff(tc.want, err.Error()); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestTolerated(t *testing.T) {
	for name, tc := range map[string]struct {
		raw   string
		check func(*task.Spec) bool
	}{
		"a stop needs an ARN only": {`{"arn":"a/b","desiredStatus":"STOPPED"}`, func(s *task.Spec) bool { return s.ID() == "b" }},
		"DEAD means STOPPED":       {`{"arn":"a/b","desiredStatus":"DEAD"}`, func(*task.Spec) bool { return true }},
		"no network mode":          {withTask(`"networkMode":""`), func(s *task.Spec) bool { return s.NetworkMode == "bridge" }},
		"unknown network mode":     {withTask(`"networkMode":"mesh"`), func(s *task.Spec) bool { return s.NetworkMode == "" }},
		"unknown pid mode":         {withTask(`"pidMode":"moon"`), func(s *task.Spec) bool { return s.PIDMode == "" }},
		"nulls":                    {withTask(`"volumes":null,"cpu":null,"memory":null,"proxyConfiguration":null,"roleCredentials":null`), func(s *task.Spec) bool { return s.Proxy == nil }},
		"other casing":             {`{"ARN":"a/b","DesiredStatus":"RUNNING","CONTAINERS":[{"Name":"app","PortMappings":[{"ContainerPort":80}]}]}`, func(s *task.Spec) bool { return s.Containers[0].Ports[0].ContainerPort == 80 }},
		"whole number as float":    {withContainer(`"cpu":1e3,"memory":64.0`), func(s *task.Spec) bool { return s.Containers[0].CPU == 1000 && s.Containers[0].Memory == 64 }},
		"empty overrides":          {withContainer(`"command":["a"],"overrides":"{}"`), func(s *task.Spec) bool { return len(s.Containers[0].Command) == 1 }},
		"null in overrides":        {withContainer(`"command":["a"],"overrides":"null"`), func(s *task.Spec) bool { return len(s.Containers[0].Command) == 1 }},
		"override by nothing":      {withContainer(`"command":["a"],"overrides":{"command":[]}`), func(s *task.Spec) bool { return len(s.Containers[0].Command) == 0 }},
		"IPv6 only":                {withENI(eni + `,"ipv6Addresses":[{"address":"2001:db8::1"}],"subnetGatewayIpv6Address":"fe80::1/64"`), func(s *task.Spec) bool { return len(s.ENIs) == 1 }},
		"IPv6 gateway, no prefix":  {withENI(eni + v4 + `,"ipv6Addresses":[{"address":"2001:db8::1"}],"subnetGatewayIpv6Address":"fe80::1"`), func(s *task.Spec) bool { return len(s.ENIs) == 1 }},
		"EBS without its volume": {withAttachment("amazonebs", "volumeId", "vol", "volumeName", "v", "sourceVolumeHostPath", "p"),
			func(s *task.Spec) bool { return len(s.Volumes) == 1 && s.Volumes[0].Type == task.VolumeEBS }},
		"GPU for a stranger": {withTask(`"associations":[{"name":"g","type":"gpu","containers":["x"]}]`), func(s *task.Spec) bool { return len(s.Containers[0].GPUs) == 0 && len(s.Associations) == 1 }},
	} {
		t.Run(name, func(t *testing.T) {
			spec, err := decode(tc.raw)
			if err != nil {
				t.Fatal(err)
			}
			if !tc.check(spec) {
				t.Errorf("decoded as %+v", spec)
			}
		})
	}
}

func TestRejectionReasonIsCutOnARune(t *testing.T) {
	reason := RejectionReason(errors.New(strings.Repeat("é", 1000)))
	if len(reason) > MaxReason || len(reason) < MaxReason-1 || strings.Contains(reason, "\uFFFD") {
		t.Errorf("%d bytes: %q", len(reason), reason[len(reason)-4:])
	}
	if !strings.HasPrefix(reason, "UnrecogniedTaskError: Error loading task - é") {
		t.Errorf("reason %q", reason[:60])
	}
}

func FuzzPayload(f *testing.F) {
	golden, err := os.ReadFile("testdata/task.json")
	if err != nil {
		f.Fatal(err)
	}
	f.Add(string(golden))
	for _, seed := range []string{
		`{}`, `null`, `{"arn":"a/b","desiredStatus":"STOPPED"}`, withContainer(`"overrides":"{\"command\":null}"`),
		withENI(eni + v4), withServiceConnect("awsvpc", `{"ingressConfig":[{"listenerPort":80}]}`),
		withContainer(`"portMappings":[{"containerPortRange":"1-65535"}]`), `{"arn":"a/b","ARN":"c","containers":[[[[]]]]}`,
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, raw string) {
		parsed, err := ParseTask(json.RawMessage(raw))
		if err != nil {
			return
		}
		_, _ = parsed.Desired()
		sets, credErr := parsed.Credentials()
		spec, _, err := parsed.Spec()
		if err != nil {
			if reason := RejectionReason(err); len(reason) > MaxReason {
				t.Errorf("reason of %d bytes", len(reason))
			}
			return
		}
		if credErr != nil || (spec.CredentialsID == "") != (len(sets) == 0 || sets[0].Role != credentials.Application) {
			t.Errorf("credentials of spec %q do not go with %d sets, %v", spec.CredentialsID, len(sets), credErr)
		}
		names := make(map[string]bool)
		for _, c := range spec.Containers {
			if c.Name == "" || names[c.Name] || c.CPU < 0 || c.Memory < 0 || c.StopTimeout < 0 || c.StartTimeout < 0 {
				t.Errorf("accepted %+v", c)
			}
			names[c.Name] = true
		}
		encoded, err := json.Marshal(spec)
		if err != nil {
			t.Fatalf("a spec that cannot be saved: %v", err)
		}
		var again task.Spec
		if err := json.Unmarshal(encoded, &again); err != nil {
			t.Fatalf("a spec that cannot be loaded: %v", err)
		}
	})
}
