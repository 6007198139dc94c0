package gpu

import (
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
)

func TestRead(t *testing.T) {
	file := filepath.Join(t.TempDir(), "nvidia-gpu-info.json")
	if _, err := Read(file); !Missing(err) {
		t.Errorf("no file: %v", err)
	}
	for content, want := range map[string]string{
		`{"DriverVersion":"550.54.15","GPUIDs":["GPU-1","GPU-2"]}`: "550.54.15 GPU-1 GPU-2",
		`{"DriverVersion":"","GPUIDs":null}`:                       "",
		`{}`:                                                       "",
		`{"GPUIDs":["GPU-1"],"more":1}`:                            " GPU-1",
		``:                                                         "error",
		`null`:                                                     "error",
		`[]`:                                                       "error",
		`{"GPUIDs":"GPU-1"}`:                                       "error",
		`{"GPUIDs":["a","a"]}`:                                     "error",
		`{"GPUIDs":[""]}`:                                          "error",
		strings.Repeat(" ", maxFile+1):                             "error",
	} {
		if err := os.WriteFile(file, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		info, err := Read(file)
		got := strings.Join(append([]string{info.DriverVersion}, info.GPUIDs...), " ")
		if err != nil {
			got = "error"
			if Missing(err) || !strings.Contains(err.Error(), strconv.Quote(file)) {
				t.Errorf("%.40q: %v", content, err)
			}
		}
		if got != want {
			t.Errorf("%.40q: %q, want %q", content, got, want)
		}
	}
}

func FuzzParse(f *testing.F) {
	f.Add([]byte(`{"DriverVersion":"550.54.15","GPUIDs":["GPU-1"]}`))
	f.Add([]byte("null"))
	f.Fuzz(func(t *testing.T, data []byte) {
		info, err := parse(data)
		if err != nil && (info.DriverVersion != "" || info.GPUIDs != nil) {
			t.Errorf("%+v beside %v", info, err)
		}
	})
}
