package vpceni

import (
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/windows"

	"ecsagent/cni/plugin"
)

// call runs the plugin as a CNI runtime does; the stand-in for vmcompute.dll answers with
// the lines.
func call(t *testing.T, command, container, netns, conf string, answers ...string) (status int, printed, calls string) {
	t.Helper()
	restart := windows.NewLazySystemDLL("vmcompute.dll").NewProc("StandInRestart")
	if err := restart.Find(); err != nil {
		t.Skip("needs the stand-in for vmcompute.dll, which make test-windows has:", err)
	}
	_, _, _ = restart.Call()
	dir := t.TempDir()
	for name, text := range map[string]string{"answers": strings.Join(answers, "\n") + "\n", "in": conf, "out": ""} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for k, v := range map[string]string{"HNS_STANDIN": dir, "CNI_COMMAND": command, "CNI_CONTAINERID": container, "CNI_NETNS": netns,
		"CNI_IFNAME": "nat", "CNI_PATH": dir, "CNI_ARGS": "", "VPC_CNI_LOG_FILE": filepath.Join(dir, "log")} {
		t.Setenv(k, v)
	}
	in, err := os.Open(filepath.Join(dir, "in"))
	if err != nil {
		t.Fatal(err)
	}
	defer in.Close()
	out, err := os.OpenFile(filepath.Join(dir, "out"), os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer out.Close()
	stdin, stdout := os.Stdin, os.Stdout
	os.Stdin, os.Stdout = in, out
	status = plugin.Main(Plugin(), nil, out)
	os.Stdin, os.Stdout = stdin, stdout
	if _, err := out.Seek(0, io.SeekStart); err != nil {
		t.Fatal(err)
	}
	text, err := io.ReadAll(out)
	if err != nil {
		t.Fatal(err)
	}
	seen, err := os.ReadFile(filepath.Join(dir, "calls"))
	if err != nil && !os.IsNotExist(err) {
		t.Fatal(err)
	}
	return status, string(text), string(seen)
}

const (
	natConf  = `{"cniVersion":"0.3.0","name":"nat","type":"vpc-eni","dns":{},"eniName":"","eniMACAddress":"","eniIPAddresses":null,"gatewayIPAddresses":null,"useExistingNetwork":true,"blockInstanceMetadata":true}`
	endpoint = `{"ID":"E2","Name":"nat-ep-9c41","VirtualNetworkName":"nat","MacAddress":"00-15-5D-01-02-03","IPAddress":"172.30.16.9","PrefixLength":20,"GatewayAddress":"172.30.16.1"}`
)

func ok(output string) string { return `{"Success":true,"Output":` + output + `}` }

// TestPlugin: the task's place on the bridge, through the real library, as far as the
// calls that leave the process.
func TestPlugin(t *testing.T) {
	version := ok(`{"Major":9,"Minor":5}`)
	status, printed, calls := call(t, "ADD", "9c41", "none", natConf,
		version, ok(`[]`), ok(`[{"ID":"N1","Name":"nat","Type":"nat","Subnets":[{"AddressPrefix":"172.30.16.0/20"}]}]`), ok(endpoint),
		ok(endpoint), ok(endpoint), "0", "0")
	if status != 0 || !strings.Contains(calls, `"Action":"Block","Direction":"Out","RemoteAddresses":"169.254.169.254/32","Protocol":256,"Priority":200`) ||
		!strings.Contains(calls, `HCS modify {"ResourceType":"Network","Settings":"E2","RequestType":"Add"}`) {
		t.Errorf("%d %s\n%s", status, printed, calls)
	}
	for _, want := range []string{`"cniVersion": "0.3.0"`, `"name": "nat"`, `"mac": "00:15:5d:01:02:03"`, `"sandbox": "none"`, `"version": "4"`,
		`"address": "172.30.16.9/20"`, `"gateway": "172.30.16.1"`} {
		if !strings.Contains(printed, want) {
			t.Errorf("%s is not in %s", want, printed)
		}
	}
	status, printed, calls = call(t, "DEL", "9c41", "none", natConf, ok("["+endpoint+"]"), ok(endpoint), ok(endpoint), ok(endpoint))
	if status != 0 || printed != "" || !strings.HasSuffix(strings.TrimSpace(calls), "HNS DELETE /endpoints/E2") {
		t.Errorf("%d %s\n%s", status, printed, calls)
	}
	status, printed, calls = call(t, "ADD", "9c41", "none", natConf, ok(`{"Major":7,"Minor":1}`))
	if status != 1 || !strings.Contains(printed, "HNS is older than the minimum supported version") {
		t.Errorf("%d %s\n%s", status, printed, calls)
	}
	gc := strings.Replace(strings.Replace(natConf, "0.3.0", "1.1.0", 1), `"dns":{}`, `"cni.dev/valid-attachments":[{"containerID":"9c41","ifname":"nat"}]`, 1)
	other := strings.NewReplacer("E2", "E3", "9c41", "77aa").Replace(endpoint)
	status, printed, calls = call(t, "GC", "", "", gc, version, ok("["+endpoint+","+other+"]"), ok(`[]`), ok(other))
	if status != 0 || printed != "" || !strings.Contains(calls, "HNS GET /networks/") || strings.Count(calls, "DELETE") != 1 || !strings.Contains(calls, "HNS DELETE /endpoints/E3") {
		t.Errorf("%d %s\n%s", status, printed, calls)
	}
	status, printed, calls = call(t, "GC", "", "", strings.Replace(natConf, "0.3.0", "1.1.0", 1))
	if status != 1 || !strings.Contains(printed, "cni.dev/valid-attachments") || calls != "" {
		t.Errorf("%d %s\n%s", status, printed, calls)
	}
	status, printed, calls = call(t, "STATUS", "", "", strings.Replace(natConf, "0.3.0", "1.1.0", 1), ok(`{"Major":7,"Minor":1}`))
	if status != 1 || !strings.Contains(printed, "HNS is older") {
		t.Errorf("%d %s\n%s", status, printed, calls)
	}
	status, printed, calls = call(t, "ADD", "9c41", "somewhere", natConf)
	if status != 1 || !strings.Contains(printed, "CNI_NETNS") || calls != "" {
		t.Errorf("%d %s\n%s", status, printed, calls)
	}
}
