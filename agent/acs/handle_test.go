package acs_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/gorilla/websocket"

	"ecsagent/agent/acs"
	"ecsagent/agent/acs/acstest"
	"ecsagent/agent/credentials"
	"ecsagent/agent/network"
	"ecsagent/agent/task"
	"ecsagent/agent/update"
)

func TestHeartbeat(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		b := open(t)
		c := b.Accept()
		c.Heartbeat("h-1")
		c.Expect(`{"type":"HeartbeatAckRequest","message":{"messageId":"h-1"}}`)
		c.Send("HeartbeatMessage", `{"Healthy":false,"new":{"a":[1]}}`)
		c.Expect(`{"type":"HeartbeatAckRequest","message":{}}`)
		c.SendRaw(`{"type":"HeartbeatMessage","message":{"MESSAGEID":"h-2"}}`)
		c.Expect(`{"type":"HeartbeatAckRequest","message":{"messageId":"h-2"}}`)
		if b.health.count != 3 {
			t.Errorf("%d health checks, want 3", b.health.count)
		}
	})
}

func TestPayload(t *testing.T) {
	const creds = `,"roleCredentials":{"credentialsId":"r-%[1]s","accessKeyId":"AKIA","secretAccessKey":"s3cr3t","sessionToken":"t0k3n","expiration":"2025-01-02T09:04:05Z"}` +
		`,"executionRoleCredentials":{"credentialsId":"x-%[1]s","secretAccessKey":"s3cr3t"}`
	inBubble(t, func(t *testing.T) {
		b := open(t)
		c := b.Accept()
		c.Send("PayloadMessage", payloadJSON("p-1", "12",
			taskJSON("one", "RUNNING", fmt.Sprintf(creds, "one")),
			taskJSON("two", "STOPPED", ""),
			taskJSON("three", "SOON", ""),
			`null`, `"four"`, `{"family":"five"}`,
			taskJSON("six", "RUNNING", `,"memory":"lots"`)))
		c.Expect(ackTo + `"p-1"}}`)
		c.Expect(`{"type":"IAMRoleCredentialsAckRequest","message":{"messageId":"p-1","expiration":"2025-01-02T09:04:05Z","credentialsId":"r-one"}}`)
		c.Expect(`{"type":"IAMRoleCredentialsAckRequest","message":{"messageId":"p-1","expiration":"","credentialsId":"x-one"}}`)
		c.ExpectNothing()

		d := b.engine.last()
		if diff := cmp.Diff([]string{"two STOPPED", "one RUNNING"}, delivered(d)); diff != "" {
			t.Errorf("stops come first: %s", diff)
		}
		if d.Seq != 12 {
			t.Errorf("sequence number %d, want 12", d.Seq)
		}
		want := map[string]string{
			arn("three"): `UnrecogniedTaskError: Error loading task - desiredStatus is "SOON": want NONE, MANIFEST_PULLED, CREATED, RUNNING or STOPPED`,
			arn("six"):   `UnrecogniedTaskError: Error loading task - memory is "lots": want a whole number from 0 to 2147483647`,
		}
		if diff := cmp.Diff(want, rejections(d)); diff != "" {
			t.Error(diff)
		}
		if set, ok := b.roles.Get("r-one"); !ok || set.TaskARN != arn("one") || set.Role != credentials.Application || set.SecretAccessKey.Reveal() != "s3cr3t" {
			t.Errorf("stored %+v, %v", set, ok)
		}
		if spec := d.Tasks[1].Spec; spec.CredentialsID != "r-one" || spec.ExecutionCredentialsID != "x-one" {
			t.Errorf("spec has %q and %q", spec.CredentialsID, spec.ExecutionCredentialsID)
		}
		for _, entry := range b.logs.All() {
			if text := fmt.Sprint(entry.Message, entry.ContextMap()); strings.Contains(text, "s3cr3t") || strings.Contains(text, "t0k3n") {
				t.Errorf("secret logged: %s", text)
			}
		}
	})
}

// A task that is only to be stopped needs no credentials: they would never be freed.
func TestPayloadStopKeepsNoCredentials(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		b := open(t)
		c := b.Accept()
		c.Send("PayloadMessage", payloadJSON("p-1", "3", taskJSON("one", "STOPPED", `,"roleCredentials":{"credentialsId":"r"}`)))
		c.Expect(ackTo + `"p-1"}}`)
		c.Expect(`{"type":"IAMRoleCredentialsAckRequest","message":{"messageId":"p-1","expiration":"","credentialsId":"r"}}`)
		if b.roles.Len() != 0 {
			t.Error("credentials are kept")
		}
	})
}

// What is acknowledged before a connection is given up still goes out.
func TestAcksBeforeTheCloseFrame(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		b := open(t)
		c := b.Accept()
		c.Stall()
		go func() {
			for i := range 20 {
				c.Heartbeat(fmt.Sprint(i))
			}
			c.Send("CloseMessage", `{}`)
			time.Sleep(time.Second)
			c.Resume()
		}()
		for i := range 20 {
			c.Expect(fmt.Sprintf(`{"type":"HeartbeatAckRequest","message":{"messageId":"%d"}}`, i))
		}
		<-c.Closed
		if !websocket.IsCloseError(c.CloseError, websocket.CloseNormalClosure) {
			t.Errorf("ended with %v", c.CloseError)
		}
		b.Accept()
	})
}

// What is not durable is not acknowledged; the same message is sent again.
func TestPayloadThatCannotBeSaved(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		b := open(t)
		c := b.Accept()
		p := payloadJSON("p-1", "3", taskJSON("one", "RUNNING", `,"roleCredentials":{"credentialsId":"r"}`))
		b.engine.fail(errors.New("disk full"))
		c.Send("PayloadMessage", p)
		c.ExpectNothing()
		if b.roles.Len() != 0 {
			t.Error("credentials of a task that was not taken are kept")
		}
		b.engine.fail(nil)
		for range 2 { // the second is a duplicate
			c.Send("PayloadMessage", p)
			c.Expect(ackTo + `"p-1"}}`)
			c.Expect(`{"type":"IAMRoleCredentialsAckRequest","message":{"messageId":"p-1","expiration":"","credentialsId":"r"}}`)
		}
	})
}

// A hand-over that hangs holds the reader for a bounded time, and the connection
// survives it.
func TestPayloadHandOverHasADeadline(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		b := open(t)
		c := b.Accept()
		b.engine.block = make(chan struct{})
		c.Send("PayloadMessage", payloadJSON("p-1", "3", taskJSON("one", "RUNNING", "")))
		if took := elapsed(func() { c.ExpectNothing() }); took != 30*time.Second {
			t.Errorf("the reader waited for %s", took)
		}
		b.engine.mu.Lock()
		b.engine.block = nil
		b.engine.mu.Unlock()
	})
}

// Of a task that is known only the desired status counts, however broken the rest.
func TestPayloadForAKnownTask(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		b := open(t)
		b.engine.add("one", task.Running)
		known := b.engine.Snapshot(arn("one")).Spec
		c := b.Accept()
		c.Send("PayloadMessage", payloadJSON("p-1", "3",
			`{"arn":"`+arn("one")+`","desiredStatus":"STOPPED","containers":"none","volumes":[{"type":"tape"}]}`))
		c.Expect(ackTo + `"p-1"}}`)
		d := b.engine.last()
		if len(d.Tasks) != 1 || d.Tasks[0].Spec != known || d.Tasks[0].Desired != task.Stopped || len(d.Rejected) != 0 {
			t.Errorf("delivered %+v", d)
		}
		c.Send("PayloadMessage", payloadJSON("p-2", "4",
			taskJSON("one", "RUNNING", `,"roleCredentials":{"credentialsId":"r"},"executionRoleCredentials":{}`)))
		c.Expect(ackTo + `"p-2"}}`)
		c.ExpectNothing()
		c.Send("PayloadMessage", payloadJSON("p-3", "5", taskJSON("one", "RUNNING", `,"roleCredentials":{"credentialsId":"r"}`)))
		c.Next()
		c.Expect(`{"type":"IAMRoleCredentialsAckRequest","message":{"messageId":"p-3","expiration":"","credentialsId":"r"}}`)
		if _, ok := b.roles.ForTask(arn("one"), credentials.Application); !ok {
			t.Error("credentials of a repeated task are not stored")
		}
	})
}

func TestPayloadEnvelope(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		b := open(t)
		c := b.Accept()
		for _, bad := range []string{
			`{}`, `null`, `[]`, `"x"`, `{"messageId":"m"}`, `{"messageId":"m","clusterArn":"c"}`,
			`{"messageId":"",` + origin + `}`, `{"messageId":"m",` + origin + `,"tasks":{}}`,
			`{"messageId":"m",` + origin + `,"seqNum":1.5}`, `{"messageId":"m",` + origin + `,"seqNum":99999999999999999999}`,
		} {
			c.Send("PayloadMessage", bad)
		}
		c.ExpectNothing()
		c.Send("PayloadMessage", `{"messageId":"m",`+origin+`,"generatedAt":"now","timeline":[]}`)
		c.Expect(ackTo + `"m"}}`)
		if d := b.engine.last(); d.Seq != 0 || len(d.Tasks) != 0 {
			t.Errorf("delivered %+v", d)
		}
	})
}

func TestDuplicatesInOnePayload(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		b := open(t)
		c := b.Accept()
		c.Send("PayloadMessage", payloadJSON("p", "1",
			taskJSON("one", "RUNNING", `,"memory":-1`), taskJSON("one", "RUNNING", ""), taskJSON("one", "RUNNING", ""),
			taskJSON("two", "RUNNING", `,"memory":-1`), taskJSON("two", "RUNNING", `,"memory":-2`)))
		c.Expect(ackTo + `"p"}}`)
		d := b.engine.last()
		if diff := cmp.Diff([]string{"one RUNNING"}, delivered(d)); diff != "" {
			t.Error(diff)
		}
		if len(d.Rejected) != 1 || d.Rejected[0].ARN != arn("two") {
			t.Errorf("rejected %+v", d.Rejected)
		}
	})
}

func TestCredentialsMessage(t *testing.T) {
	message := func(task, role, creds string) string {
		return `{"messageId":"c-1","taskArn":` + quoted(task) + `,"roleType":"` + role + `","roleCredentials":` + creds + `}`
	}
	inBubble(t, func(t *testing.T) {
		b := open(t)
		b.engine.add("one", task.Running)
		c := b.Accept()
		for _, bad := range []string{
			message(arn("other"), "TaskApplication", `{"credentialsId":"r"}`),
			message("", "TaskApplication", `{"credentialsId":"r"}`),
			message(arn("one"), "TaskWhatever", `{"credentialsId":"r"}`),
			message(arn("one"), "TaskApplication", `{"credentialsId":""}`),
			message(arn("one"), "TaskApplication", `{"credentialsId":"r","secretAccessKey":12345678}`),
			message(arn("one"), "TaskApplication", `null`),
		} {
			c.Send("IAMRoleCredentialsMessage", bad)
		}
		c.ExpectNothing()
		if b.roles.Len() != 0 {
			t.Error("rejected credentials were stored")
		}
		for _, entry := range b.logs.All() {
			if strings.Contains(fmt.Sprint(entry.ContextMap()), "12345678") {
				t.Errorf("secret logged: %v", entry)
			}
		}
		c.Send("IAMRoleCredentialsMessage", message(arn("one"), "TaskExecution", `{"credentialsId":"x","expiration":"2025-01-02T09:04:05Z"}`))
		c.Expect(`{"type":"IAMRoleCredentialsAckRequest","message":{"messageId":"c-1","expiration":"2025-01-02T09:04:05Z","credentialsId":"x"}}`)
		c.Send("IAMRoleCredentialsMessage", message(arn("one"), "TaskExecution", `{"credentialsId":"x"}`))
		c.Expect(`{"type":"IAMRoleCredentialsAckRequest","message":{"messageId":"c-1","credentialsId":"x"}}`)
		if set, ok := b.roles.ForTask(arn("one"), credentials.Execution); !ok || set.ID != "x" {
			t.Errorf("stored %+v, %v", set, ok)
		}
	})
}

func TestManifest(t *testing.T) {
	manifest := func(id, timeline string, tasks ...string) string {
		return `{"messageId":"` + id + `",` + origin + `,"timeline":` + timeline + `,"tasks":[` + strings.Join(tasks, ",") + `]}`
	}
	entry := func(id, status string) string {
		return `{"taskArn":"` + arn(id) + `","desiredStatus":"` + status + `"}`
	}
	inBubble(t, func(t *testing.T) {
		b := open(t)
		c := b.Accept()
		for _, id := range []string{"kept", "gone", "stopped-there", "vague"} {
			b.engine.add(id, task.Running)
		}
		b.engine.add("ended", task.Stopped)
		b.engine.mu.Lock()
		b.engine.tasks["arn:::::/relay"] = &task.Snapshot{Spec: &task.Spec{ARN: "arn:::::/relay"}, State: task.State{Desired: task.Running}}
		b.engine.seq = 7
		b.engine.mu.Unlock()

		tasks := []string{entry("kept", "RUNNING"), entry("stopped-there", "STOPPED"), entry("elsewhere", "RUNNING"), entry("vague", ""), `{"desiredStatus":"RUNNING"}`}
		c.Send("TaskManifestMessage", manifest("m-7", "7", tasks...)) // not newer
		c.Send("TaskManifestMessage", manifest("m-x", "null", tasks...))
		c.Send("TaskManifestMessage", manifest("m-x", `"9"`, tasks...))
		c.Send("TaskManifestMessage", manifest("m-x", "9", `{"taskArn":7}`))
		b.engine.fail(errors.New("disk full"))
		c.Send("TaskManifestMessage", manifest("m-8", "8", tasks...))
		c.ExpectNothing()
		b.engine.fail(nil)

		c.Send("TaskManifestMessage", manifest("m-8", "8", tasks...))
		c.Expect(ackTo + `"m-8"}}`)
		c.Expect(`{"type":"TaskStopVerificationMessage","message":{"messageId":"m-8","stopCandidates":[` +
			`{"taskArn":"` + arn("gone") + `","taskClusterArn":"` + cluster + `","desiredStatus":"STOPPED"},` +
			`{"taskArn":"` + arn("stopped-there") + `","taskClusterArn":"` + cluster + `","desiredStatus":"STOPPED"}]}}`)
		if b.engine.SequenceNumber() != 8 {
			t.Errorf("sequence number %d, want 8", b.engine.SequenceNumber())
		}

		verify := func(id string) {
			c.Send("TaskStopVerificationAck", `{"messageId":"`+id+`","stopTasks":[`+entry("gone", "STOPPED")+`,`+entry("kept", "STOPPED")+`,{}]}`)
			c.ExpectNothing()
		}
		verify("m-7")
		verify("")
		b.engine.fail(errors.New("disk full"))
		verify("m-8")
		if len(b.engine.stopped) != 0 {
			t.Errorf("stopped %v", b.engine.stopped)
		}
		b.engine.fail(nil)
		verify("m-8")
		verify("m-8") // one answer per manifest
		if diff := cmp.Diff([]string{arn("gone")}, b.engine.stopped); diff != "" {
			t.Errorf("only what was offered may be stopped, once: %s", diff)
		}

		b.engine.add("gone", task.Stopped)
		b.engine.add("stopped-there", task.Stopped)
		c.Send("TaskManifestMessage", manifest("m-9", "9", tasks...))
		c.Expect(ackTo + `"m-9"}}`)
		c.ExpectNothing()
	})
}

const eniJSON = `{"attachmentArn":"arn:aws:ecs:r:a:attachment/77","ec2Id":"eni-0ab","macAddress":"0A:1b:2c:3d:4e:5f",` +
	`"ipv4Addresses":[{"privateAddress":"10.0.1.23","primary":true}],"subnetGatewayIpv4Address":"10.0.1.1/24"}`

func TestAttachInterfaces(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		b := open(t)
		c := b.Accept()
		send := func(kind, extra string) {
			c.Send(kind, `{"messageId":"n-1",`+origin+extra+`}`)
		}
		const forTask, forInstance = "AttachTaskNetworkInterfacesMessage", "AttachInstanceNetworkInterfacesMessage"
		send(forTask, `,"waitTimeoutMs":180000,"elasticNetworkInterfaces":[`+eniJSON+`]`) // no task
		send(forTask, `,"taskArn":"t","elasticNetworkInterfaces":[`+eniJSON+`]`)
		send(forTask, `,"taskArn":"t","waitTimeoutMs":0,"elasticNetworkInterfaces":[`+eniJSON+`]`)
		send(forTask, `,"taskArn":"t","waitTimeoutMs":1,"elasticNetworkInterfaces":[]`)
		send(forInstance, `,"waitTimeoutMs":1,"elasticNetworkInterfaces":[`+eniJSON+`,{}]`)
		b.attachments.err = errors.New("disk full")
		send(forInstance, `,"waitTimeoutMs":1,"elasticNetworkInterfaces":[`+eniJSON+`]`)
		c.ExpectNothing()
		b.attachments.err = nil

		received := time.Now()
		send(forTask, `,"taskArn":"t","waitTimeoutMs":180000,"elasticNetworkInterfaces":[`+eniJSON+`]`)
		c.Expect(ackTo + `"n-1"}}`)
		send(forInstance, `,"waitTimeoutMs":1000,"elasticNetworkInterfaces":[`+eniJSON+`]`)
		c.Expect(ackTo + `"n-1"}}`)
		want := network.Attachment{
			Kind: network.TaskENI, ARN: "arn:aws:ecs:r:a:attachment/77", MAC: "0a:1b:2c:3d:4e:5f", TaskARN: "t",
			Cluster: cluster, Instance: instance, ExpiresAt: received.Add(3 * time.Minute),
		}
		other := want
		other.Kind, other.TaskARN, other.ExpiresAt = network.InstanceENI, "", received.Add(time.Second)
		if diff := cmp.Diff([]network.Attachment{want, other}, b.attachments.all()); diff != "" {
			t.Error(diff)
		}
	})
}

func TestConfirmAttachment(t *testing.T) {
	message := func(kind string, properties ...string) string {
		var list []string
		for i := 0; i < len(properties); i += 2 {
			list = append(list, fmt.Sprintf(`{"name":%q,"value":%q}`, properties[i], properties[i+1]))
		}
		return `{"messageId":"v-1",` + origin + `,"taskArn":"t","attachment":{"attachmentArn":"arn:aws:ecs:r:a:attachment/88","attachmentType":"` +
			kind + `","attachmentProperties":[` + strings.Join(list, ",") + `]}}`
	}
	ebs := []string{"volumeId", "vol-1", "volumeSizeGib", "20", "deviceName", "/dev/sdf", "sourceVolumeHostPath", "p", "volumeName", "data"}
	inBubble(t, func(t *testing.T) {
		b := open(t)
		c := b.Accept()
		c.Send("ConfirmAttachmentMessage", message("amazonebs", ebs[2:]...))
		c.Send("ConfirmAttachmentMessage", message("amazonebs", append(ebs, "fileSystem", "zfs")...))
		c.Send("ConfirmAttachmentMessage", message("amazonebs", append(ebs, "other", "")...))
		c.Send("ConfirmAttachmentMessage", message("elsewhere", "resourceType", "Tape"))
		c.Send("ConfirmAttachmentMessage", message("elsewhere", "resourceType", "EphemeralStorage", "volumeID", "v", "deviceName", "d"))
		c.Send("ConfirmAttachmentMessage", strings.ReplaceAll(message("amazonebs", ebs...), "arn:aws:ecs:r:a:attachment/88", "88"))
		c.ExpectNothing()
		received := time.Now()
		c.Send("ConfirmAttachmentMessage", message("amazonebs", append(ebs, "fileSystem", "xfs")...))
		c.Expect(ackTo + `"v-1"}}`)
		c.Send("ConfirmAttachmentMessage", message("elsewhere", "resourceType", "ElasticBlockStorage", "volumeID", "v", "deviceName", "d"))
		c.Expect(ackTo + `"v-1"}}`)
		want := []network.Attachment{{
			Kind: network.EBSVolume, ARN: "arn:aws:ecs:r:a:attachment/88", VolumeID: "vol-1", TaskARN: "t",
			Cluster: cluster, Instance: instance, ExpiresAt: received.Add(5 * time.Minute),
		}}
		if diff := cmp.Diff(want, b.attachments.all(), cmpopts.IgnoreFields(network.Attachment{}, "Properties")); diff != "" {
			t.Error(diff)
		}
	})
}

type updater struct {
	staged, performed chan func(update.Reply, func())
}

func (u *updater) Stage(_ update.Message, send update.Send)   { u.staged <- send }
func (u *updater) Perform(_ update.Message, send update.Send) { u.performed <- send }

func TestUpdateMessages(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		u := &updater{make(chan func(update.Reply, func()), 1), make(chan func(update.Reply, func()), 1)}
		b := open(t, func(o *acs.Options) { o.Updater = u })
		c := b.Accept()
		c.Send("StageUpdateMessage", `{"messageId":"s-1",`+origin+`,"updateInfo":{"location":"https://x/y","signature":"ab"}}`)
		send := <-u.staged
		c.ExpectNothing() // the download does not hold up the reader
		c.Cut()
		synctest.Wait()
		m := update.Message{ID: "s-1", Cluster: cluster, Instance: instance}
		send(update.Reply{Message: m}, nil) // no connection: it waits for the next
		c = b.Accept()
		c.Expect(ackTo + `"s-1"}}`)
		send(update.Reply{Message: m, Reason: "Unable to download: x"}, nil)
		c.Expect(`{"type":"NackRequest","message":{"cluster":"` + cluster + `","containerInstance":"` + instance + `","messageId":"s-1","reason":"Unable to download: x"}}`)

		c.Send("PerformUpdateMessage", `{"messageId":"s-2",`+origin+`}`)
		send = <-u.performed
		written := make(chan struct{})
		send(update.Reply{Message: update.Message{ID: "s-2", Cluster: cluster, Instance: instance}}, func() { close(written) })
		<-written
		c.Expect(ackTo + `"s-2"}}`)
	})
}

func TestUpdatesAreRefusedByDefault(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		c := open(t).Accept()
		for _, kind := range []string{"StageUpdateMessage", "PerformUpdateMessage"} {
			c.Send(kind, `{"messageId":"s-1",`+origin+`}`)
			c.Expect(`{"type":"NackRequest","message":{"cluster":"` + cluster + `","containerInstance":"` + instance + `","messageId":"s-1","reason":"Updates are disabled"}}`)
		}
	})
}

// A peer that does not read its acks: the reader waits, the silence timer ends the
// connection, and nothing leaks.
func TestPeerThatDoesNotRead(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		b := open(t)
		c := b.Accept()
		c.Stall()
		go func() {
			for i := range 2000 {
				c.Heartbeat(fmt.Sprint(i))
			}
		}()
		var next *acstest.Conn
		took := elapsed(func() { next = b.Accept() })
		if took > 2*time.Minute+time.Second {
			t.Errorf("replaced after %s", took)
		}
		c.Cut()
		next.ExpectNothing()
	})
}
