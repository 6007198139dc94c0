package agentlink_test

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gorilla/websocket"

	"ecsagent/controlplane/agentlink"
	"ecsagent/controlplane/agentlink/linktest"
	"ecsagent/controlplane/wire"
)

func TestFaultDropAndCloseWith(t *testing.T) {
	inBubble(t, nil, func(b *bench) {
		f := b.hub.Faults()
		b.equal(f.Drop(instanceARN, agentlink.ACS), false)
		for _, plane := range []agentlink.Plane{agentlink.ACS, agentlink.TCS} {
			open := func() *linktest.Conn {
				c := b.acs()
				if plane == agentlink.TCS {
					c = b.tcs()
				}
				b.expect(c, "HeartbeatMessage")
				return c
			}
			c := open()
			b.equal(f.Drop(instanceARN, plane), true)
			code, _ := b.ended(c)
			b.equal(code, websocket.CloseAbnormalClosure)
			c = open()
			b.equal(f.CloseWith(instanceARN, plane, 4000, "odd"), true)
			code, text := b.ended(c)
			b.equal(code, 4000)
			b.equal(text, "odd")
		}
	})
}

func TestFaultSilence(t *testing.T) {
	inBubble(t, nil, func(b *bench) {
		c := b.acs()
		b.expect(c, "TaskManifestMessage")
		b.equal(b.hub.Faults().Silence(instanceARN, agentlink.ACS), true)
		id := b.hub.Deliver(instanceARN, payload("t1"))
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Minute)
		defer cancel()
		if m, err := c.Next(ctx); !errors.Is(err, context.DeadlineExceeded) {
			b.Fatalf("got %v %v, want silence", m.Type, err)
		}
		b.equal(b.hub.Faults().SendRaw(instanceARN, agentlink.ACS, []byte("x")), true) // not an end either
		b.must(c.SendClose(1000, "expired"))
		ctx, cancel = context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		if err := c.Ended(ctx); err == nil || errors.As(err, new(*websocket.CloseError)) && websocket.IsCloseError(err, 1000) {
			b.Fatalf("got %v, want no answer to the close frame", err)
		}
		b.equal(b.expect(b.acs(), "PayloadMessage").ID(), id)
	})
}

func TestFaultAcks(t *testing.T) {
	inBubble(t, nil, func(b *bench) {
		f := b.hub.Faults()
		f.DropAcks(true)
		id := b.hub.Deliver(instanceARN, payload("t1"))
		c := b.acs()
		m := b.expect(c, "PayloadMessage")
		b.must(c.Ack(m))
		b.equal(ids(b.within(c, 16*time.Second, "PayloadMessage")), []string{id})
		f.DropAcks(false)
		f.DelayAcks(5 * time.Second)
		b.must(c.Ack(m))
		synctest.Wait()
		b.equal(len(b.hub.Pending(instanceARN)), 1)
		b.within(c, 5*time.Second, "")
		synctest.Wait()
		b.equal(len(b.hub.Pending(instanceARN)), 0)
	})
}

func TestFaultDuplicatesRawAndRewind(t *testing.T) {
	inBubble(t, nil, func(b *bench) {
		f := b.hub.Faults()
		f.Duplicate(2)
		id := b.hub.Deliver(instanceARN, payload("t1"))
		c := b.acs()
		b.equal(ids(b.within(c, time.Second, "PayloadMessage")), []string{id, id, id})
		f.Duplicate(0)
		b.equal(f.Rewind(instanceARN), true)
		b.equal(ids(b.within(c, time.Second, "PayloadMessage")), []string{id})
		b.equal(f.SendRaw(instanceARN, agentlink.ACS, []byte("{garbage")), true)
		m, err := c.Next(context.Background())
		b.must(err)
		b.equal(string(m.Frame), "{garbage")
		b.equal(f.SendBinary(instanceARN, agentlink.ACS, []byte{0, 1}), true)
		m, err = c.Next(context.Background())
		b.must(err)
		b.equal(m.Frame, []byte{0, 1})
	})
}

func TestFaultRefuse(t *testing.T) {
	inBubble(t, nil, func(b *bench) {
		f := b.hub.Faults()
		for _, framed := range []bool{false, true} {
			f.Refuse(&wire.Exception{Type: wire.InvalidCluster, Message: "no such cluster"}, framed)
			want := map[bool]string{false: `{"InvalidClusterException":"no such cluster"}`,
				true: `{"message":{"message":"no such cluster"},"type":"InvalidClusterException"}`}[framed]
			for _, open := range []func(context.Context) (*linktest.Conn, error){b.dial().ACS, b.dial().TCS} {
				_, err := open(context.Background())
				var r *linktest.Refusal
				if !errors.As(err, &r) {
					b.Fatalf("got %v, want a refusal", err)
				}
				b.equal(r.Body, want)
			}
		}
		f.Refuse(nil, false)
		b.expect(b.acs(), "HeartbeatMessage")
	})
}
