package linux

import (
	"context"
	"errors"
	"io/fs"
	"os/exec"
	"runtime"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/google/go-cmp/cmp"

	"ecsagent/agent/platform"
)

const (
	routeHead = "Iface\tDestination\tGateway\tFlags\tRefCnt\tUse\tMetric\tMask\tMTU\tWindow\tIRTT\n"
	gateway4  = "eth0\t00000000\t0100000A\t0003\t0\t0\t100\t00000000\t0\t0\t0\n"
	direct4   = "ppp0\t00000000\t00000000\t0001\t0\t0\t0\t00000000\t0\t0\t0\n"
	subnet4   = "eth0\t0000000A\t00000000\t0001\t0\t0\t100\t00FFFFFF\t0\t0\t0\n"
	half4     = "tun0\t00000000\t0100000A\t0003\t0\t0\t0\t00000080\t0\t0\t0\n"
	down4     = "eth0\t00000000\t0100000A\t0002\t0\t0\t100\t00000000\t0\t0\t0\n"
	reject4   = "*\t00000000\t00000000\t0201\t0\t0\t100\t00000000\t0\t0\t0\n"

	zero6     = "00000000000000000000000000000000"
	gateway6  = zero6 + " 00 " + zero6 + " 00 fe80000000000000000000fffe000001 00000064 00000001 00000000 00000003     eth0\n"
	catchAll6 = zero6 + " 00 " + zero6 + " 00 " + zero6 + " ffffffff 00000001 00000000 00200200       lo\n"
	link6     = "fe800000000000000000000000000000 40 " + zero6 + " 00 " + zero6 + " 00000100 00000001 00000000 00000001     eth0\n"
)

func TestDefaultRoutes(t *testing.T) {
	for name, tt := range map[string]struct {
		data string
		want bool
	}{
		"none": {routeHead + subnet4, false}, "gateway": {routeHead + subnet4 + gateway4, true}, "no gateway": {routeHead + direct4, true},
		"half the world": {routeHead + half4, false}, "down": {routeHead + down4, false}, "reject": {routeHead + reject4, false},
		"empty": {"", false}, "cut off": {"eth0\t00000000\t0100000A", false}, "junk": {"a b c d e f g h i j k\n", false},
	} {
		if got := hasDefaultRoute4([]byte(tt.data)); got != tt.want {
			t.Errorf("IPv4 %s: %v", name, got)
		}
	}
	for name, tt := range map[string]struct {
		data string
		want bool
	}{
		"only the kernel's own": {link6 + catchAll6, false}, "gateway": {link6 + gateway6 + catchAll6, true}, "empty": {"", false},
		"reject": {strings.Replace(catchAll6, "lo", "eth0", 1), false}, "cut off": {gateway6[:60], false},
	} {
		if got := hasDefaultRoute6([]byte(tt.data)); got != tt.want {
			t.Errorf("IPv6 %s: %v", name, got)
		}
	}
}

func TestParseMemInfo(t *testing.T) {
	for data, want := range map[string]int64{
		"MemTotal:       16108544 kB\nMemFree: 1 kB\n": 15731, "MemFree: 1 kB\nMemTotal: 2047 kB": 1,
		"": -1, "MemTotal: x kB": -1, "MemTotal: 5 MB": -1, "MemTotal:": -1, "MemTotal: -5 kB": -1,
	} {
		got, err := parseMemInfo([]byte(data))
		if err != nil {
			got = -1
		}
		if got != want {
			t.Errorf("%q: %d, %v; want %d", data, got, err, want)
		}
	}
}

func TestParseOSRelease(t *testing.T) {
	for data, want := range map[string]platform.OSRelease{
		"NAME=x\nID=\"amzn\"\nVERSION_ID=\"2023\"\nPRETTY_NAME=\"Amazon Linux 2023\"\n": {ID: "amzn", VersionID: "2023", PrettyName: "Amazon Linux 2023"},
		"# ID=no\nID=debian\nVERSION_ID='12'":                                           {ID: "debian", VersionID: "12"},
		`PRETTY_NAME="a \"b\" \\ \$c \d"`:                                               {PrettyName: `a "b" \ $c \d`},
		"ID=\"":                                                                         {ID: `"`},
		"":                                                                              {},
	} {
		if got := parseOSRelease([]byte(data)); got != want {
			t.Errorf("%q: %+v, want %+v", data, got, want)
		}
	}
}

func FuzzParsers(f *testing.F) {
	f.Add([]byte(routeHead + gateway4))
	f.Add([]byte(link6 + gateway6))
	f.Add([]byte("MemTotal: 1 kB"))
	f.Add([]byte("ID=\"a\\\"b\"\nPRETTY_NAME='"))
	f.Add([]byte("flags\t: fpu avx"))
	f.Fuzz(func(t *testing.T, data []byte) {
		if mib, err := parseMemInfo(data); err == nil && mib < 0 {
			t.Errorf("memory of %d MiB", mib)
		}
		parseOSRelease(data)
		parseCPUFlags(strings.NewReader(string(data)))
		hasDefaultRoute4(data)
		hasDefaultRoute6(data)
	})
}

func file(text string) *fstest.MapFile { return &fstest.MapFile{Data: []byte(text)} }

func TestGather(t *testing.T) {
	socket := &fstest.MapFile{Mode: fs.ModeSocket}
	root := fstest.MapFS{
		"proc/meminfo":                              file("MemTotal: 16108544 kB\n"),
		"proc/sys/kernel/osrelease":                 file("6.1.0\n"),
		"proc/net/route":                            file(routeHead + gateway4),
		"proc/net/ipv6_route":                       file(gateway6),
		"proc/cpuinfo":                              file("processor\t: 0\nflags\t\t: fpu avx\n\nprocessor\t: 1\nflags : other\n"),
		"usr/lib/os-release":                        file("ID=amzn\nVERSION_ID=2023\n"),
		"sys/fs/cgroup/cgroup.controllers":          file("cpu memory"),
		"sys/fs/selinux/enforce":                    file("0"),
		"sys/module/apparmor/parameters/enabled":    file("Y\n"),
		"run/docker/plugins/ebs.sock":               socket,
		"run/docker/plugins/nfs/nfs.sock":           socket,
		"run/docker/plugins/plain.sock":             file(""),
		"run/docker/plugins/empty/other.sock":       socket,
		"etc/docker/plugins/convoy.spec":            file("unix:///x"),
		"etc/docker/plugins/readme.txt":             file(""),
		"usr/lib/docker/plugins/ebs.json":           file("{}"),
		"usr/lib/docker/plugins/local-persist.json": file("{}"),
	}
	look := func(name string) (string, error) {
		if name == "tc" {
			return "/sbin/tc", nil
		}
		return "", exec.ErrNotFound
	}
	got, err := gather(t.Context(), root, look)
	if err != nil {
		t.Fatal(err)
	}
	want := platform.Host{
		OSType: "linux", OSFamily: "LINUX", Arch: runtime.GOARCH, CPUs: runtime.NumCPU(), MemoryMiB: 15731, Kernel: "6.1.0",
		OSRelease: platform.OSRelease{ID: "amzn", VersionID: "2023"}, CgroupVersion: 2, SELinux: true, AppArmor: true,
		IP: platform.IPFamilies{IPv4: true, IPv6: true}, CPUFlags: []string{"fpu", "avx"}, Tools: map[string]string{"tc": "/sbin/tc"},
		VolumePlugins: []string{"ebs", "nfs", "convoy", "local-persist"},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("host (-want +got)\n%s", diff)
	}
}

func TestGatherWithNothingToRead(t *testing.T) {
	got, err := gather(t.Context(), fstest.MapFS{}, func(string) (string, error) { return "", exec.ErrNotFound })
	if err == nil || !strings.Contains(err.Error(), "memory") || !strings.Contains(err.Error(), "routes") {
		t.Errorf("error %v, want one about memory and routes", err)
	}
	if got.OSFamily != "LINUX" || got.CPUs == 0 || got.IP.IPv6Only("") || got.CgroupVersion != 0 {
		t.Errorf("host %+v", got)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := gather(ctx, fstest.MapFS{}, exec.LookPath); !errors.Is(err, context.Canceled) {
		t.Errorf("error %v", err)
	}
}

func TestGatherHere(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("needs Linux")
	}
	h, err := Gather(t.Context())
	if err != nil || h.MemoryMiB <= 0 || h.Kernel == "" || h.CgroupVersion == 0 {
		t.Errorf("%+v, %v", h, err)
	}
}
