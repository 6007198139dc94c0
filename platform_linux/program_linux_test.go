package linux

import (
	"os"
	"strconv"
	"strings"
	"testing"
)

// mapped is how much of files this process has mapped, in KiB.
func mapped(t *testing.T) int {
	t.Helper()
	status, err := os.ReadFile("/proc/self/status")
	if err != nil {
		t.Fatal(err)
	}
	_, rest, ok := strings.Cut(string(status), "RssFile:")
	if !ok {
		t.Skip("this kernel does not tell")
	}
	kib, err := strconv.Atoi(strings.Fields(rest)[0])
	if err != nil {
		t.Fatal(err)
	}
	return kib
}

func TestReleaseProgram(t *testing.T) {
	text, err := os.ReadFile("/proc/self/exe") // whatever: the process goes on afterwards
	if err != nil || len(text) == 0 {
		t.Fatal(err)
	}
	before := mapped(t)
	if err := ReleaseProgram(); err != nil {
		t.Fatal(err)
	}
	if after := mapped(t); after >= before {
		t.Errorf("%d KiB of files are mapped, before %d", after, before)
	}
}

func TestProgramPages(t *testing.T) {
	const clean, changed = "Rss:  8 kB\nAnonymous:             0 kB\nVmFlags: rd ex\n", "Rss:  8 kB\nAnonymous:             4 kB\n"
	for text, want := range map[string]bool{
		"00400000-00f6e000 r-xp 00000000 fe:00 4711   /usr/libexec/amazon-ecs-agent\n" + clean:           true,
		"00f6e000-01b00000 r--p 00b6e000 fe:00 4711   /usr/libexec/amazon-ecs-agent (deleted)\n" + clean: true,
		"00f6e000-01b00000 r--p 00b6e000 fe:00 4711   /usr/libexec/amazon-ecs-agent\n" + changed:         false,
		"00f6e000-01b00000 r--p 00b6e000 fe:00 4711   /usr/libexec/amazon-ecs-agent\nRss: 8 kB\n":        false,
		"01b00000-01b90000 rw-p 01700000 fe:00 4711   /usr/libexec/amazon-ecs-agent\n" + clean:           false,
		"00400000-00f6e000 r-xp 00000000 fe:00 471    /usr/libexec/another\n" + clean:                    false,
		"c000000000-c000400000 rw-p 00000000 00:00 0\n" + clean:                                          false,
		"00f6e000-00400000 r-xp 00000000 fe:00 4711   /x\n" + clean:                                      false,
		"x-y r-xp 00000000 fe:00 4711   /x\n" + clean:                                                    false,
		"": false,
	} {
		if got := programPages(text, 4711); (len(got) == 1) != want {
			t.Errorf("%q: %v", text, got)
		}
	}
}
