package plugin

import (
	"bytes"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/containernetworking/cni/pkg/skel"
	"github.com/containernetworking/cni/pkg/types"
)

// environment is a call of a CNI runtime.
func environment(t *testing.T, command, conf string) {
	t.Helper()
	for k, v := range map[string]string{"CNI_COMMAND": command, "CNI_CONTAINERID": "", "CNI_NETNS": "/proc/1/ns/net", "CNI_IFNAME": "eth0",
		"CNI_PATH": "/nowhere", "CNI_ARGS": "", "CNI_NETNS_OVERRIDE": "", "ECS_CNI_LOG_FILE": filepath.Join(t.TempDir(), "log")} {
		t.Setenv(k, v)
	}
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.WriteString(conf); err != nil {
		t.Fatal(err)
	}
	w.Close()
	stdin := os.Stdin
	os.Stdin = r
	t.Cleanup(func() { os.Stdin = stdin; r.Close() })
}

const conf = `{"cniVersion":"0.3.0","name":"network-name","type":"test"}`

func TestErrorsAreObjects(t *testing.T) {
	for name, c := range map[string]struct {
		add  func(*skel.CmdArgs) error
		conf string
		code uint
		msg  string
	}{
		"plain":     {func(*skel.CmdArgs) error { return errors.New("no luck") }, conf, types.ErrInternal, "test: no luck"},
		"panic":     {func(*skel.CmdArgs) error { panic("oh") }, conf, types.ErrInternal, "test: panic: oh"},
		"again":     {func(*skel.CmdArgs) error { return TryAgain("wait for %s", "it") }, conf, types.ErrTryAgainLater, "test: wait for it"},
		"invalid":   {func(*skel.CmdArgs) error { return Invalid("mtu", -1, "more") }, conf, types.ErrInvalidNetworkConfig, "mtu: -1; want more"},
		"no object": {nil, `[`, types.ErrDecodingFailure, "error unmarshall network config: unexpected end of JSON input"},
		"version":   {nil, `{"cniVersion":"9.0.0","name":"n"}`, types.ErrIncompatibleCNIVersion, "incompatible CNI versions"},
	} {
		t.Run(name, func(t *testing.T) {
			environment(t, "ADD", c.conf)
			var out bytes.Buffer
			if status := Main(Plugin{Name: "test", Funcs: skel.CNIFuncs{Add: c.add}}, nil, &out); status != 1 {
				t.Errorf("status %d", status)
			}
			var e types.Error
			if err := json.Unmarshal(out.Bytes(), &e); err != nil || e.Code != c.code || e.Msg != c.msg {
				t.Errorf("%s: %v", out.Bytes(), err)
			}
			if log, err := os.ReadFile(os.Getenv("ECS_CNI_LOG_FILE")); err != nil || !strings.Contains(string(log), "[ERROR]") {
				t.Errorf("log %q %v", log, err)
			}
		})
	}
}

// TestNoContainerID: a release without a container id is accepted.
func TestNoContainerID(t *testing.T) {
	environment(t, "DEL", conf)
	var got *skel.CmdArgs
	p := Plugin{Name: "test", Funcs: skel.CNIFuncs{Del: func(args *skel.CmdArgs) error { got = args; return nil }}}
	var out bytes.Buffer
	if status := Main(p, nil, &out); status != 0 || got == nil || got.ContainerID != NoContainer {
		t.Errorf("%d %s %+v", status, out.Bytes(), got)
	}
}

func TestAbout(t *testing.T) {
	for _, c := range []struct {
		p         Plugin
		arg, want string
	}{
		{Plugin{Capabilities: []string{AWSVPC}}, "--capabilities", `{"capabilities":["awsvpc-network-mode"]}`},
		{Plugin{}, "--capabilities", `{}`},
		{Plugin{}, "--version", `{"version":"0.0.0","dirty":false,"gitShortHash":"unknown"}`},
	} {
		var out bytes.Buffer
		if status := Main(c.p, []string{c.arg}, &out); status != 0 || strings.TrimSpace(out.String()) != c.want {
			t.Errorf("%s: %d %s", c.arg, status, out.Bytes())
		}
	}
	var out bytes.Buffer
	if status := Main(Plugin{Family: VPC}, []string{"--version"}, &out); status != 0 || !strings.Contains(out.String(), `"built":`) {
		t.Errorf("%d %s", status, out.Bytes())
	}
	out.Reset()
	if status := Main(Plugin{Name: "x"}, []string{"--nonsense"}, &out); status == 0 || !strings.Contains(out.String(), "--nonsense") {
		t.Errorf("%d %s", status, out.Bytes())
	}
}

func TestDefaultLogs(t *testing.T) {
	data := func(string) string { return `D:\Data` }
	for _, c := range []struct{ os, plugin, want string }{
		{"linux", "ecs-ipam", "/var/log/ecs/ecs-cni-ipam-plugin.log"},
		{"windows", "vpc-eni", `D:\Data\Amazon\ECS\log\cni\vpc-eni.log`},
		{"darwin", "vpc-eni", ""},
	} {
		if got := defaultLog(c.os, c.plugin, data); got != c.want {
			t.Errorf("%s on %s logs to %q, want %q", c.plugin, c.os, got, c.want)
		}
	}
	// Its folder is made.
	path := filepath.Join(t.TempDir(), "cni", "p.log")
	(&Logger{path: path, level: info, now: time.Now}).Infof("x")
	if text, err := os.ReadFile(path); err != nil || !strings.HasSuffix(string(text), "[INFO] x\n") {
		t.Errorf("%q %v", text, err)
	}
}

func TestLogRolls(t *testing.T) {
	path := filepath.Join(t.TempDir(), "p.log")
	now := time.Date(2026, 1, 2, 3, 30, 0, 0, time.UTC)
	l := &Logger{path: path, level: info, now: func() time.Time { return now }}
	for hour := range keptLogs + 5 {
		now = time.Date(2026, 1, 2, 3+hour, 30, 0, 0, time.UTC)
		l.Infof("hour %d\nsecond line", hour)
		if err := os.Chtimes(path, now, now); err != nil {
			t.Fatal(err)
		}
	}
	all, err := filepath.Glob(path + "*")
	if err != nil || len(all) != keptLogs+1 {
		t.Errorf("%d files: %v", len(all), all)
	}
	text, err := os.ReadFile(path)
	if want := "2026-01-03T07:30:00Z [INFO] hour 28\n\tsecond line\n"; err != nil || string(text) != want {
		t.Errorf("%q %v", text, err)
	}
	l.level = off
	l.Errorf("not written")
	if again, _ := os.ReadFile(path); string(again) != string(text) {
		t.Error("written though off")
	}
}

func FuzzParsers(f *testing.F) {
	f.Add("06:1f:2e:3d:4c:5b", "10.20.1.37/24", "fe80::1")
	f.Fuzz(func(t *testing.T, mac, prefix, address string) {
		if m, err := ParseMAC("f", mac); err == nil && len(m) != 6 {
			t.Fatal(mac)
		}
		if p, err := ParsePrefixes("f", []string{prefix}); err == nil {
			if n := IPNet(p[0]); n.IP == nil || n.Mask == nil {
				t.Fatal(prefix)
			}
		}
		if a, err := ParseAddresses("f", []string{address}); err == nil && !a[0].IsValid() {
			t.Fatal(address)
		}
	})
}
