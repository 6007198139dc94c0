package acs_test

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"
	"github.com/google/go-cmp/cmp"
	"github.com/gorilla/websocket"
	"go.uber.org/zap"

	"ecsagent/agent/acs"
	"ecsagent/agent/acs/acstest"
	"ecsagent/agent/acs/wire"
	"ecsagent/agent/credentials"
	"ecsagent/agent/task"
)

func TestHandshake(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		b := open(t)
		c := b.Accept()
		want := "/ws?agentHash=1a2b3c4d&agentVersion=1.105.1" +
			"&clusterArn=arn%3Aaws%3Aecs%3Aus-west-2%3A111122223333%3Acluster%2Fprod" +
			"&containerInstanceArn=arn%3Aaws%3Aecs%3Aus-west-2%3A111122223333%3Acontainer-instance%2Fprod%2F0a1b" +
			"&dockerVersion=DockerVersion%3A+25.0.8&protocolVersion=2&sendCredentials=true&seqNum=1"
		if got := c.Request.RequestURI; got != want {
			t.Errorf("request URI\n %s\nwant\n %s", got, want)
		}
		h := c.Request.Header
		for name, want := range map[string]string{
			"X-Amz-Security-Token": "TOKEN", "Sec-Websocket-Version": "13", "User-Agent": "Go-http-client/1.1",
			"X-Amz-Content-Sha256": "", "Sec-Websocket-Extensions": "", "Sec-Websocket-Protocol": "",
		} {
			if got := h.Get(name); got != want {
				t.Errorf("%s: %q, want %q", name, got, want)
			}
		}
		if !strings.Contains(h.Get("Authorization"), "SignedHeaders=host;x-amz-date;x-amz-security-token,") {
			t.Errorf("Authorization: %s", h.Get("Authorization"))
		}
		// A verifier builds the request anew from what it received.
		again, err := http.NewRequest(http.MethodGet, "http://"+c.Request.Host+c.Request.RequestURI, nil)
		if err != nil {
			t.Fatal(err)
		}
		at, err := time.Parse("20060102T150405Z", h.Get("X-Amz-Date"))
		if err != nil {
			t.Fatal(err)
		}
		empty := sha256.Sum256(nil)
		creds, _ := signing{}.Retrieve(t.Context())
		if err := v4.NewSigner().SignHTTP(t.Context(), creds, again, hex.EncodeToString(empty[:]), "ecs", "us-west-2", at); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(again.Header.Get("Authorization"), h.Get("Authorization")); diff != "" {
			t.Error(diff)
		}
		synctest.Wait()
		if !b.session.Connected() {
			t.Error("not connected")
		}
	})
}

// Credentials are asked for until a connection has carried a message, and again
// when a task lacks its own.
func TestSendCredentials(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		b := open(t)
		next := func(want string) *acstest.Conn {
			t.Helper()
			c := b.Accept()
			if got := c.Query.Get("sendCredentials"); got != want {
				t.Errorf("sendCredentials=%s, want %s", got, want)
			}
			return c
		}
		next("true").Cut()
		c := next("true")
		c.ExpectNothing()
		c.Cut()
		c = next("false")
		b.engine.mu.Lock()
		b.engine.tasks["a"] = &task.Snapshot{
			Spec: &task.Spec{ARN: "a", ExecutionCredentialsID: "x"}, State: task.State{Desired: task.Running},
		}
		b.engine.mu.Unlock()
		c.Cut()
		c = next("true")
		b.roles.Put(credentials.Set{ID: "x", TaskARN: "a", Role: credentials.Execution})
		c.Cut()
		next("false")
	})
}

func TestRefusedHandshake(t *testing.T) {
	for name, tc := range map[string]struct {
		body     string
		pause    time.Duration
		inactive bool
	}{
		"inactive":             {`{"InactiveInstanceException":"gone"}`, time.Hour, true},
		"inactive, framed":     {`{"type":"InactiveInstanceException","message":{"message":"gone"}}`, time.Hour, true},
		"only a word":          {`proxy says InactiveInstanceException, sorry`, 250 * time.Millisecond, false},
		"access denied":        {`{"AccessDeniedException":"no"}`, 5 * time.Second, false},
		"invalid cluster":      {`{"type":"InvalidClusterException","message":{"message":"no"}}`, 5 * time.Second, false},
		"server exception":     {`{"ServerException":"later"}`, 250 * time.Millisecond, false},
		"two keys":             {`{"InactiveInstanceException":"x","y":"z"}`, 250 * time.Millisecond, false},
		"empty":                {``, 250 * time.Millisecond, false},
		"more than is read of": {`{"InactiveInstanceException":"` + strings.Repeat("x", 4000) + `"}`, 250 * time.Millisecond, false},
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(t *testing.T) {
				b := prepare(t)
				b.Refuse(400, tc.body)
				b.start()
				if took := elapsed(func() { b.Accept() }); took != tc.pause {
					t.Errorf("connected after %s, want %s", took, tc.pause)
				}
				synctest.Wait()
				want := []bool(nil)
				if tc.inactive {
					want = []bool{true, false}
				}
				if diff := cmp.Diff(want, b.inactive); diff != "" {
					t.Error(diff)
				}
				if len(b.dialed) != 2 || b.dialed[0] == nil || b.dialed[1] != nil {
					t.Errorf("Dialed heard %v", b.dialed)
				}
			})
		})
	}
}

func TestSilentConnectionIsReplaced(t *testing.T) {
	for name, tc := range map[string]struct {
		rand     float64
		min, max time.Duration
	}{"shortest": {0, 60 * time.Second, 61 * time.Second}, "longest": {0.9999, 119 * time.Second, 121 * time.Second}} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(t *testing.T) {
				b := open(t, func(o *acs.Options) { o.Rand = func() float64 { return tc.rand } })
				c := b.Accept()
				took := elapsed(func() {
					// Neither control frames nor unknown or malformed messages count as activity.
					for range 3 {
						time.Sleep(15 * time.Second)
						c.Ping()
						c.Send("BrandNewMessage", "{}")
						c.Send("PayloadMessage", `{"messageId":1}`)
						c.SendRaw("{nonsense")
					}
					<-c.Closed
				})
				if took < tc.min || took > tc.max {
					t.Errorf("dropped after %s, want %s to %s", took, tc.min, tc.max)
				}
				if !websocket.IsCloseError(c.CloseError, websocket.CloseAbnormalClosure) {
					t.Errorf("ended with %v, want no close frame", c.CloseError)
				}
				b.Accept()
			})
		})
	}
}

func TestAnyKnownMessageIsActivity(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		b := open(t)
		c := b.Accept()
		for range 4 {
			time.Sleep(50 * time.Second)
			c.Send("ErrorMessage", `{"message":"hm"}`)
			c.Send("AckRequest", `{}`)
		}
		c.SendBinary(`{"type":"HeartbeatMessage","message":{"messageId":"b"}}`)
		c.Expect(`{"type":"HeartbeatAckRequest","message":{"messageId":"b"}}`)
		select {
		case <-c.Closed:
			t.Error("an active connection was dropped")
		default:
		}
	})
}

// keepAlive sends heartbeats until the connection ends.
func keepAlive(c *acstest.Conn) {
	for {
		timer := time.NewTimer(30 * time.Second)
		select {
		case <-c.Closed:
			timer.Stop()
			return
		case <-timer.C:
			c.Heartbeat("h")
		}
	}
}

func TestOldConnectionIsReplaced(t *testing.T) {
	for name, deaf := range map[string]bool{"polite peer": false, "deaf peer": true} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(t *testing.T) {
				b := open(t, func(o *acs.Options) { o.Rand = func() float64 { return 0.5 } })
				c := b.Accept()
				if deaf {
					c.IgnoreClose()
				}
				age := elapsed(func() { keepAlive(c) })
				if age < 30*time.Minute || age > 35*time.Minute {
					t.Errorf("replaced after %s, want 30 to 35 minutes", age)
				}
				var ce *websocket.CloseError
				if !errors.As(c.CloseError, &ce) || ce.Code != websocket.CloseNormalClosure || ce.Text != "ConnectionExpired: Reconnect to continue" {
					t.Errorf("ended with %v", c.CloseError)
				}
				if took := elapsed(func() { b.Accept() }); took > time.Second {
					t.Errorf("next connection after %s", took)
				}
			})
		})
	}
}

func TestErrorBackoff(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		start := time.Now()
		var at []time.Duration
		open(t, func(o *acs.Options) {
			o.Discover = func(context.Context) (string, error) {
				at = append(at, time.Since(start))
				return "", errors.New("no route")
			}
		})
		time.Sleep(time.Hour)
		synctest.Wait()
		var pauses []time.Duration
		for i := range at[1:] {
			pauses = append(pauses, (at[i+1] - at[i]).Round(10*time.Millisecond))
		}
		want := []time.Duration{250, 380, 560, 840, 1270, 1900, 2850, 4270, 6410, 9610}
		for i := range want {
			want[i] *= time.Millisecond
		}
		if diff := cmp.Diff(want, pauses[:10]); diff != "" {
			t.Error(diff)
		}
		for _, p := range pauses[17:] {
			if p != 2*time.Minute {
				t.Errorf("pause %s, want the cap", p)
			}
		}
	})
}

// A peer that accepts and drops at once is not hammered; one that drops now and
// then is found again at once.
func TestCleanEndings(t *testing.T) {
	for name, end := range map[string]func(*acstest.Conn){
		"cut":  (*acstest.Conn).Cut,
		"1000": func(c *acstest.Conn) { c.Close(1000, "bye") },
		"1001": func(c *acstest.Conn) { c.Close(1001, "going away") },
		"1011": func(c *acstest.Conn) { c.Close(1011, "oops") },
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(t *testing.T) {
				b := open(t)
				took := elapsed(func() {
					for range 10 {
						end(b.Accept())
					}
				})
				if took < 10*time.Second {
					t.Errorf("ten connections in %s", took)
				}
				c := b.Accept()
				time.Sleep(30 * time.Second)
				end(c)
				if took := elapsed(func() { b.Accept() }); took < 100*time.Millisecond || took > 500*time.Millisecond {
					t.Errorf("next connection after %s", took)
				}
			})
		})
	}
}

func TestUnusualCloseIsAnError(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		b := open(t)
		c := b.Accept()
		time.Sleep(30 * time.Second)
		c.Close(4000, "strange")
		if took := elapsed(func() { b.Accept() }); took != 250*time.Millisecond {
			t.Errorf("next connection after %s, want the back-off", took)
		}
	})
}

func TestBackoffStartsOverAfterASteadyConnection(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		b := open(t)
		for range 8 {
			b.Accept().Close(4000, "")
		}
		c := b.Accept()
		time.Sleep(50 * time.Second)
		c.Heartbeat("h")
		time.Sleep(11 * time.Second)
		c.Close(4000, "")
		if took := elapsed(func() { b.Accept() }); took != 250*time.Millisecond {
			t.Errorf("next connection after %s, want the first pause", took)
		}
	})
}

func TestExceptionsAndCloseDuringASession(t *testing.T) {
	for kind, want := range map[string]time.Duration{
		wire.InactiveInstanceException: time.Hour,
		wire.AccessDeniedException:     5 * time.Second,
		wire.ServerException:           250 * time.Millisecond,
		wire.TypeClose:                 100 * time.Millisecond,
	} {
		t.Run(kind, func(t *testing.T) {
			inBubble(t, func(t *testing.T) {
				b := open(t)
				c := b.Accept()
				time.Sleep(30 * time.Second)
				c.Send(kind, `{"message":"as it is"}`)
				if took := elapsed(func() { b.Accept() }); took != want {
					t.Errorf("next connection after %s, want %s", took, want)
				}
				if kind == wire.TypeClose && !websocket.IsCloseError(c.CloseError, websocket.CloseNormalClosure) {
					t.Errorf("ended with %v, want a close frame", c.CloseError)
				}
			})
		})
	}
}

func TestOversizedFrame(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		b := open(t)
		c := b.Accept()
		c.SendRaw(strings.Repeat(" ", wire.MaxFrame+1))
		if took := elapsed(func() { c = b.Accept() }); took > time.Second {
			t.Errorf("next connection after %s", took)
		}
		c.ExpectNothing()
		lines := b.logs.FilterMessage("no connection to ACS").All()
		if len(lines) != 1 || !strings.Contains(lines[0].ContextMap()["error"].(string), "larger than 8388608 bytes") {
			t.Errorf("logged %+v", lines)
		}
		c.SendRaw(`{"type":"HeartbeatMessage","message":{"messageId":"` + strings.Repeat("y", 1<<20) + `"}}`)
		c.Next()
	})
}

// The end of the process drops the connection at once and without a close frame.
func TestStop(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		b := open(t)
		c := b.Accept()
		c.ExpectNothing()
		if took := elapsed(b.stop); took != 0 {
			t.Errorf("stopping took %s", took)
		}
		<-c.Closed
		if !websocket.IsCloseError(c.CloseError, websocket.CloseAbnormalClosure) {
			t.Errorf("ended with %v, want no close frame", c.CloseError)
		}
		if b.session.Connected() {
			t.Error("still connected")
		}
	})
}

func TestStopWhileConnecting(t *testing.T) {
	for name, change := range map[string]func(*acs.Options){
		"discover": func(o *acs.Options) {
			o.Discover = func(ctx context.Context) (string, error) {
				<-ctx.Done()
				return "", ctx.Err()
			}
		},
		"credentials": func(o *acs.Options) {
			o.Signing = aws.CredentialsProviderFunc(func(ctx context.Context) (aws.Credentials, error) {
				<-ctx.Done()
				return aws.Credentials{}, ctx.Err()
			})
		},
		"pause": func(o *acs.Options) {
			o.Discover = func(context.Context) (string, error) { return "ftp://x", nil }
		},
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(t *testing.T) {
				b := open(t, change)
				synctest.Wait()
				if took := elapsed(b.stop); took != 0 {
					t.Errorf("stopping took %s", took)
				}
			})
		})
	}
}

// A peer that accepts TCP and then says nothing.
func TestMuteHandshake(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		dials := 0
		b := open(t, func(o *acs.Options) {
			o.Dial = mute(o.Dial, &dials)
		})
		if took := elapsed(func() { b.Accept() }); took != 30*time.Second+250*time.Millisecond {
			t.Errorf("second attempt after %s, want the handshake limit and the back-off", took)
		}
	})
	inBubble(t, func(t *testing.T) {
		dials := 0
		b := open(t, func(o *acs.Options) { o.Dial = mute(o.Dial, &dials) })
		synctest.Wait()
		if took := elapsed(b.stop); took != 0 {
			t.Errorf("stopping during the handshake took %s", took)
		}
	})
}

func TestBadEndpoints(t *testing.T) {
	for _, endpoint := range []string{"", "ftp://x/", "https://", "::", "wss"} {
		inBubble(t, func(t *testing.T) {
			b := open(t, func(o *acs.Options) {
				o.Discover = func(context.Context) (string, error) { return endpoint, nil }
			})
			time.Sleep(time.Second)
			synctest.Wait()
			if b.logs.FilterLevelExact(zap.WarnLevel).Len() < 2 {
				t.Errorf("endpoint %q: not tried again", endpoint)
			}
		})
	}
}
