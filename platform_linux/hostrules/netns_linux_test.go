package hostrules_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	rules "ecsagent/platform_linux/hostrules"
)

// lab is three network namespaces: a host with a bridge and an uplink, a container on
// the bridge, and the world beyond the uplink, with instance metadata in it.
//
//	container eth0 ── docker0 host ens5 ── eth0 world
//	172.31.7.2        172.31.7.1  192.0.2.2   192.0.2.1, 169.254.169.254, fd00:ec2::254
type lab struct {
	t                      *testing.T
	host, container, world space
}

type space struct {
	t    *testing.T
	name string
	fd   int
}

var spaces atomic.Int64

// newSpace makes a network namespace that goes with the test.
func newSpace(t *testing.T) space {
	name := fmt.Sprintf("ecsrules-%d-%d", os.Getpid(), spaces.Add(1))
	command(t, "ip", "netns", "add", name)
	f, err := os.Open(filepath.Join("/run/netns", name))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		f.Close()
		command(t, "ip", "netns", "delete", name)
	})
	s := space{t, name, int(f.Fd())}
	s.ip("link set lo up")
	return s
}

func command(t *testing.T, args ...string) string {
	t.Helper()
	out, err := exec.Command(args[0], args[1:]...).CombinedOutput()
	if err != nil {
		t.Fatalf("%s: %v\n%s", strings.Join(args, " "), err, out)
	}
	return string(out)
}

func (s space) run(args ...string) string {
	s.t.Helper()
	return command(s.t, append([]string{"ip", "netns", "exec", s.name}, args...)...)
}

// means reach the namespace as an agent in it would.
func (s space) means() rules.Means {
	return rules.Means{
		NetNS: s.fd, LookPath: exec.LookPath,
		Exec: func(ctx context.Context, stdin, program string, args ...string) (string, error) {
			return rules.Command(ctx, stdin, "ip", append([]string{"netns", "exec", s.name, program}, args...)...)
		},
	}
}

// settings are the namespace's kernel settings: /proc/sys shows a thread those of the
// namespace it is in.
type settings struct{ space }

func (s settings) Check(p *rules.Plan) (problems []rules.Problem) {
	_ = s.in(func() error { problems = rules.ProcSys.Check(p); return nil })
	return problems
}

func (s settings) Apply(p *rules.Plan) (changed bool, err error) {
	err = s.in(func() (err error) { changed, err = rules.ProcSys.Apply(p); return err })
	return changed, err
}

func (s settings) Undo(p *rules.Plan) error {
	return s.in(func() error { return rules.ProcSys.Undo(p) })
}

// in runs fn on a thread that is in the namespace; sockets made there stay in it.
func (s space) in(fn func() error) error {
	done := make(chan error, 1)
	go func() {
		runtime.LockOSThread() // never unlocked: the thread ends with the goroutine
		if err := unix.Setns(s.fd, unix.CLONE_NEWNET); err != nil {
			done <- err
			return
		}
		done <- fn()
	}()
	return <-done
}

// listen answers every connection with a name.
func (s space) listen(address, name string) {
	s.t.Helper()
	var l net.Listener
	err := s.in(func() (err error) { l, err = net.Listen("tcp", address); return err })
	if err != nil {
		s.t.Fatal(err)
	}
	stopped := make(chan struct{})
	go func() {
		defer close(stopped)
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			_, _ = io.WriteString(c, name)
			c.Close()
		}
	}()
	s.t.Cleanup(func() { l.Close(); <-stopped })
}

// What a connection that is not answered comes to.
const (
	refused = "refused"
	silence = "silence"
)

// patience is how long an answer may take that is expected; a silence lasts shorter,
// so that many fit into a test: nothing in a lab takes a tenth of that.
const (
	patience = 10 * time.Second
	silent   = 300 * time.Millisecond
)

// ask connects and returns the answer, refused or silence.
func (s space) ask(address, want string) string {
	limit := patience
	if want == silence {
		limit = silent
	}
	var answer string
	err := s.in(func() error {
		c, err := (&net.Dialer{Timeout: limit}).Dial("tcp", address)
		if err != nil {
			return err
		}
		defer c.Close()
		_ = c.SetDeadline(time.Now().Add(limit))
		var b bytes.Buffer
		_, err = io.Copy(&b, c)
		answer = b.String()
		return err
	})
	var timeout net.Error
	switch {
	case err == nil:
		return answer
	case errors.Is(err, unix.ECONNREFUSED):
		return refused
	case errors.As(err, &timeout) && timeout.Timeout():
		return silence
	default:
		return err.Error()
	}
}

func (s space) expect(what, address, want string) {
	s.t.Helper()
	if got := s.ask(address, want); got != want {
		s.t.Errorf("%s: %s answers %q, want %q", what, address, got, want)
	}
}

// needLab skips where namespaces cannot be made.
func needLab(t *testing.T) {
	t.Helper()
	if os.Getuid() != 0 {
		t.Skip("needs root")
	}
	for _, tool := range []string{"ip", "nft", "iptables", "ip6tables", "iptables-legacy"} {
		if _, err := exec.LookPath(tool); err != nil {
			t.Skip("needs ", tool, ": scripts/deps test")
		}
	}
}

func newLab(t *testing.T) *lab {
	needLab(t)
	l := &lab{t, newSpace(t), newSpace(t), newSpace(t)}
	l.host.ip("link add docker0 type bridge", "link set docker0 up",
		"link add veth0 type veth peer name eth0 netns "+l.container.name, "link set veth0 up", "link set veth0 master docker0",
		"link add ens5 type veth peer name eth0 netns "+l.world.name, "link set ens5 up",
		"addr add 172.31.7.1/24 dev docker0", "addr add fd07::1/64 dev docker0 nodad",
		"addr add 192.0.2.2/24 dev ens5", "addr add fd02::2/64 dev ens5 nodad",
		"route add default via 192.0.2.1", "route add default via fd02::1")
	l.container.ip("link set eth0 up", "addr add 172.31.7.2/24 dev eth0", "addr add fd07::2/64 dev eth0 nodad",
		"route add default via 172.31.7.1", "route add default via fd07::1")
	l.world.ip("link set eth0 up", "addr add 192.0.2.1/24 dev eth0", "addr add fd02::1/64 dev eth0 nodad",
		"addr add 169.254.169.254/32 dev lo", "addr add fd00:ec2::254/128 dev lo",
		"route add default via 192.0.2.2", "route add default via fd02::2")
	l.host.run("sysctl", "-qw", "net.ipv4.ip_forward=1", "net.ipv6.conf.all.forwarding=1")
	l.host.listen("127.0.0.1:51679", "tasks")
	l.host.listen("[::]:51678", "introspection")
	l.host.listen("127.0.0.1:6379", "database")
	l.world.listen("169.254.169.254:80", "imds")
	l.world.listen("[fd00:ec2::254]:80", "imds6")
	return l
}

// ip runs commands of ip in the namespace.
func (s space) ip(lines ...string) {
	s.t.Helper()
	cmd := exec.Command("ip", "-n", s.name, "-batch", "-")
	cmd.Stdin = strings.NewReader(strings.Join(lines, "\n") + "\n")
	if out, err := cmd.CombinedOutput(); err != nil {
		s.t.Fatalf("ip -n %s: %v\n%s", s.name, err, out)
	}
}

// spoof makes a namespace send loopback's addresses through a gateway.
func (s space) spoof(via, source string) {
	s.t.Helper()
	s.run("sysctl", "-qw", "net.ipv4.conf.all.route_localnet=1")
	s.ip("route del local 127.0.0.0/8 table local", "route del local 127.0.0.1 table local",
		"route add 127.0.0.0/8 via "+via+" src "+source)
}

// options are those of an agent on the lab's host.
func (l *lab) options() rules.Options {
	root := hostRoot{l.host}
	h := rules.Look(root)
	return rules.Options{Bridge: "docker0", Uplinks: h.Uplinks, IPv6: h.IPv6, LoopbackRoute: !h.DefaultRoute, BlockMetadata: true}
}
