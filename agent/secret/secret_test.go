package secret

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
)

func TestStringNeverShowsItsValue(t *testing.T) {
	type holder struct{ Key String }
	h := holder{Key: "hunter2"}
	encoded, err := json.Marshal(h)
	if err != nil {
		t.Fatal(err)
	}
	for _, shown := range []string{
		fmt.Sprint(h), fmt.Sprintf("%v", h), fmt.Sprintf("%+v", h), fmt.Sprintf("%#v", h),
		h.Key.String(), fmt.Sprintf("%q", h.Key), string(encoded),
	} {
		if strings.Contains(shown, "hunter2") {
			t.Errorf("secret shown in %s", shown)
		}
	}
	if h.Key.Reveal() != "hunter2" {
		t.Errorf("Reveal() = %q", h.Key.Reveal())
	}
	if String("").String() != "" {
		t.Error("an unset secret must print as empty")
	}
}
