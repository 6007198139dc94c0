package wire

import (
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"ecsagent/agent/network"
)

// The examples of docs/spec/01 appendix B.
var examples = []string{
	`{"type":"HeartbeatMessage","message":{"messageId":"h-1","healthy":true}}`,
	`{"type":"IAMRoleCredentialsMessage","message":{"messageId":"c-1","taskArn":"arn:x:task/prod/9c8d","taskClusterArn":"arn:x:cluster/prod","roleType":"TaskApplication","roleCredentials":{"credentialsId":"3f6a","roleArn":"arn:aws:iam::111122223333:role/app","accessKeyId":"ASIA","secretAccessKey":"s","sessionToken":"t","expiration":"2025-01-02T09:04:05Z"}}}`,
	`{"type":"AttachTaskNetworkInterfacesMessage","message":{"messageId":"n-1","clusterArn":"arn:x:cluster/prod","containerInstanceArn":"arn:x:container-instance/prod/0a1b","taskArn":"arn:x:task/prod/9c8d","waitTimeoutMs":180000,"elasticNetworkInterfaces":[{"attachmentArn":"arn:x:attachment/77","ec2Id":"eni-0ab","macAddress":"0a:1b:2c:3d:4e:5f","ipv4Addresses":[{"privateAddress":"10.0.1.23","primary":true}],"subnetGatewayIpv4Address":"10.0.1.1/24","domainNameServers":["10.0.0.2"],"privateDnsName":"ip-10-0-1-23.ec2.internal"}]}}`,
	`{"type":"ConfirmAttachmentMessage","message":{"messageId":"v-1","clusterArn":"arn:aws:ecs:us-west-2:111122223333:cluster/prod","containerInstanceArn":"arn:aws:ecs:us-west-2:111122223333:container-instance/prod/0a1b","taskArn":"arn:x:task/prod/9c8d","waitTimeoutMs":300000,"attachment":{"attachmentArn":"arn:aws:ecs:us-west-2:111122223333:attachment/88","attachmentType":"amazonebs","attachmentProperties":[{"name":"volumeId","value":"vol-0ab"},{"name":"volumeSizeGib","value":"20"},{"name":"deviceName","value":"/dev/sdf"},{"name":"sourceVolumeHostPath","value":"9c8d_vol-0ab"},{"name":"volumeName","value":"data"},{"name":"fileSystem","value":"xfs"}]}}}`,
	`{"type":"TaskManifestMessage","message":{"messageId":"m-1","clusterArn":"arn:x:cluster/prod","containerInstanceArn":"arn:x:container-instance/prod/0a1b","timeline":13,"tasks":[{"taskArn":"arn:x:task/prod/9c8d","taskClusterArn":"arn:x:cluster/prod","desiredStatus":"RUNNING"}]}}`,
	`{"type":"TaskStopVerificationAck","message":{"messageId":"m-1","generatedAt":1735787045999,"stopTasks":[{"taskArn":"arn:x:task/prod/dead","taskClusterArn":"arn:x:cluster/prod","desiredStatus":"STOPPED"}]}}`,
}

func TestDecodeExamples(t *testing.T) {
	origin := Origin{ID: "m-1", Cluster: "arn:x:cluster/prod", Instance: "arn:x:container-instance/prod/0a1b"}
	for i, frame := range examples {
		m, err := Decode([]byte(frame))
		if err != nil {
			t.Errorf("%s: %v", frame, err)
			continue
		}
		switch i {
		case 0:
			if diff := cmp.Diff(Heartbeat{"h-1"}, m); diff != "" {
				t.Error(diff)
			}
		case 2:
			if a := m.(Attach); a.Attachments[0].Kind != network.TaskENI || a.Wait.Minutes() != 3 {
				t.Errorf("decoded %+v", a)
			}
		case 3:
			if a := m.(Attach); a.Attachments[0].Properties["deviceName"] != "/dev/sdf" || a.Wait.Minutes() != 5 {
				t.Errorf("decoded %+v", a)
			}
		case 4:
			want := Manifest{Origin: origin, Timeline: 13, Tasks: []TaskIdentifier{{"arn:x:task/prod/9c8d", "arn:x:cluster/prod", "RUNNING"}}}
			if diff := cmp.Diff(want, m); diff != "" {
				t.Error(diff)
			}
		case 5:
			want := StopVerificationAck{ID: "m-1", StopTasks: []TaskIdentifier{{"arn:x:task/prod/dead", "arn:x:cluster/prod", "STOPPED"}}}
			if diff := cmp.Diff(want, m); diff != "" {
				t.Error(diff)
			}
		}
	}
}

func TestEncode(t *testing.T) {
	expiration := "2025-01-02T09:04:05Z"
	ack := Ack{Cluster: "c", ContainerInstance: "i", MessageID: "m-1"}
	for want, m := range map[string]any{
		`{"type":"AckRequest","message":{"cluster":"c","containerInstance":"i","messageId":"m-1"}}`:                                                              ack,
		`{"type":"NackRequest","message":{"cluster":"c","containerInstance":"i","messageId":"m-1","reason":"a<b & c"}}`:                                          Nack{ack, "a<b & c"},
		`{"type":"IAMRoleCredentialsAckRequest","message":{"messageId":"c-1","expiration":"2025-01-02T09:04:05Z","credentialsId":"3f6a"}}`:                       CredentialsAck{"c-1", &expiration, "3f6a"},
		`{"type":"TaskStopVerificationMessage","message":{"messageId":"m-1","stopCandidates":[{"taskArn":"t","taskClusterArn":"c","desiredStatus":"STOPPED"}]}}`: StopVerification{"m-1", []TaskIdentifier{{"t", "c", "STOPPED"}}},
		`{"type":"HeartbeatAckRequest","message":{}}`: HeartbeatAck{},
	} {
		got, err := Encode(m)
		if err != nil || string(got) != want {
			t.Errorf("encoded %s, %v\nwant %s", got, err, want)
		}
	}
	if _, err := Encode(Heartbeat{}); err == nil {
		t.Error("encoded a message that ACS sends")
	}
}

func TestDecodeFrames(t *testing.T) {
	for _, tc := range []struct {
		frame, err string
		want       Message
	}{
		{frame: ``, err: "decode frame: unexpected end of JSON input"},
		{frame: `{"type":"HeartbeatMessage"`, err: "decode frame: unexpected end of JSON input"},
		{frame: `[]`, err: "decode frame: json: cannot unmarshal array"},
		{frame: `{}`, err: "decode frame: no type"},
		{frame: `{"type":7}`, err: "decode frame: json: cannot unmarshal number"},
		{frame: `{"type":"heartbeatmessage"}`, err: "decode heartbeatmessage: unknown message type"},
		{frame: `{"type":"HeartbeatMessage","message":[]}`, err: "decode HeartbeatMessage: message is a list: want an object"},
		{frame: `{"type":"HeartbeatMessage","message":{"messageId":1}}`, err: "decode HeartbeatMessage: messageId is 1: want a string"},
		{frame: `{"type":"HeartbeatMessage"}`, want: Heartbeat{}},
		{frame: `{"Type":"HeartbeatMessage","Message":{"MessageId":"x"}}`, want: Heartbeat{"x"}},
		{frame: `{"type":"CloseMessage","message":{"message":"bye"}}`, want: Close{"bye"}},
		{frame: `{"type":"CloseMessage"}`, want: Close{}},
		{frame: `{"type":"ErrorMessage","message":"hm"}`, want: Notice{"hm"}},
		{frame: `{"type":"AckRequest","message":[]}`, want: Ignored{"AckRequest"}},
		{frame: `{"type":"ServerException","message":{"message":"m"}}`, want: &Exception{"ServerException", "m"}},
		{frame: `{"AccessDeniedException":"no"}`, want: &Exception{"AccessDeniedException", "no"}},
		{frame: `{"SomeException":"no"}`, err: "decode frame: no type"},
		{frame: `{"type":"TaskManifestMessage","message":{"messageId":"m"}}`, err: "decode TaskManifestMessage: timeline is absent: want a whole number"},
		{frame: `{"type":"TaskManifestMessage","message":{"timeline":1.5}}`, err: "decode TaskManifestMessage: timeline is 1.5: want a whole number"},
		{frame: `{"type":"StageUpdateMessage","message":{}}`, err: "decode StageUpdateMessage: messageId is absent: want a non-empty string"},
	} {
		got, err := Decode([]byte(tc.frame))
		if tc.err != "" {
			if err == nil || !strings.HasPrefix(err.Error(), tc.err) {
				t.Errorf("%s: error %v, want %s", tc.frame, err, tc.err)
			}
			continue
		}
		if err != nil {
			t.Errorf("%s: %v", tc.frame, err)
		}
		if diff := cmp.Diff(tc.want, got); diff != "" {
			t.Errorf("%s: %s", tc.frame, diff)
		}
	}
	if _, err := Decode([]byte(`{"type":"New"}`)); !errors.Is(err, ErrUnknownType) {
		t.Errorf("unknown type: %v", err)
	}
}

func FuzzFrame(f *testing.F) {
	for _, frame := range examples {
		f.Add([]byte(frame))
	}
	for _, frame := range []string{
		``, `null`, `{"type":"PayloadMessage","message":{"messageId":"m","clusterArn":"c","containerInstanceArn":"i","seqNum":1,"tasks":[{},null]}}`,
		`{"InactiveInstanceException":"x"}`, `{"type":"CloseMessage","message":{"message":{"message":1}}}`,
		`{"type":"StageUpdateMessage","message":{"messageId":"m","updateInfo":{"location":"l","signature":"s"}}}`,
	} {
		f.Add([]byte(frame))
	}
	f.Fuzz(func(t *testing.T, frame []byte) {
		m, err := Decode(frame)
		if (m == nil) == (err == nil) {
			t.Fatalf("Decode = %v, %v", m, err)
		}
		switch m := m.(type) {
		case Payload:
			if m.ID == "" || m.Seq < 0 {
				t.Errorf("accepted %+v", m)
			}
		case Attach:
			if m.Wait <= 0 || (len(m.Attachments) == 0) == (m.Unhandled == "") {
				t.Errorf("accepted %+v", m)
			}
		case Credentials:
			if m.Set.ID == "" || !m.Set.Role.Valid() {
				t.Errorf("accepted %v", m)
			}
		}
	})
}
