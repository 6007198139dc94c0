package ecsapi

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"pgregory.net/rapid"
)

func TestDecodeError(t *testing.T) {
	tests := []struct {
		name, header, body string
		code, message      string
	}{
		{"plain", "", `{"__type":"ClientException","message":"Cluster not found."}`, "ClientException", "Cluster not found."},
		{"namespace", "", `{"__type":"com.amazonaws.ecs#ClientException","message":"m"}`, "ClientException", "m"},
		{"link", "", `{"__type":"ClientException:http://internal.amazon.com/","Message":"m"}`, "ClientException", "m"},
		{"header", "ThrottlingException:http://x/", `{"message":"m"}`, "ThrottlingException", "m"},
		{"header first", "aws#ServerException", `{"__type":"Other"}`, "ServerException", ""},
		{"code member", "", `{"code":"AccessDenied","message":"m"}`, "AccessDenied", "m"},
		{"nothing", "", ``, "UnknownError", ""},
		{"a page", "", "  <html>Bad gateway</html>\n", "UnknownError", "<html>Bad gateway</html>"},
		{"wrong types", "", `{"__type":5}`, "UnknownError", `{"__type":5}`},
		{"a long page", "", strings.Repeat("é", 1000), "UnknownError", strings.Repeat("é", 256) + "..."},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			h := http.Header{}
			h.Set("X-Amzn-Errortype", tt.header)
			h.Set("X-Amzn-Requestid", "req-1")
			e := decodeError(418, h, []byte(tt.body))
			if e.Code != tt.code || e.Message != tt.message || e.HTTPStatus != 418 || e.RequestID != "req-1" {
				t.Errorf("%+v, want code %q and message %q", e, tt.code, tt.message)
			}
		})
	}
}

func TestErrorText(t *testing.T) {
	e := &Error{Code: "ClientException", Message: "No.", HTTPStatus: 400}
	if got := e.Error(); got != "ClientException: No. (status 400)" {
		t.Error(got)
	}
	e.RequestID = "r"
	if got := e.Error(); got != "ClientException: No. (status 400, request r)" {
		t.Error(got)
	}
	wrapped := fmt.Errorf("call: %w", e)
	if !HasCode(wrapped, CodeServer, CodeClient) || HasCode(wrapped, CodeServer) || HasCode(errors.New("x"), CodeClient) {
		t.Error("HasCode is wrong")
	}
}

func FuzzDecodeError(f *testing.F) {
	for _, body := range []string{`{"__type":"a#b:c","message":"m"}`, `{"__type":"#"}`, `[]`, `null`, "\xff", `{"message":{}}`} {
		f.Add("aws#X:y", []byte(body))
		f.Add("", []byte(body))
	}
	f.Fuzz(func(t *testing.T, header string, body []byte) {
		e := decodeError(400, http.Header{"X-Amzn-Errortype": {header}}, body)
		if e.Code == "" || strings.ContainsAny(e.Code, "#:") || strings.TrimSpace(e.Code) != e.Code {
			t.Errorf("code %q", e.Code)
		}
		if !utf8.ValidString(e.Message) {
			t.Errorf("message %q", e.Message)
		}
	})
}

func FuzzTime(f *testing.F) {
	for _, text := range []string{"0", "1735787045.123", "-1.5", "1e9", "null", `"x"`, "1e400", "NaN", "Infinity", "0x1p4"} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		var v Time
		if v.UnmarshalJSON([]byte(text)) != nil {
			return
		}
		if encoded, err := json.Marshal(v); err != nil {
			t.Errorf("%q was read but not written: %s, %v", text, encoded, err)
		}
	})
}

func TestTimeKeepsMilliseconds(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		ns := rapid.Int64Range(0, 4e18).Draw(t, "ns")
		data, err := json.Marshal(At(time.Unix(0, ns)))
		if err != nil {
			t.Fatal(err)
		}
		var back Time
		if err := json.Unmarshal(data, &back); err != nil {
			t.Fatal(err)
		}
		if back.UnixMilli() != ns/1e6 {
			t.Fatalf("%d ns became %s and then %d ms", ns, data, back.UnixMilli())
		}
	})
	for ms, want := range map[int64]string{1735787045123: "1735787045.123", 1735787045000: "1735787045", 1735787045100: "1735787045.1", 1735787045001: "1735787045.001", -1500: "-1.5"} {
		if data, _ := json.Marshal(At(time.UnixMilli(ms))); string(data) != want {
			t.Errorf("%d ms is %s, want %s", ms, data, want)
		}
	}
}
