package version

import "testing"

func TestTexts(t *testing.T) {
	saved := []string{number, commit, dirty}
	defer func() { number, commit, dirty = saved[0], saved[1], saved[2] }()
	number, commit, dirty = "1.2.3", "0123456789ab", ""
	if got := Line(); got != "Amazon ECS Agent - v1.2.3 (01234567)" {
		t.Error(got)
	}
	dirty = "true"
	if got := Line(); got != "Amazon ECS Agent - v1.2.3 (*01234567)" {
		t.Error(got)
	}
	if got := Block(); got != "Amazon ECS Agent:\n\tVersion: 1.2.3\n\tCommit: 01234567\n\tDirty: true\n" {
		t.Errorf("%q", got)
	}
}
