package placement

import (
	"strings"
	"testing"

	"ecsagent/controlplane/api"
)

func subject() *Instance {
	return &Instance{
		ARN: "one", Connected: true, CPU: 1024, Memory: 1024, TCP: map[uint16]bool{22: true}, UDP: map[uint16]bool{},
		Attributes: map[string]string{"ecs.os-type": "linux", "stack": "blue", "size": "10", "flag": ""},
		Fields:     map[string]string{"agentConnected": "true", "runningTasksCount": "3", "agentVersion": "1.105.1"},
		Groups:     map[string]int{"family:web": 1},
	}
}

func TestExpressions(t *testing.T) {
	for text, want := range map[string]bool{
		"attribute:ecs.os-type == linux":                     true,
		"attribute:ecs.os-type==linux":                       true,
		"attribute:ecs.os-type == windows":                   false,
		"attribute:ecs.os-type != windows":                   true,
		"attribute:none == linux":                            false,
		"attribute:none != linux":                            true,
		"attribute:stack equals blue":                        true,
		"attribute:stack not_equals blue":                    false,
		"attribute:stack exists":                             true,
		"attribute:flag exists":                              true,
		"attribute:none exists":                              false,
		"attribute:none !exists":                             true,
		"attribute:none not_exists":                          true,
		"attribute:stack in [red, blue]":                     true,
		"attribute:stack in [red,green]":                     false,
		"attribute:stack not_in [red]":                       true,
		"attribute:none in [red]":                            false,
		"attribute:stack =~ bl.*":                            true,
		"attribute:stack =~ b":                               false,
		"attribute:stack !~ b":                               true,
		`attribute:stack =~ "b[a-z]+"`:                       true,
		`attribute:stack matches "(red|blue)"`:               true,
		"attribute:size > 9":                                 true,
		"attribute:size >= 10":                               true,
		"attribute:size < 9":                                 false,
		"attribute:size <= 9.5":                              false,
		"agentVersion > 1.105.0":                             true,
		"runningTasksCount == 3":                             true,
		"runningTasksCount greater_than 3":                   false,
		"agentConnected == true and attribute:stack == blue": true,
		"agentConnected == true && attribute:stack == red":   false,
		"attribute:stack == red or attribute:stack == blue":  true,
		"attribute:stack == red || attribute:size == 1":      false,
		"not attribute:stack == red":                         true,
		"not(attribute:stack == blue)":                       false,
		"!(attribute:stack == blue)":                         false,
		"(attribute:stack == red or attribute:size == 10) and agentConnected == true": true,
		"attribute:stack == red and attribute:size == 1 or attribute:size == 10":      true,
		"task:group == family:web":  true,
		"task:group == service:web": false,
		"task:group exists":         true,
	} {
		e, err := Parse(text)
		if err != nil {
			t.Errorf("%s: %v", text, err)
			continue
		}
		if got := e.Match(subject()); got != want {
			t.Errorf("%s: %v", text, got)
		}
	}
	for _, text := range []string{"", " ", "stack == blue", "attribute: == x", "attribute:stack", "attribute:stack ==", "attribute:stack is blue",
		"attribute:stack in blue", "attribute:stack in [blue", "(attribute:stack == blue", "attribute:stack == blue)", "attribute:stack == blue and",
		"attribute:stack =~ (", `attribute:stack =~ "("`, "attribute:stack ! blue", `attribute:stack == "`, strings.Repeat("x", MaxExpression+1)} {
		if _, err := Parse(text); err == nil {
			t.Errorf("%q is accepted", text)
		}
	}
}

func FuzzParse(f *testing.F) {
	for _, seed := range []string{"attribute:a == b", "not (attribute:a in [b, c] or runningTasksCount > 3)", `attribute:a =~ "x[0-9]"`, "!!!!", "((((", "attribute:a in [[["} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		e, err := Parse(text)
		if err == nil {
			e.Match(subject())
		}
	})
}

func TestFits(t *testing.T) {
	no, err := Parse("attribute:stack == red")
	if err != nil {
		t.Fatal(err)
	}
	for name, tt := range map[string]struct {
		in    func(*Instance)
		need  Need
		rules Rules
		want  string
	}{
		"exactly":      {need: Need{CPU: 1024, Memory: 1024, TCP: []uint16{80}}},
		"cpu":          {need: Need{CPU: 1025}, want: api.ReasonCPU},
		"memory":       {need: Need{Memory: 1025}, want: api.ReasonMemory},
		"port":         {need: Need{TCP: []uint16{80, 22}}, want: api.ReasonPorts},
		"udp":          {need: Need{UDP: []uint16{22}}},
		"eni":          {need: Need{ENIs: 1}, want: api.ReasonENI},
		"an eni":       {in: func(i *Instance) { i.ENIs = 1 }, need: Need{ENIs: 1}},
		"gpu":          {need: Need{GPUs: 1}, want: api.ReasonGPU},
		"agent":        {in: func(i *Instance) { i.Connected = false }, need: Need{CPU: 9999}, want: api.ReasonAgent},
		"attribute":    {need: Need{Attributes: []api.Attribute{{Name: "none"}}}, want: api.ReasonAttribute},
		"value":        {need: Need{Attributes: []api.Attribute{{Name: "stack", Value: "red"}}}, want: api.ReasonAttribute},
		"any value":    {need: Need{Attributes: []api.Attribute{{Name: "stack"}, {Name: "ecs.os-type", Value: "linux"}}}},
		"external":     {rules: Rules{External: true}, want: api.ReasonAttribute},
		"is external":  {in: func(i *Instance) { i.External = true }, rules: Rules{External: true}},
		"member of":    {rules: Rules{MemberOf: []Expression{{}, no}}, want: api.ReasonMemberOf},
		"distinct":     {need: Need{Group: "family:web"}, rules: Rules{Distinct: true}, want: api.ReasonDistinct},
		"distinct, ok": {need: Need{Group: "family:db"}, rules: Rules{Distinct: true}},
	} {
		in := subject()
		if tt.in != nil {
			tt.in(in)
		}
		got := Fits(in, &tt.need, &tt.rules)
		if tt.want == "" && got != nil || tt.want != "" && (got == nil || got.Reason != tt.want || got.ARN != in.ARN) {
			t.Errorf("%s: %+v, want %q", name, got, tt.want)
		}
	}
}

func TestSpreadByAttribute(t *testing.T) {
	instances := []*Instance{
		{ARN: "a1", Connected: true, Attributes: map[string]string{"zone": "a"}, Tasks: 0},
		{ARN: "a2", Connected: true, Attributes: map[string]string{"zone": "a"}, Tasks: 3},
		{ARN: "b1", Connected: true, Attributes: map[string]string{"zone": "b"}, Tasks: 2},
	}
	rules := &Rules{Strategy: []api.PlacementStrategy{{Type: "spread", Field: "attribute:zone"}}}
	if got, _ := Choose(instances, &Need{}, rules); got.ARN != "b1" {
		t.Errorf("zone a has 3 tasks, zone b 2, chosen %s", got.ARN)
	}
	if got, _ := Choose(instances, &Need{}, &Rules{}); got.ARN != "a1" {
		t.Errorf("without a strategy the idlest is best, chosen %s", got.ARN)
	}
}
