package fault

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"
)

// Command is a program to run in a network namespace.
type Command struct {
	Namespace string // path; empty: the host's own
	Args      []string
	Stdin     string
}

// Runner runs commands. Exit is the exit status of a command that ran; err is for one
// that did not run or was cut off.
type Runner interface {
	Run(ctx context.Context, c Command) (output []byte, exit int, err error)
}

// Place is where a fault takes effect (docs/spec/04 section 5.5).
type Place struct {
	Namespace string // path; empty: the host's own
	// Identity is what the path links to: it may lead elsewhere once the task has ended.
	Identity string   `json:",omitempty"`
	Devices  []string // interfaces that latency and loss apply to
	IPv6Only bool
}

// gone reports whether the namespace is not there any more, and what was in it with it.
func (p *Place) gone() bool {
	if p.Namespace == "" {
		return false
	}
	now, err := os.Readlink(p.Namespace)
	return errors.Is(err, fs.ErrNotExist) || err == nil && p.Identity != "" && now != p.Identity
}

// key names the place: host tasks share one.
func (p *Place) key() string {
	if p.Namespace == "" {
		return "host"
	}
	return p.Namespace
}

// effects makes faults and takes them away. It decides what to run and no more.
type effects struct {
	run  Runner
	warn func(string, error)
}

// do runs a command that has to succeed.
func (e *effects) do(ctx context.Context, p *Place, stdin string, args ...string) ([]byte, error) {
	out, exit, err := e.run.Run(ctx, Command{Namespace: p.Namespace, Args: args, Stdin: stdin})
	if err == nil && exit != 0 {
		err = fmt.Errorf("%s: exit status %d: %.300s", strings.Join(args, " "), exit, out)
	}
	return out, err
}

// start makes a fault. What was made halfway is taken away again.
func (e *effects) start(ctx context.Context, p *Place, s *Spec) error {
	if s.Kind == Blackhole {
		return e.startBlackhole(ctx, p, s)
	}
	for i, device := range p.Devices {
		if _, err := e.do(ctx, p, impairScript(device, s), "tc", "-batch", "-"); err != nil {
			for _, made := range p.Devices[:i+1] {
				e.clear(context.WithoutCancel(ctx), p, made)
			}
			return err
		}
	}
	return nil
}

func (e *effects) stop(ctx context.Context, p *Place, s *Spec) error {
	if s.Kind == Blackhole {
		return e.stopBlackhole(ctx, p, s)
	}
	for _, device := range p.Devices {
		kind, ours, err := e.onDevice(ctx, p, device)
		if err != nil {
			return err
		}
		// A root without a fault below it is what a start that was cut off left.
		if kind != s.Kind && (kind != "" || !ours) {
			continue
		}
		if _, err := e.do(ctx, p, "", "tc", "qdisc", "del", "dev", device, "root", "handle", "1:"); err != nil {
			return err
		}
	}
	return nil
}

func (e *effects) clear(ctx context.Context, p *Place, device string) {
	ctx, cancel := context.WithTimeout(ctx, deadline)
	defer cancel()
	if _, _, err := e.run.Run(ctx, Command{Namespace: p.Namespace, Args: []string{"tc", "qdisc", "del", "dev", device, "root", "handle", "1:"}}); err != nil {
		e.warn("fault half made not taken away", err)
	}
}

// running tells which kind of latency or loss runs, or for a blackhole whether it does.
func (e *effects) running(ctx context.Context, p *Place, s *Spec) (Kind, error) {
	if s.Kind == Blackhole {
		tool := "iptables"
		if p.IPv6Only {
			tool = "ip6tables"
		}
		on, err := e.swallows(ctx, p, tool, s)
		if on {
			return Blackhole, err
		}
		return "", err
	}
	for _, device := range p.Devices {
		if kind, _, err := e.onDevice(ctx, p, device); kind != "" || err != nil {
			return kind, err
		}
	}
	return "", nil
}

// The kinds of a packet filter.
var families = []struct {
	tool, restore string
	six           bool
}{{"iptables", "iptables-restore", false}, {"ip6tables", "ip6tables-restore", true}}

func chain(s *Spec) string { return fmt.Sprintf("%s-%s-%d", s.Traffic, s.Protocol, s.Port) }

// lockWait is how long the packet filter's lock is waited for, in seconds.
const lockWait = "5"

func (e *effects) swallows(ctx context.Context, p *Place, tool string, s *Spec) (bool, error) {
	_, exit, err := e.run.Run(ctx, Command{Namespace: p.Namespace, Args: []string{
		tool, "-w", lockWait, "-C", chain(s), "-p", s.Protocol, "--dport", fmt.Sprint(s.Port), "-j", "DROP"}})
	return err == nil && exit == 0, err
}

func (e *effects) startBlackhole(ctx context.Context, p *Place, s *Spec) error {
	for i, f := range families {
		_, err := e.do(ctx, p, blackholeScript(s, f.six), f.restore, "-w", lockWait, "--noflush")
		if err == nil {
			continue
		}
		if f.six && !p.IPv6Only && ctx.Err() == nil {
			e.warn("blackhole not made for IPv6", err)
			continue
		}
		if i > 0 {
			back, cancel := context.WithTimeout(context.WithoutCancel(ctx), deadline)
			defer cancel()
			if _, undo := e.do(back, p, unblackholeScript(s), families[0].restore, "-w", lockWait, "--noflush"); undo != nil {
				e.warn("fault half made not taken away", undo)
			}
		}
		return err
	}
	return nil
}

func (e *effects) stopBlackhole(ctx context.Context, p *Place, s *Spec) error {
	for _, f := range families {
		on, err := e.swallows(ctx, p, f.tool, s)
		if err == nil && on {
			_, err = e.do(ctx, p, unblackholeScript(s), f.restore, "-w", lockWait, "--noflush")
		}
		if err == nil {
			continue
		}
		if f.six && !p.IPv6Only && ctx.Err() == nil {
			e.warn("blackhole not taken away for IPv6", err)
			continue
		}
		return err
	}
	return nil
}

// blackholeScript is one transaction of the packet filter: all of it or nothing.
func blackholeScript(s *Spec, six bool) string {
	var b strings.Builder
	name := chain(s)
	fmt.Fprintf(&b, "*filter\n:%s - [0:0]\n", name)
	side := "-d"
	if s.Traffic == "ingress" {
		side = "-s"
	}
	for _, spared := range append(spare(s), s.Spared...) {
		if p, err := prefix(spared); err == nil && p.Addr().Is6() == six {
			fmt.Fprintf(&b, "-A %s -p %s %s %s --dport %d -j ACCEPT\n", name, s.Protocol, side, spared, s.Port)
		}
	}
	fmt.Fprintf(&b, "-A %s -p %s --dport %d -j DROP\n-I %s -j %s\nCOMMIT\n", name, s.Protocol, s.Port, hook(s), name)
	return b.String()
}

func unblackholeScript(s *Spec) string {
	name := chain(s)
	return fmt.Sprintf("*filter\n-D %s -j %s\n-F %s\n-X %s\nCOMMIT\n", hook(s), name, name, name)
}

func hook(s *Spec) string {
	if s.Traffic == "ingress" {
		return "INPUT"
	}
	return "OUTPUT"
}

// spare lists what a task needs to reach this API: the address of the agent, and on the
// host the port that packets for it are redirected to.
func spare(s *Spec) []string {
	if s.Protocol != "tcp" {
		return nil
	}
	if s.Port == 80 && s.Traffic == "egress" {
		return []string{"169.254.170.2"}
	}
	if s.Port == 51679 {
		return []string{"127.0.0.0/8", "169.254.170.2"}
	}
	return nil
}

// bands is the priority map that sends all packets to the third band.
const bands = "priomap 2 2 2 2 2 2 2 2 2 2 2 2 2 2 2 2"

// impairScript is what makes latency or loss on a device (docs/spec/04 section 5.7):
// packets to the sources are spread by flow over 100 leaves, some of which are impaired.
func impairScript(device string, s *Spec) string {
	var b strings.Builder
	line := func(format string, args ...any) { fmt.Fprintf(&b, format+"\n", args...) }
	line("qdisc add dev %s root handle 1: prio %s", device, bands)
	line("qdisc add dev %s parent 1:1 handle 10: prio bands 10 %s", device, bands)
	for i := range 10 {
		line("qdisc add dev %s parent 10:%x handle %d: prio bands 10 %s", device, i+1, 100+i, bands)
	}
	how := fmt.Sprintf("loss %d%%", s.Percent)
	if s.Kind == Latency {
		how = fmt.Sprintf("delay %dms %dms", s.Delay, s.Jitter)
	}
	for i := range s.Flows {
		line("qdisc add dev %s parent %d:%x handle %d: netem %s", device, 100+i/10, i%10+1, 200+i, how)
	}
	match := func(priority int, list []string, flow string) {
		for _, source := range list {
			keyword := "ip"
			if p, err := prefix(source); err == nil && p.Addr().Is6() {
				keyword = "ip6"
			}
			line("filter add dev %s protocol all parent 1:0 prio %d u32 match %s dst %s flowid %s", device, priority, keyword, source, flow)
		}
	}
	match(1, s.Spared, "1:3")
	match(2, s.Sources, "1:1")
	hash := func(parent, handle int) {
		line("filter add dev %s parent %d: handle %d protocol all prio 2 flow hash keys src,dst,proto,proto-src,proto-dst divisor 10 baseclass %d:1",
			device, parent, handle, parent)
	}
	hash(10, 1)
	for i := range 10 {
		hash(100+i, i+1)
	}
	return b.String()
}

// onDevice tells which kind of fault a device has, and whether what carries one is
// there at all.
func (e *effects) onDevice(ctx context.Context, p *Place, device string) (kind Kind, ours bool, err error) {
	out, err := e.do(ctx, p, "", "tc", "-j", "qdisc", "show", "dev", device)
	if err != nil {
		return "", false, err
	}
	return readQdiscs(out)
}

// readQdiscs reads the listing of a device.
func readQdiscs(listing []byte) (kind Kind, ours bool, err error) {
	var list []struct {
		Kind    string                     `json:"kind"`
		Handle  string                     `json:"handle"`
		Parent  string                     `json:"parent"`
		Options map[string]json.RawMessage `json:"options"`
	}
	if len(strings.TrimSpace(string(listing))) == 0 {
		return "", false, nil
	}
	if err := json.Unmarshal(listing, &list); err != nil {
		return "", false, errors.New("listing of tc not read")
	}
	rooted, second := false, false
	for _, q := range list {
		rooted = rooted || q.Kind == "prio" && q.Handle == "1:"
		second = second || q.Kind == "prio" && q.Handle == "10:" && q.Parent == "1:1"
		if q.Kind != "netem" || q.Parent != "100:1" || len(q.Options) == 0 {
			continue
		}
		kind = Latency
		if _, loss := q.Options["loss-random"]; loss {
			kind = Loss
		}
	}
	return kind, kind != "" || rooted && second, nil
}
