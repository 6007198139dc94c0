package capability

import (
	"strconv"
	"strings"
)

// The Docker API versions that ECS knows are 1.17 to 1.44 (docs/spec/03 section
// 4.3). On Windows the set ends at 1.30.
const (
	firstKnownAPI       = 17
	lastKnownAPI        = 44
	lastKnownAPIWindows = 30
	// From this minimum on, an engine counts as supporting all older versions: it
	// dropped them for age, and the features behind them are still there.
	modernMinimumAPI = 24
)

// MinimumDockerAPI is the oldest engine API that the agent runs on.
const MinimumDockerAPI = "1.21"

// withheld are versions that are never advertised, because the number of
// attributes is limited.
var withheld = map[int]bool{26: true, 27: true, 31: true}

const lastAdvertisedAPI = 32

// logDriverAPI is the API version that each log driver needs.
var logDriverAPI = map[string]string{
	"json-file": "1.18", "syslog": "1.18", "journald": "1.19", "none": "1.19", "gelf": "1.20", "fluentd": "1.20",
	"awslogs": "1.21", "splunk": "1.22", "logentries": "1.25", "sumologic": "1.29",
}

// DockerAPIs returns the API versions that count as supported, ascending, for an
// engine whose own API version is server and whose oldest accepted one is minimum
// (empty for old engines that do not say). It is empty when server is no version.
func DockerAPIs(osType, server, minimum string) []string {
	newest, ok := minor(server)
	if !ok {
		return nil
	}
	oldest, ok := minor(minimum)
	if !ok || osType == "windows" || oldest >= modernMinimumAPI {
		oldest = firstKnownAPI
	}
	last := lastKnownAPI
	if osType == "windows" {
		last = lastKnownAPIWindows
	}
	var versions []string
	for v := max(oldest, firstKnownAPI); v <= min(newest, last); v++ {
		versions = append(versions, "1."+strconv.Itoa(v))
	}
	return versions
}

// KnownLogDriver reports whether ECS has a name for the log driver.
func KnownLogDriver(name string) bool { return logDriverAPI[name] != "" || name == "awsfirelens" }

// minor returns 44 for "1.44".
func minor(version string) (int, bool) {
	major, rest, _ := strings.Cut(version, ".")
	n, err := strconv.Atoi(rest)
	return n, err == nil && major == "1" && n >= 0
}

func dockerAPIs(f *Facts) []Attribute {
	var out []Attribute
	for _, v := range f.DockerAPIs {
		if n, ok := minor(v); ok && n <= lastAdvertisedAPI && !withheld[n] {
			out = append(out, Attribute{Name: legacy + "docker-remote-api." + v})
		}
	}
	return out
}

func logDrivers(f *Facts) []Attribute {
	var out []Attribute
	for _, d := range f.LogDrivers {
		if needed := logDriverAPI[d]; needed != "" && f.api(needed) {
			out = append(out, Attribute{Name: legacy + "logging-driver." + d})
		}
	}
	return out
}

// volumePlugins gives a plugin tagged "latest" two attributes.
func volumePlugins(f *Facts) []Attribute {
	const name = prefix + "docker-plugin."
	out := []Attribute{{Name: name + "local"}}
	if f.OS == "windows" {
		return out
	}
	for _, p := range f.VolumePlugins {
		if bare, latest := strings.CutSuffix(p, ":latest"); latest {
			out = append(out, Attribute{Name: name + strings.ReplaceAll(bare, ":", ".")})
		}
		out = append(out, Attribute{Name: name + strings.ReplaceAll(p, ":", ".")})
	}
	return out
}
