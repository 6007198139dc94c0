package taskdef

import (
	"encoding/json"
	"errors"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"ecsagent/controlplane/api"
)

var update = flag.Bool("update", false, "write the golden files")

// TestGoldens reads files as people keep them and shows what is registered.
func TestGoldens(t *testing.T) {
	for _, name := range []string{"plain", "described", "commented"} {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join("testdata", name+".json")
			data, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			def, err := Read(path, data)
			if err != nil {
				t.Fatal(err)
			}
			got, err := json.MarshalIndent(struct {
				Request    *api.RegisterTaskDefinitionRequest
				Registered api.TaskDefinition
			}{def, Complete(def)}, "", "  ")
			if err != nil {
				t.Fatal(err)
			}
			golden := filepath.Join("testdata", name+".golden")
			if *update {
				if err := os.WriteFile(golden, append(got, '\n'), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(golden)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(string(want), string(got)+"\n"); diff != "" {
				t.Error(diff)
			}
		})
	}
}

// TestDescribedDefinitionsCanBeReadAgain registers what describe shows.
func TestDescribedDefinitionsCanBeReadAgain(t *testing.T) {
	data, err := os.ReadFile("testdata/plain.json")
	if err != nil {
		t.Fatal(err)
	}
	def, err := Read("plain.json", data)
	if err != nil {
		t.Fatal(err)
	}
	first := Complete(def)
	described, err := json.Marshal(map[string]any{"taskDefinition": first})
	if err != nil {
		t.Fatal(err)
	}
	again, err := Read("described", described)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(first, Complete(again)); diff != "" {
		t.Error(diff)
	}
}

func TestFindings(t *testing.T) {
	for name, tt := range map[string]struct{ in, want string }{
		"syntax":       {"{\n  \"family\": ,\n}", "f.json:2:13: invalid character ',' at start of value"},
		"cut off":      {`{"family": "web"`, "f.json:1:17: parsing object after value: unexpected EOF"},
		"not object":   {` [1]`, "f.json:1:2: want a JSON object with a task definition"},
		"wrapped":      {`{"taskDefinition": "web:1"}`, "f.json:1:20: taskDefinition: want a JSON object with a task definition"},
		"empty":        {"{}", "f.json:1:1: family: Family should not be null or empty.\nf.json:1:1: containerDefinitions: Container list cannot be empty."},
		"unknown":      {ok(`"memry": 64,`), "f.json:3:4: containerDefinitions[0].memry: unknown member; did you mean memory?"},
		"casing":       {ok(`"Command": ["x"],`), "f.json:3:4: containerDefinitions[0].Command: unknown member; did you mean command?"},
		"far off":      {ok(`"xyzzy": 1,`), "f.json:3:4: containerDefinitions[0].xyzzy: unknown member"},
		"wrong type":   {ok(`"cpu": "256",`), "f.json:3:11: containerDefinitions[0].cpu: want a whole number"},
		"fraction":     {ok(`"cpu": 1.5,`), "f.json:3:11: containerDefinitions[0].cpu: want a whole number"},
		"string":       {ok(`"command": "sleep 1",`), "f.json:3:15: containerDefinitions[0].command: want a list"},
		"null in list": {ok(`"command": [null],`), "f.json:3:16: containerDefinitions[0].command[0]: want a string"},
		"object":       {ok(`"environment": [{"name": "A", "value": 1}],`), "f.json:3:43: containerDefinitions[0].environment[0].value: want a string"},
		"label":        {ok(`"dockerLabels": {"a": 1},`), "f.json:3:26: containerDefinitions[0].dockerLabels.a: want a string"},
		"bool":         {ok(`"essential": "yes",`), "f.json:3:17: containerDefinitions[0].essential: want true or false"},
		"twice":        {ok(`"image": "y",`), "f.json:3:47: containerDefinitions[0].image: given more than once"},
		"two at once": {ok(`"cpu": true, "links": 1,`), "f.json:3:11: containerDefinitions[0].cpu: want a whole number\n" +
			"f.json:3:26: containerDefinitions[0].links: want a list"},
		"validation": {ok(`"portMappings": [{"containerPort": 80}, {"containerPort": 80, "hostPort": 70000}],`),
			"f.json:3:78: containerDefinitions[0].portMappings[1].hostPort: Invalid value 70000: it must be between 0 and 65535."},
		"absent member": {ok(`"healthCheck": {},`), "f.json:3:19: containerDefinitions[0].healthCheck.command: Health check command must begin with CMD or CMD-SHELL, followed by the command."},
		"too large":     {strings.Repeat(" ", MaxFile+1), "f.json:1:1: file has 262145 bytes: a task definition has at most 262144"},
		"deep":          {strings.Repeat("[", MaxFile), "f.json:1:262145: parsing value: unexpected EOF"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := Read("f.json", []byte(tt.in))
			var e *Error
			if !errors.As(err, &e) || err.Error() != tt.want {
				t.Errorf("got\n%v\nwant\n%s", err, tt.want)
			}
		})
	}
	if _, err := Read("f.json", []byte("\xef\xbb\xbf"+ok(""))); err != nil {
		t.Errorf("a byte order mark: %v", err)
	}
}

// ok is a good definition with members put before those of its container, which
// begins on line 3.
func ok(members string) string {
	return "{ \"family\": \"web\",\n  \"containerDefinitions\": [\n  {" + strings.TrimSpace(members) + " \"name\": \"app\", \"memory\": 64, \"image\": \"x\"}]}"
}

func FuzzRead(f *testing.F) {
	for _, name := range []string{"plain", "described", "commented"} {
		data, err := os.ReadFile(filepath.Join("testdata", name+".json"))
		if err != nil {
			f.Fatal(err)
		}
		f.Add(data)
	}
	f.Add([]byte(`{"family":"a","containerDefinitions":[{"name":"a","image":"b","memory":4,"dependsOn":[{"containerName":"a","condition":"START"}]}]}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		def, err := Read("f.json", data)
		if err != nil {
			var e *Error
			if !errors.As(err, &e) || len(e.Findings) == 0 {
				t.Fatalf("not findings: %v", err)
			}
			for _, finding := range e.Findings {
				if finding.Line < 1 || finding.Column < 1 || finding.Message == "" {
					t.Fatalf("bad finding %+v", finding)
				}
			}
			return
		}
		// What is accepted can be registered, and shown, and registered again.
		described, err := json.Marshal(map[string]any{"taskDefinition": Complete(def)})
		if err != nil {
			t.Fatal(err)
		}
		if len(described) > MaxFile {
			return
		}
		if _, err := Read("again.json", described); err != nil {
			t.Fatalf("read again: %v\n%s", err, described)
		}
	})
}
