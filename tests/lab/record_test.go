package lab

import (
	"encoding/json"
	"slices"
	"testing"
	"time"
)

// TestViolations: what went back is found, and a report that is repeated is none.
func TestViolations(t *testing.T) {
	const stopped = `{"task":"t","status":"STOPPED","containers":[{"containerName":"app","status":"RUNNING"},{"containerName":"app","status":"STOPPED","exitCode":5}]}`
	for name, c := range map[string]struct {
		reports []string
		want    []string
	}{
		"repeated":          {reports: []string{stopped, stopped}},
		"confirmed between": {reports: []string{`{"task":"t"}`, stopped}},
		"container": {[]string{stopped, `{"task":"t","status":"STOPPED","containers":[{"containerName":"app","status":"RUNNING"}]}`},
			[]string{"t app: RUNNING was reported after STOPPED"}},
		"other exit code": {[]string{stopped, `{"task":"t","status":"STOPPED","containers":[{"containerName":"app","status":"RUNNING"},{"containerName":"app","status":"STOPPED","exitCode":6}]}`},
			[]string{"t app: RUNNING was reported after STOPPED"}},
		"task": {[]string{stopped, `{"task":"t","status":"RUNNING"}`}, []string{"t: RUNNING was reported after STOPPED"}},
	} {
		t.Run(name, func(t *testing.T) {
			var reports []Report
			for i, text := range c.reports {
				r := Report{At: time.Unix(int64(i), 0)}
				if err := json.Unmarshal([]byte(text), &r); err != nil {
					t.Fatal(err)
				}
				reports = append(reports, r)
			}
			if got := Violations(nil, reports); !slices.Equal(got, c.want) {
				t.Errorf("%q, want %q", got, c.want)
			}
		})
	}
}

// TestWrongExits: a code that is missing or another one is found, unless the right one came
// before the missing one.
func TestWrongExits(t *testing.T) {
	died := []Event{{Action: "die", Task: "t", Container: "app", Exit: "7"}}
	five, seven := 5, 7
	for name, c := range map[string]struct {
		codes []*int
		want  []string
	}{
		"right":            {[]*int{&seven}, nil},
		"answered again":   {[]*int{&seven, nil}, nil},
		"missing":          {[]*int{nil}, []string{"t app: reported without an exit code, Docker told 7"}},
		"missing at first": {[]*int{nil, &seven}, []string{"t app: reported without an exit code, Docker told 7"}},
		"another":          {[]*int{&seven, &five}, []string{"t app: exit code 5 was reported, Docker told 7"}},
	} {
		t.Run(name, func(t *testing.T) {
			var reports []Report
			for _, code := range c.codes {
				r := Report{Task: "t", Status: "STOPPED"}
				r.Containers = append(r.Containers, struct {
					Name     string `json:"containerName"`
					Status   string `json:"status"`
					ExitCode *int   `json:"exitCode"`
				}{"app", "STOPPED", code})
				reports = append(reports, r)
			}
			if got := WrongExits(died, reports); !slices.Equal(got, c.want) {
				t.Errorf("%q, want %q", got, c.want)
			}
		})
	}
}
