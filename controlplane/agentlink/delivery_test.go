package agentlink_test

import (
	"encoding/json"
	"fmt"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gorilla/websocket"

	"ecsagent/controlplane/agentlink"
	"ecsagent/controlplane/agentlink/linktest"
	"ecsagent/controlplane/wire"
)

func TestPayloadUntilAcked(t *testing.T) {
	inBubble(t, nil, func(b *bench) {
		first := b.hub.Deliver(instanceARN, payload("t1"))
		c := b.acs()
		m := b.expect(c, "PayloadMessage")
		b.equal(m.ID(), first)
		second := b.hub.Deliver(instanceARN, payload("t2", "t3"))
		m2 := b.expect(c, "PayloadMessage")
		b.equal(m2.ID(), second)
		b.must(c.Ack(m2))

		// The first is sent again, the same to the byte, the second is not.
		again := b.within(c, 31*time.Second, "PayloadMessage")
		b.equal(ids(again), []string{first, first})
		b.equal(string(again[0].Frame), string(m.Frame))
		b.must(c.Ack(m))
		b.equal(len(b.within(c, time.Minute, "PayloadMessage")), 0)
		b.equal(b.backend.list(&b.backend.acked), []string{second, first})
		b.equal(len(b.hub.Pending(instanceARN)), 0)

		var got struct {
			ClusterARN, ContainerInstanceARN string
			SeqNum                           int64
			Tasks                            []json.RawMessage
		}
		b.body(m2, &got)
		b.equal(got.ClusterARN, cluster)
		b.equal(got.ContainerInstanceARN, instanceARN)
		b.equal(len(got.Tasks), 2)
	})
}

func TestPayloadsAcrossReconnect(t *testing.T) {
	inBubble(t, nil, func(b *bench) {
		var want []string
		for i := range 5 {
			want = append(want, b.hub.Deliver(instanceARN, payload(fmt.Sprint("t", i))))
		}
		c := b.acs()
		ms := b.within(c, time.Second, "PayloadMessage")
		b.equal(ids(ms), want)
		b.must(c.Ack(ms[1]))
		synctest.Wait()
		c.Close()
		c = b.acs()
		b.equal(ids(b.within(c, time.Second, "PayloadMessage")), slices.Delete(slices.Clone(want), 1, 2))
	})
}

func TestSequenceRisesOverPayloadsAndManifests(t *testing.T) {
	inBubble(t, func(o *agentlink.Options) { o.Sequences = agentlink.NewMemorySequences(41) }, func(b *bench) {
		b.hub.Deliver(instanceARN, payload("t1")) // 42, sent after the manifest
		c := b.acs()
		var m struct{ Timeline, SeqNum int64 }
		b.body(b.expect(c, "TaskManifestMessage"), &m)
		b.equal(m.Timeline, 43)
		b.body(b.expect(c, "PayloadMessage"), &m)
		b.equal(m.SeqNum, 42)
		b.hub.Deliver(instanceARN, payload("t2"))
		b.body(b.expect(c, "PayloadMessage"), &m)
		b.equal(m.SeqNum, 44)
		c.Close()
		b.body(b.expect(b.acs(), "TaskManifestMessage"), &m)
		b.equal(m.Timeline, 45)
	})
}

func TestBadPayloadIsNotQueued(t *testing.T) {
	inBubble(t, nil, func(b *bench) {
		b.equal(b.hub.Deliver(instanceARN, wire.Payload{Tasks: []json.RawMessage{json.RawMessage("{")}}), "")
		b.equal(len(b.hub.Pending(instanceARN)), 0)
	})
}

func TestNack(t *testing.T) {
	inBubble(t, nil, func(b *bench) {
		id := b.hub.Deliver(instanceARN, payload("t1"))
		c := b.acs()
		b.expect(c, "PayloadMessage")
		b.must(c.Send("NackRequest", map[string]string{"messageId": id, "reason": "no"}))
		b.must(c.Send("NackRequest", map[string]string{"messageId": "unknown", "reason": "no"}))
		b.equal(len(b.within(c, time.Minute, "PayloadMessage")), 0)
		b.equal(b.backend.list(&b.backend.nacked), []string{id + " no"})
		b.equal(len(b.backend.list(&b.backend.acked)), 0)
	})
}

func TestSecondConnectionReplacesTheFirst(t *testing.T) {
	inBubble(t, nil, func(b *bench) {
		first := b.acs()
		b.expect(first, "TaskManifestMessage")
		second := b.acs()
		code, _ := b.ended(first)
		b.equal(code, websocket.ClosePolicyViolation)
		b.expect(second, "TaskManifestMessage")
		b.hub.Deliver(instanceARN, payload("t1"))
		b.expect(second, "PayloadMessage")
		second.Close()
		synctest.Wait()
		b.equal(b.backend.list(&b.backend.presence), []string{"true 1.105.1 1a2b3c4d 25.0.8", "true 1.105.1 1a2b3c4d 25.0.8", "false 1.105.1 1a2b3c4d 25.0.8"})
	})
}

func TestManifestAndStopVerification(t *testing.T) {
	task := func(arn, status string) wire.TaskIdentifier {
		return wire.TaskIdentifier{TaskARN: arn, TaskClusterARN: cluster, DesiredStatus: status}
	}
	inBubble(t, nil, func(b *bench) {
		b.backend.manifest = []wire.TaskIdentifier{task("t1", "RUNNING")}
		b.backend.stop = []wire.TaskIdentifier{task("t2", "STOPPED"), task("never-offered", "STOPPED")}
		c := b.acs()
		m := b.expect(c, "TaskManifestMessage")
		var manifest struct {
			Timeline int64
			Tasks    []wire.TaskIdentifier
		}
		b.body(m, &manifest)
		b.equal(manifest.Timeline, 1)
		b.equal(manifest.Tasks, b.backend.manifest)
		b.must(c.Ack(m))

		candidates := []wire.TaskIdentifier{task("t2", "STOPPED"), task("t3", "STOPPED"), task("arn:::::/service-connect-relay", "STOPPED")}
		b.must(c.Send("TaskStopVerificationMessage", map[string]any{"messageId": "other", "stopCandidates": candidates}))
		verify := map[string]any{"messageId": m.ID(), "stopCandidates": candidates}
		b.must(c.Send("TaskStopVerificationMessage", verify))
		b.must(c.Send("TaskStopVerificationMessage", verify)) // answered once only
		acks := b.within(c, time.Second, "TaskStopVerificationAck")
		b.equal(ids(acks), []string{m.ID()})
		var ack struct{ StopTasks []wire.TaskIdentifier }
		b.body(acks[0], &ack)
		b.equal(ack.StopTasks, []wire.TaskIdentifier{task("t2", "STOPPED")})
		b.equal(b.backend.offered, candidates[:2])
	})
}

func TestNoManifestWithoutFullSync(t *testing.T) {
	inBubble(t, nil, func(b *bench) {
		b.backend.noSync = true
		b.equal(len(b.within(b.acs(), time.Minute, "TaskManifestMessage")), 0)
	})
}

func credentials(id, task, expiration string) wire.CredentialsMessage {
	return wire.CredentialsMessage{TaskARN: task, RoleType: wire.RoleTaskApplication,
		RoleCredentials: wire.RoleCredentials{CredentialsID: id, AccessKeyID: "ASIA", Expiration: expiration}}
}

func TestCredentialsOnConnectUntilAcked(t *testing.T) {
	inBubble(t, nil, func(b *bench) {
		b.backend.setCreds([]wire.CredentialsMessage{credentials("a", "t1", "e1"), credentials("b", "t2", "e1")})
		all := func(d *linktest.Dial) { d.SendCredentials = true }
		c := b.acs(all)
		ms := b.within(c, time.Second, "IAMRoleCredentialsMessage")
		b.equal(len(ms), 2)
		b.must(c.Ack(ms[0]))
		// The other comes again after 15, 30 and 60 seconds more, with the same id.
		again := b.within(c, 106*time.Second, "IAMRoleCredentialsMessage")
		b.equal(ids(again), []string{ms[1].ID(), ms[1].ID(), ms[1].ID()})
		b.must(c.Ack(ms[1]))
		synctest.Wait()

		// An agent that kept its memory gets nothing, one that lost it everything.
		c.Close()
		c = b.acs()
		b.equal(len(b.within(c, 2*time.Minute, "IAMRoleCredentialsMessage")), 0)
		c.Close()
		c = b.acs(all)
		b.equal(len(b.within(c, time.Second, "IAMRoleCredentialsMessage")), 2)
	})
}

func TestCredentialsAreRenewed(t *testing.T) {
	inBubble(t, nil, func(b *bench) {
		b.backend.setCreds([]wire.CredentialsMessage{credentials("a", "t1", "e1")})
		c := b.acs(func(d *linktest.Dial) { d.SendCredentials = true })
		m := b.expect(c, "IAMRoleCredentialsMessage")
		b.must(c.Ack(m))
		b.equal(len(b.within(c, 5*time.Minute, "IAMRoleCredentialsMessage")), 0)
		b.backend.setCreds([]wire.CredentialsMessage{credentials("a", "t1", "e2")})
		ms := b.within(c, 61*time.Second, "IAMRoleCredentialsMessage")
		if len(ms) == 0 || ms[0].ID() == m.ID() {
			b.Fatalf("got %v, want new material under a new message id", ms)
		}
		b.must(c.Ack(m)) // of the old material: does not count
		b.equal(len(b.within(c, 10*time.Minute, "IAMRoleCredentialsMessage")) > 0, true)
	})
}

func TestCredentialsOfPayloads(t *testing.T) {
	inBubble(t, nil, func(b *bench) {
		c := b.acs()
		b.hub.Deliver(instanceARN, wire.Payload{Tasks: []json.RawMessage{
			json.RawMessage(`{"arn":"t1","roleCredentials":{"credentialsId":"a","expiration":"e1"}}`)}})
		b.backend.setCreds([]wire.CredentialsMessage{credentials("a", "t1", "e1")})
		m := b.expect(c, "PayloadMessage")
		// The agent cannot know the task before it has acked the payload.
		b.equal(len(b.within(c, 5*time.Minute, "IAMRoleCredentialsMessage")), 0)
		b.must(c.Ack(m))
		b.equal(len(b.within(c, 5*time.Minute, "IAMRoleCredentialsMessage")), 0)
	})
}

// An announcement is sent until it is acknowledged, and is no payload.
func TestAnnouncement(t *testing.T) {
	inBubble(t, nil, func(b *bench) {
		c := b.acs()
		b.hub.Announce(instanceARN, wire.Announcement{
			TaskARN: "t1", TaskClusterARN: cluster, Wait: 3 * time.Minute,
			Interface: wire.NetworkInterface{AttachmentARN: "a1", EC2ID: "eni-1", MAC: "06:00:00:00:00:01", Gateway: "10.0.0.1/24",
				IPv4: []wire.IPv4Address{{Primary: true, Address: "10.0.0.4"}}},
		})
		m := b.expect(c, "AttachTaskNetworkInterfacesMessage")
		var got struct {
			ClusterARN, ContainerInstanceARN, TaskARN, TaskClusterARN string
			WaitTimeoutMs                                             int64
			ElasticNetworkInterfaces                                  []wire.NetworkInterface
		}
		b.body(m, &got)
		b.equal(got.ClusterARN, cluster)
		b.equal(got.ContainerInstanceARN, instanceARN)
		b.equal(got.TaskARN, "t1")
		b.equal(got.WaitTimeoutMs, int64(180000))
		b.equal(len(got.ElasticNetworkInterfaces), 1)
		b.equal(got.ElasticNetworkInterfaces[0].MAC, "06:00:00:00:00:01")
		again := b.within(c, 31*time.Second, "AttachTaskNetworkInterfacesMessage")
		b.equal(len(again) > 0, true)
		b.must(c.Ack(m))
		b.equal(len(b.within(c, time.Minute, "AttachTaskNetworkInterfacesMessage")), 0)
		b.equal(len(b.backend.list(&b.backend.acked)), 0)

		b.hub.Announce(instanceARN, wire.Announcement{
			TaskARN: "t2", TaskClusterARN: cluster, Wait: time.Minute,
			Attachment: &wire.Attachment{ARN: "a2", Type: "amazonebs", Properties: []wire.Property{{Name: "volumeId", Value: "vol-1"}}},
		})
		m = b.expect(c, "ConfirmAttachmentMessage")
		var volume struct {
			ContainerInstanceARN, TaskARN string
			WaitTimeoutMs                 int64
			Attachment                    wire.Attachment
		}
		b.body(m, &volume)
		b.equal(volume.ContainerInstanceARN, instanceARN)
		b.equal(volume.TaskARN, "t2")
		b.equal(volume.WaitTimeoutMs, int64(60000))
		b.equal(volume.Attachment.ARN+" "+volume.Attachment.Type, "a2 amazonebs")
		b.equal(volume.Attachment.Properties[0], wire.Property{Name: "volumeId", Value: "vol-1"})
		b.must(c.Ack(m))
		b.equal(len(b.within(c, time.Minute, "ConfirmAttachmentMessage")), 0)
	})
}

// An update is performed once it is staged, and told as far as it comes.
func TestUpdate(t *testing.T) {
	inBubble(t, nil, func(b *bench) {
		c := b.acs()
		for _, u := range []struct {
			accepted []bool
			told     []string
		}{
			{[]bool{true, true}, []string{"staged", "performing"}},
			{[]bool{false}, []string{"refused: no"}},
			{[]bool{true, false}, []string{"staged", "refused: no"}},
		} {
			b.backend.mu.Lock()
			b.backend.updates = nil
			b.backend.mu.Unlock()
			b.hub.Update(instanceARN, wire.Update{Location: "http://x/update", Signature: "abcd"})
			for i, accepted := range u.accepted {
				m := b.expect(c, []string{"StageUpdateMessage", "PerformUpdateMessage"}[i])
				var got struct {
					ClusterARN, ContainerInstanceARN string
					UpdateInfo                       wire.Update
				}
				b.body(m, &got)
				b.equal(got.ContainerInstanceARN, instanceARN)
				b.equal(got.ClusterARN, cluster)
				b.equal(got.UpdateInfo, wire.Update{Location: "http://x/update", Signature: "abcd"})
				if accepted {
					b.must(c.Ack(m))
				} else {
					b.must(c.Send("NackRequest", map[string]string{"messageId": m.ID(), "reason": "no"}))
				}
			}
			b.within(c, time.Minute, "StageUpdateMessage")
			b.equal(fmt.Sprint(b.backend.list(&b.backend.updates)), fmt.Sprint(u.told))
		}
	})
}
