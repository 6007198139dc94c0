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
	for line, want := range map[string]bool{
		"00400000-00f6e000 r-xp 00000000 fe:00 4711   /usr/libexec/amazon-ecs-agent":           true,
		"00f6e000-01b00000 r--p 00b6e000 fe:00 4711   /usr/libexec/amazon-ecs-agent (deleted)": true,
		"01b00000-01b90000 rw-p 01700000 fe:00 4711   /usr/libexec/amazon-ecs-agent":           false,
		"00400000-00f6e000 r-xp 00000000 fe:00 471    /usr/libexec/another":                    false,
		"c000000000-c000400000 rw-p 00000000 00:00 0":                                          false,
		"00f6e000-00400000 r-xp 00000000 fe:00 4711   /x":                                      false,
		"x-y r-xp 00000000 fe:00 4711   /x":                                                    false,
		"":                                                                                     false,
	} {
		if _, _, ok := programPages(line, 4711); ok != want {
			t.Errorf("%q: %v", line, ok)
		}
	}
}
