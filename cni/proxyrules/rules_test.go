package proxyrules

import (
	"net/netip"
	"testing"
)

func example() Set {
	uid := uint32(1337)
	return Set{Name: "ecs_test", Chains: []Chain{
		{Name: "MY_EGRESS", Table: NAT, Rules: []Rule{
			{UID: &uid, Verdict: Verdict{Return: true}},
			{TCP: true, Ports: []uint16{22}, Verdict: Verdict{Return: true}},
			{TCP: true, Ports: []uint16{1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17}, Verdict: Verdict{Return: true}},
			{TCP: true, To: netip.MustParsePrefix("192.0.2.0/24"), Verdict: Verdict{Return: true}},
			{TCP: true, Verdict: Verdict{Redirect: 15001}},
		}},
		{Name: Output, Table: NAT, Rules: []Rule{{TCP: true, TargetNotLocal: true, Verdict: Verdict{Jump: "MY_EGRESS"}}}},
		{Name: "DIVERT", Table: Mangle, Rules: []Rule{{Verdict: Verdict{Mark: 1}}, {Verdict: Verdict{Accept: true}}}},
		{Name: Prerouting, Table: Mangle, Rules: []Rule{
			{TCP: true, OwnSocket: true, Verdict: Verdict{Jump: "DIVERT"}},
			{TCP: true, To: netip.MustParsePrefix("127.255.0.0/16"), Verdict: Verdict{TProxy: 40002, Mark: 1}},
		}},
	}}
}

const installed = `*mangle
:DIVERT - [0:0]
-A DIVERT -j MARK --set-xmark 0x1/0xffffffff
-A DIVERT -j ACCEPT
-A PREROUTING -p tcp -m socket -j DIVERT
-A PREROUTING -d 127.255.0.0/16 -p tcp -j TPROXY --on-port 40002 --on-ip 0.0.0.0 --tproxy-mark 0x1/0x1
COMMIT
*nat
:MY_EGRESS - [0:0]
-A MY_EGRESS -m owner --uid-owner 1337 -j RETURN
-A MY_EGRESS -p tcp -m tcp --dport 22 -j RETURN
-A MY_EGRESS -p tcp -m multiport --dports 1,2,3,4,5,6,7,8,9,10,11,12,13,14,15 -j RETURN
-A MY_EGRESS -p tcp -m multiport --dports 16,17 -j RETURN
-A MY_EGRESS -d 192.0.2.0/24 -p tcp -j RETURN
-A MY_EGRESS -p tcp -j REDIRECT --to-ports 15001
-A OUTPUT -p tcp -m addrtype ! --dst-type LOCAL -j MY_EGRESS
COMMIT
`

func TestRestore(t *testing.T) {
	s := example()
	if got := s.restore("", true); got != installed {
		t.Errorf("install:\n%s", got)
	}
	if got := s.restore("", false); got != "" {
		t.Errorf("remove nothing:\n%s", got)
	}
	if got := s.missing(installed); got != "" {
		t.Errorf("missing %q", got)
	}
	if got := s.missing(""); got != "-A DIVERT -j MARK --set-xmark 0x1/0xffffffff" {
		t.Errorf("missing %q", got)
	}
	// What somebody else has in the built-in chains stays; a jump to our chain of any
	// form goes.
	const others = `# Generated
*nat
:OUTPUT ACCEPT [3:180]
:MY_EGRESS - [0:0]
-A OUTPUT -d 127.0.0.11/32 -j DOCKER_OUTPUT
-A OUTPUT -p tcp -j MY_EGRESS
-A MY_EGRESS -p tcp -j REDIRECT --to-ports 1
COMMIT
`
	want := `*nat
:MY_EGRESS - [0:0]
-D OUTPUT -p tcp -j MY_EGRESS
-X MY_EGRESS
COMMIT
`
	if got := s.restore(others, false); got != want {
		t.Errorf("remove:\n%s", got)
	}
}
