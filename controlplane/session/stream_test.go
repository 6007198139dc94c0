package session

import (
	"bytes"
	"context"
	"errors"
	"io"
	"math/rand/v2"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// lossy is one end of a connection that loses, repeats and reorders messages.
type lossy struct {
	in, out chan []byte
	over    chan struct{}
	once    *sync.Once
	lose    func() bool
	held    []byte
}

func pair(lose func() bool) (a, b *lossy) {
	one, two, over, once := make(chan []byte, 1024), make(chan []byte, 1024), make(chan struct{}), new(sync.Once)
	return &lossy{one, two, over, once, lose, nil}, &lossy{two, one, over, once, lose, nil}
}

func (l *lossy) Read() ([]byte, error) {
	select {
	case b := <-l.in:
		return b, nil
	case <-l.over:
		return nil, io.EOF
	}
}

func (l *lossy) Write(b []byte) error {
	if l.lose() {
		return nil
	}
	if l.held == nil && l.lose() {
		l.held = b // comes after the next one
		return nil
	}
	for _, m := range [][]byte{b, l.held} {
		if m != nil {
			select {
			case l.out <- m:
			case <-l.over:
				return io.ErrClosedPipe
			}
		}
	}
	l.held = nil
	return nil
}

func (l *lossy) Close() error { l.once.Do(func() { close(l.over) }); return nil }

// TestStreamOverABadConnection: everything arrives once and in order, in both directions,
// and the end after it.
func TestStreamOverABadConnection(t *testing.T) {
	for seed := range uint64(20) {
		synctest.Test(t, func(t *testing.T) {
			var mu sync.Mutex
			random := rand.New(rand.NewPCG(seed, 1))
			lose := func() bool { mu.Lock(); defer mu.Unlock(); return random.IntN(5) == 0 }
			if seed == 0 {
				lose = func() bool { return false }
			}
			agentEnd, clientEnd := pair(lose)
			var atAgent, atClient bytes.Buffer
			agent := NewStream(agentEnd, true, func(m Message) ([]Outgoing, bool) { atAgent.Write(m.Payload); return nil, false })
			closed := false
			client := NewStream(clientEnd, false, func(m Message) ([]Outgoing, bool) {
				if m.Type == TypeClosed {
					closed = true
					return nil, true
				}
				atClient.Write(m.Payload)
				return nil, false
			})
			var want bytes.Buffer
			ctx, cancel := context.WithTimeout(t.Context(), 10*time.Minute)
			defer cancel()
			var work sync.WaitGroup
			work.Go(func() { _ = agent.Run(ctx) })
			work.Go(func() { _ = client.Run(ctx) })
			var senders sync.WaitGroup
			for i := range 700 {
				want.WriteByte(byte(i))
			}
			for _, s := range []*Stream{agent, client} {
				senders.Go(func() {
					for _, b := range want.Bytes() {
						s.Send(PayloadOutput, []byte{b})
					}
				})
			}
			senders.Wait()
			time.Sleep(5 * time.Minute) // for what was lost last
			synctest.Wait()
			if !bytes.Equal(atClient.Bytes(), want.Bytes()) || !bytes.Equal(atAgent.Bytes(), want.Bytes()) {
				t.Errorf("seed %d: %d and %d of %d bytes arrived, or not in order", seed, atClient.Len(), atAgent.Len(), want.Len())
			}
			if seed == 0 {
				agent.Finish(NewClosed("s", "", nil))
				work.Wait()
				if !closed {
					t.Error("the end did not arrive")
				}
			}
			cancel()
			work.Wait()
			if agent.Send(PayloadOutput, nil) {
				t.Error("a stream that is over takes more")
			}
		})
	}
}

// TestStreamWithoutAcknowledgement ends with the reason.
func TestStreamWithoutAcknowledgement(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		end, _ := pair(func() bool { return true })
		s := NewStream(end, true, func(Message) ([]Outgoing, bool) { return nil, false })
		ended := make(chan error, 1)
		go func() { ended <- s.Run(t.Context()) }()
		s.Send(PayloadOutput, []byte("x"))
		if err := <-ended; !errors.Is(err, errPeer) {
			t.Error(err)
		}
	})
}
