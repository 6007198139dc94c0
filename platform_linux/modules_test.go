package linux

import (
	"strings"
	"testing"
	"testing/fstest"
)

func TestVLANs(t *testing.T) {
	file := func(text string) *fstest.MapFile { return &fstest.MapFile{Data: []byte(text)} }
	const modules = "lib/modules/6.1.0-aws/"
	release := file("6.1.0-aws\n")
	for name, c := range map[string]struct {
		root fstest.MapFS
		want string
	}{
		"loaded":       {fstest.MapFS{"sys/module/8021q/refcnt": file("0")}, ""},
		"built in":     {fstest.MapFS{"proc/sys/kernel/osrelease": release, modules + "modules.builtin": file("kernel/net/802/mrp.ko\nkernel/net/8021q/8021q.ko\n")}, ""},
		"to be loaded": {fstest.MapFS{"proc/sys/kernel/osrelease": release, modules + "modules.builtin": file(""), modules + "modules.dep": file("kernel/net/8021q/8021q.ko.xz: kernel/net/802/mrp.ko.xz\n")}, ""},
		"needed only":  {fstest.MapFS{"proc/sys/kernel/osrelease": release, modules + "modules.dep": file("kernel/x/y.ko: kernel/net/8021q/8021q.ko\n")}, "the kernel has no module 8021q"},
		"other kernel": {fstest.MapFS{"proc/sys/kernel/osrelease": file("6.2.0\n"), modules + "modules.builtin": file("kernel/net/8021q/8021q.ko\n")}, "the kernel has no module 8021q"},
		"nothing":      {fstest.MapFS{}, "find the kernel's modules"},
	} {
		err := VLANs(c.root)
		if c.want == "" && err != nil || c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)) {
			t.Errorf("%s: %v; want %q", name, err, c.want)
		}
	}
}
