package vpc

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/google/uuid"
	"go.uber.org/goleak"

	"ecsagent/cni/nettest"
	"ecsagent/controlplane/wire"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const (
	first  = "06:ec:0a:14:01:04"
	second = "06:ec:0a:14:01:05"
)

func TestVPC(t *testing.T) {
	host := nettest.New(t)
	o := Options{
		Name: "ecs-test-" + uuid.NewString()[:8], Host: host.Path(), Subnet: netip.MustParsePrefix(DefaultSubnet),
		Metadata: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { _, _ = io.WriteString(w, r.URL.Path) }),
	}
	open := func() *VPC {
		t.Helper()
		v, err := Open(t.Context(), o)
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
	v := open()
	for _, mac := range []string{first, second, first} {
		if err := v.Attach(wire.NetworkInterface{MAC: mac}); err != nil {
			t.Fatal(err)
		}
	}
	if got := host.Names(); !slices.Equal(got, []string{"ecsx0a140104", "ecsx0a140105"}) {
		t.Fatalf("interfaces of the host: %v", got)
	}
	l := host.Link("ecsx0a140104")
	if l.Attrs().HardwareAddr.String() != first || l.Attrs().MTU != mtu || l.Type() != "veth" {
		t.Errorf("interface %+v", l.Attrs())
	}
	// As a task would have it.
	host.Assign("ecsx0a140104", "10.20.1.4/24")
	host.Serve("10.20.1.4:80")
	if err := v.router.Do(func() error {
		c, err := net.Dial("tcp", "10.20.1.4:80")
		if err == nil {
			err = c.Close()
		}
		return err
	}); err != nil {
		t.Errorf("from the subnet to the interface: %v", err)
	}
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true, DialContext: func(ctx context.Context, network, address string) (c net.Conn, err error) {
		err = v.router.Do(func() error {
			c, err = new(net.Dialer).DialContext(ctx, network, address)
			return err
		})
		return c, err
	}}}
	var page []byte
	reply, err := client.Get("http://" + metadata + "/latest/x")
	if err == nil {
		page, err = io.ReadAll(reply.Body)
		reply.Body.Close()
	}
	if err != nil || string(page) != "/latest/x" {
		t.Errorf("metadata in the subnet: %q %v", page, err)
	}

	// It stays for interfaces, and the next process has it.
	if err := v.Close(); err != nil {
		t.Fatal(err)
	}
	v = open()
	if err := v.Keep([]string{second}); err != nil {
		t.Fatal(err)
	}
	if got := host.Names(); !slices.Equal(got, []string{"ecsx0a140105"}) {
		t.Errorf("kept %v", got)
	}
	for range 2 {
		if err := v.Detach(second); err != nil {
			t.Error(err)
		}
	}
	if err := v.Attach(wire.NetworkInterface{MAC: "x"}); err == nil {
		t.Error("a MAC address that is none was taken")
	}
	if err := v.Close(); err != nil {
		t.Error(err)
	}
	if got := host.Names(); len(got) != 0 {
		t.Errorf("the host still has %v", got)
	}
	if _, err := os.Stat(filepath.Join(spaces, o.Name)); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("namespace after the end: %v", err)
	}

	// What a deleted namespace left behind does not matter.
	if err := os.WriteFile(filepath.Join(spaces, o.Name), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := open().Close(); err != nil {
		t.Error(err)
	}
}
