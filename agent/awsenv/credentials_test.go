package awsenv_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"

	"ecsagent/agent/awsenv"
	"ecsagent/agent/awsenv/awsenvtest"
)

const roleKeys = `{"Code":"Success","AccessKeyId":"AKIAROLE00000001","SecretAccessKey":"s","Token":"t","Expiration":"2099-01-01T00:00:00Z"}`

// isolate takes every source of credentials away.
func isolate(t *testing.T) (dir string) {
	t.Helper()
	dir = t.TempDir()
	for _, name := range []string{
		"AWS_ACCESS_KEY_ID", "AWS_ACCESS_KEY", "AWS_SECRET_ACCESS_KEY", "AWS_SECRET_KEY", "AWS_SESSION_TOKEN", "AWS_PROFILE",
		"AWS_DEFAULT_PROFILE", "AWS_WEB_IDENTITY_TOKEN_FILE", "AWS_ROLE_ARN", "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI",
		"AWS_CONTAINER_CREDENTIALS_FULL_URI", "HTTP_PROXY", "HTTPS_PROXY", "http_proxy", "https_proxy",
	} {
		t.Setenv(name, "")
	}
	t.Setenv("HOME", dir)
	t.Setenv("AWS_CONFIG_FILE", filepath.Join(dir, "config"))
	t.Setenv("AWS_SHARED_CREDENTIALS_FILE", filepath.Join(dir, "shared"))
	t.Setenv("AWS_EC2_METADATA_DISABLED", "true")
	return dir
}

func writeKeys(t *testing.T, file, profile, key string) {
	t.Helper()
	text := "[" + profile + "]\naws_access_key_id = " + key + "\naws_secret_access_key = s\naws_session_token = t\n"
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

func TestCredentialsOrder(t *testing.T) {
	const env, rotating, shared, role = "AKIAENV000000001", "AKIAROTATE000001", "AKIASHARED000001", "AKIAROLE00000001"
	tests := []struct {
		name     string
		external bool
		sources  string // those present, of "env rotating shared role"
		want     string
	}{
		{"normal: environment first", false, "env rotating shared role", env},
		{"normal: shared file before the rest", false, "rotating shared role", shared},
		{"normal: role before the rotating file", false, "rotating role", role},
		{"normal: rotating file last", false, "rotating", rotating},
		{"external: environment first", true, "env rotating shared role", env},
		{"external: rotating file second", true, "rotating shared role", rotating},
		{"external: shared file third", true, "shared role", shared},
		{"external: role last", true, "role", role},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			dir := isolate(t)
			has := func(s string) bool { return strings.Contains(" "+tt.sources+" ", " "+s+" ") }
			if has("env") {
				t.Setenv("AWS_ACCESS_KEY_ID", env)
				t.Setenv("AWS_SECRET_ACCESS_KEY", "s")
			}
			if has("rotating") {
				writeKeys(t, filepath.Join(dir, "rotating"), "other", rotating)
			}
			if has("shared") {
				writeKeys(t, filepath.Join(dir, "shared"), "default", shared)
			}
			if has("role") {
				awsenvtest.NewIMDS(t, map[string]string{
					"meta-data/iam/security-credentials/":        "my-role",
					"meta-data/iam/security-credentials/my-role": roleKeys,
				})
			}
			core, logs := observer.New(zap.InfoLevel)
			cache := awsenv.Credentials(awsenv.CredentialsOptions{
				External: tt.external, Region: "us-west-2", Profile: "other", Log: zap.New(core),
				RotatingFiles: []string{filepath.Join(dir, "missing"), filepath.Join(dir, "rotating")},
			})
			creds, err := cache.Retrieve(t.Context())
			if err != nil || creds.AccessKeyID != tt.want {
				t.Fatalf("key %q, %v; want %q", creds.AccessKeyID, err, tt.want)
			}
			if _, err := cache.Retrieve(t.Context()); err != nil {
				t.Fatal(err)
			}
			if logs.Len() != 1 || logs.All()[0].ContextMap()["key"] != "XXXX"+tt.want[len(tt.want)-4:] {
				t.Errorf("logged %v, want one line with the key's last four characters", logs.All())
			}
		})
	}
}

func TestCredentialsNameEverySourceThatFailed(t *testing.T) {
	dir := isolate(t)
	for _, external := range []bool{false, true} {
		_, err := awsenv.Credentials(awsenv.CredentialsOptions{
			External: external, Region: "us-west-2", RotatingFiles: []string{filepath.Join(dir, "rotating")}, Log: zap.NewNop(),
		}).Retrieve(t.Context())
		want := []string{"environment: ", "rotating file " + filepath.Join(dir, "rotating")}
		if external {
			want = append(want, "shared credentials file: ", "instance role: ")
		} else {
			want = append(want, "default chain: ")
		}
		for _, w := range want {
			if err == nil || !strings.Contains(err.Error(), w) {
				t.Errorf("external %v: error %v lacks %q", external, err, w)
			}
		}
	}
}

func TestRotatingFileIsReadAgain(t *testing.T) {
	dir := isolate(t)
	file := filepath.Join(dir, "rotating")
	synctest.Test(t, func(t *testing.T) {
		cache := awsenv.Credentials(awsenv.CredentialsOptions{External: true, RotatingFiles: []string{file}, Log: zap.NewNop()})
		key := func() string {
			creds, err := cache.Retrieve(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			return creds.AccessKeyID
		}
		writeKeys(t, file, "default", "AKIAFIRST0000001")
		first := key()
		writeKeys(t, file, "default", "AKIASECOND000001")
		time.Sleep(59 * time.Second)
		kept := key()
		time.Sleep(2 * time.Second)
		if second := key(); first != "AKIAFIRST0000001" || kept != first || second != "AKIASECOND000001" {
			t.Errorf("keys %s, %s, %s", first, kept, second)
		}
		writeKeys(t, file, "default", "AKIATHIRD0000001")
		cache.Invalidate()
		if third := key(); third != "AKIATHIRD0000001" {
			t.Errorf("key %s after Invalidate", third)
		}
	})
}

func TestRotatingFiles(t *testing.T) {
	if got := awsenv.RotatingFiles("linux"); got[0] != "/rotatingcreds/credentials" {
		t.Errorf("linux: %q", got)
	}
	if got := awsenv.RotatingFiles("windows"); len(got) != 1 || !strings.HasPrefix(got[0], `C:\Windows\System32`) {
		t.Errorf("windows: %q", got)
	}
}
