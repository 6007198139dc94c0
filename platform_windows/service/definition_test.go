package service

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

const program = `C:\Program Files\Amazon\ECS\ecs-agent.exe`

func TestDefine(t *testing.T) {
	got, err := Define(Options{Program: program, ProgramData: `D:\Data\`, DependsOn: []string{"Docker"}})
	if err != nil {
		t.Fatal(err)
	}
	want := Definition{
		Name: "AmazonECS", DisplayName: "Amazon ECS", Description: got.Description,
		Program: program, Arguments: []string{"-windows-service"}, DependsOn: []string{"Docker"}, Start: Automatic,
		Restarts: []time.Duration{5 * time.Second, 30 * time.Second, 60 * time.Second}, ForgetFailures: 300 * time.Second,
		PreShutdown: 30 * time.Second, EventSource: "AmazonECSAgent",
		Environment: []Variable{{"ECS_LOGFILE", `D:\Data\Amazon\ECS\log\ecs-agent.log`}, {"ECS_DATADIR", `D:\Data\Amazon\ECS\data`}},
		Directory:   `D:\Data\Amazon\ECS`,
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

func TestDefineRefuses(t *testing.T) {
	for want, o := range map[string]Options{
		`start type "sometimes"; want auto, manual or disabled`:    {Program: program, Start: "sometimes"},
		`program "ecs-agent.exe"; want an absolute path`:           {Program: "ecs-agent.exe"},
		`program ""; want an absolute path`:                        {},
		`program "C:ecs-agent.exe"; want an absolute path`:         {Program: "C:ecs-agent.exe"},
		`program "1:\\ecs-agent.exe"; want an absolute path`:       {Program: `1:\ecs-agent.exe`},
		`dependency ""; want the name of a service such as Docker`: {Program: program, DependsOn: []string{""}},
		`dependency "a/b"; want the name of a service`:             {Program: program, DependsOn: []string{"a/b"}},
		`dependency "amazonecs" is the service itself`:             {Program: program, DependsOn: []string{"Docker", "amazonecs"}},
	} {
		if _, err := Define(o); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%+v: %v; want %q", o, err, want)
		}
	}
}
