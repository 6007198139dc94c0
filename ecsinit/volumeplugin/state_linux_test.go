package volumeplugin

import (
	"maps"
	"os"
	"path/filepath"
	"slices"
	"testing"
)

// What the official plugin wrote is read, and written again as it was.
func TestStateFile(t *testing.T) {
	const official = `{
	"volumes": {
		"ecs-web-1-data-aabbcc": {
			"type": "efs",
			"path": "/var/lib/ecs/volumes/ecs-web-1-data-aabbcc",
			"options": {
				"device": "fs-0123456789abcdef0:/",
				"o": "tls,tlsport=20049,iam,awscredsuri=/v2/credentials/1,accesspoint=fsap-1",
				"type": "efs"
			},
			"createdAt": "2026-01-02T03:04:05.123456789Z",
			"mounts": {
				"f00d": 1
			}
		}
	}
}`
	file := stateFile(filepath.Join(t.TempDir(), "data", "ecs_volume_plugin.json"))
	if volumes, err := file.load(); err != nil || len(volumes) != 0 {
		t.Errorf("no file: %v, %v", volumes, err)
	}
	must(t, file.save(nil))
	must(t, os.WriteFile(string(file), []byte(official), 0o600))
	volumes, err := file.load()
	must(t, err)
	must(t, file.save(volumes))
	text, err := os.ReadFile(string(file))
	must(t, err)
	if string(text) != official {
		t.Errorf("written again it is\n%s", text)
	}
}

func TestParseState(t *testing.T) {
	for text, want := range map[string]string{
		"":                 "",
		" \n":              "",
		"{}":               "",
		`{"volumes":null}`: "",
		"null":             "",
		`{"volumes":{"a":{"path":"/p","mounts":{"x":0,"y":2}}}}`: "a(x:1 y:2)",
		`{"volumes":{"a":{"type":"efs","path":"/p"}}}`:           "a()",
		`{"volumes":{"a":{"type":"s3files","path":"/p"}}}`:       "a()",
		`{"volumes":`: "error",
		`[]`:          "error",
		`{"volumes":{"a":{"type":"nfs","path":"/p"}}}`: `error volume "a": type is "nfs": want efs or s3files`,
		`{"volumes":{"a":{"type":"efs"}}}`:             `error volume "a": path is "": want an absolute path`,
		`{"volumes":{"../a":{"path":"/p"}}}`:           `error volume name is "../a": want letters, digits, _, . and -, a letter or digit first`,
	} {
		volumes, err := parse([]byte(text))
		got := counts(volumes)
		if err != nil {
			if got = "error"; len(want) > len(got) {
				got += " " + err.Error()
			}
		}
		if got != want {
			t.Errorf("%q: %s, want %s", text, got, want)
		}
	}
	name := filepath.Join(t.TempDir(), "state.json")
	must(t, os.WriteFile(name, []byte("{"), 0o600))
	_, err := stateFile(name).load()
	wants(t, err, `read the plugin's state "`+name+`"`, "moved away")
	must(t, os.Remove(name))
	must(t, os.Mkdir(name, 0o700))
	_, err = stateFile(name).load()
	wants(t, err, "read the plugin's state")
}

func TestOptions(t *testing.T) {
	for _, c := range []struct {
		options map[string]string
		want    string
	}{
		{map[string]string{"type": "efs", "device": "fs-1:/a", "o": "tls"}, ""},
		{map[string]string{"type": "s3files", "device": "fs-1"}, ""},
		{map[string]string{"device": "fs-1", "target": "/mnt/x"}, ""},
		{nil, "option device is absent"},
		{map[string]string{"type": "nfs", "device": "x"}, `option type is "nfs": want efs or s3files`},
		{map[string]string{"device": "--bind"}, `option device is "--bind"`},
		{map[string]string{"device": "x", "target": "mnt"}, `option target is "mnt": want an absolute path`},
		{map[string]string{"device": "x", "size": "1"}, `no such option: "size"; want type, device, o or target`},
		{map[string]string{"device": "x", "o": "a\x00b"}, "option o is"},
	} {
		err := checkOptions(c.options)
		if c.want == "" {
			must(t, err)
		} else {
			wants(t, err, c.want)
		}
	}
	for _, name := range []string{"", ".", "..", "a/b", "-a", "a b", "a\n"} {
		wants(t, checkName(name), "volume name is")
	}
	wants(t, checkID(""), "ID is empty")
}

func FuzzState(f *testing.F) {
	f.Add([]byte(`{"volumes":{"a":{"type":"efs","path":"/p","mounts":{"x":0}}}}`))
	f.Add([]byte("null"))
	f.Fuzz(func(t *testing.T, text []byte) {
		volumes, err := parse(text)
		if err != nil {
			return
		}
		file := stateFile(filepath.Join(t.TempDir(), "state.json"))
		must(t, file.save(volumes))
		again, err := file.load()
		must(t, err)
		if counts(again) != counts(volumes) || !slices.Equal(slices.Sorted(maps.Keys(again)), slices.Sorted(maps.Keys(volumes))) {
			t.Errorf("%v became %v", volumes, again)
		}
	})
}
