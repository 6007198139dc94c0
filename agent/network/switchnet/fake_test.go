package switchnet

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"github.com/containernetworking/cni/pkg/types"
	"github.com/containernetworking/cni/pkg/version"

	"ecsagent/agent/runtime"
)

const (
	pause      = "9c41d27e55b0"
	taskEnd    = "taskbr061f2e3d4c5b-ep-" + pause
	bridgeEnd  = "nat-ep-" + pause
	natGateway = "172.30.16.1"
)

// fakeHost plays vpc-eni.exe, with the endpoints that it makes, and a pause container, with
// the routes that HNS and netsh make there.
type fakeHost struct {
	version.PluginDecoder
	endpoints map[string][]string // to the containers that they are in
	routes    []route
	calls     []string
	configs   []string
	fail      map[int]error // by call of the plugin, from 1
	failAll   error
	deaf      bool // netsh does nothing and says that it did
	missing   bool
	exec      error // of programs in the container
}

func newHost() *fakeHost { return &fakeHost{endpoints: map[string][]string{}, fail: map[int]error{}} }

func (h *fakeHost) FindInPath(plugin string, _ []string) (string, error) {
	if h.missing {
		return "", fmt.Errorf("failed to find plugin %q in path [C:]", plugin)
	}
	return `C:\cni\` + plugin + ".exe", nil
}

func (h *fakeHost) ExecPlugin(ctx context.Context, _ string, stdin []byte, environ []string) ([]byte, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	env := map[string]string{}
	for _, e := range environ {
		k, v, _ := strings.Cut(e, "=")
		env[k] = v
	}
	command, id, netns, ifName := env["CNI_COMMAND"], env["CNI_CONTAINERID"], env["CNI_NETNS"], env["CNI_IFNAME"]
	h.calls = append(h.calls, strings.Join(strings.Fields(command+" "+ifName+" "+id+" "+netns), " "))
	h.configs = append(h.configs, string(stdin))
	if err := h.fail[len(h.calls)]; err != nil || h.failAll != nil {
		return nil, errors.Join(err, h.failAll)
	}
	var conf struct {
		Name  string                `json:"name"`
		MAC   string                `json:"eniMACAddress"`
		IPs   []string              `json:"eniIPAddresses"`
		Valid *[]types.GCAttachment `json:"cni.dev/valid-attachments"`
	}
	if err := json.Unmarshal(stdin, &conf); err != nil {
		return nil, err
	}
	network, address, gateway := conf.Name, "172.30.16.9/20", natGateway
	if conf.Name == taskName {
		network = "taskbr" + strings.ReplaceAll(conf.MAC, ":", "")
		gateway = "10.30.1.1"
		if len(conf.IPs) > 0 {
			address = conf.IPs[0]
		}
	}
	owner, shared := strings.CutPrefix(netns, "container:")
	if !shared {
		owner = id
	}
	name := network + "-ep-" + owner
	switch command {
	case "ADD":
		in, there := h.endpoints[name]
		if shared && !there {
			return nil, fmt.Errorf("failed to find endpoint %s", name)
		}
		if !there {
			h.appear(name, address, gateway)
		}
		if !slices.Contains(in, id) {
			h.endpoints[name] = append(in, id)
		}
		return json.Marshal(map[string]any{"cniVersion": "0.3.0", "ips": []any{map[string]any{"version": "4", "address": address, "gateway": gateway}}})
	case "DEL":
		delete(h.endpoints, name)
	case "GC":
		for e := range h.endpoints {
			keep := slices.ContainsFunc(*conf.Valid, func(a types.GCAttachment) bool { return strings.HasSuffix(e, "-ep-"+a.ContainerID) })
			if !keep && strings.HasPrefix(e, conf.Name) {
				delete(h.endpoints, e)
			}
		}
	}
	return nil, nil
}

// appear makes the routes that an endpoint has from the start.
func (h *fakeHost) appear(endpoint, address, gateway string) {
	p := netip.MustParsePrefix(address)
	h.routes = append(h.routes, route{everywhere, gateway}, route{p.Masked(), "vEthernet (" + endpoint + ")"})
}

// RunIn plays netsh of a German Windows.
func (h *fakeHost) RunIn(_ context.Context, id string, c runtime.Command) (runtime.Outcome, error) {
	if h.exec != nil {
		return runtime.Outcome{}, h.exec
	}
	if id != pause || c.User != "ContainerAdministrator" {
		return runtime.Outcome{}, fmt.Errorf("run in %s as %s", id, c.User)
	}
	words := strings.Join(c.Args[:5], " ")
	h.calls = append(h.calls, strings.Join(c.Args, " "))
	if words == "netsh interface ipv4 show route" {
		text := "\r\nVer÷ff.  Typ       Met  Präfix                    Idx  Gateway/Schnittstellenname\r\n-------  --------  ---  ------------------------  ---  ------------------------\r\n"
		for i, r := range h.routes {
			text += fmt.Sprintf("Nein     Manuell   %-4d %-25s %-4d %s\r\n", 256, r.prefix, i+4, r.via)
		}
		return runtime.Outcome{Output: text + "\r\n"}, nil
	}
	prefix := netip.MustParsePrefix(strings.TrimPrefix(c.Args[5], "prefix="))
	adapter := strings.TrimPrefix(c.Args[6], "interface=")
	mine := func(r route) bool {
		return r.prefix == prefix && (r.via == adapter || adapter == "vEthernet ("+bridgeEnd+")" && r.via == natGateway)
	}
	at := slices.IndexFunc(h.routes, mine)
	switch {
	case h.deaf:
	case words == "netsh interface ipv4 add route" && at < 0:
		h.routes = append(h.routes, route{prefix, adapter})
	case words == "netsh interface ipv4 delete route" && at >= 0:
		h.routes = slices.DeleteFunc(h.routes, mine)
	default:
		return runtime.Outcome{ExitCode: 1, Output: "Das Element wurde nicht gefunden.\r\n\r\n"}, nil
	}
	return runtime.Outcome{Output: "OK.\r\n"}, nil
}

func (h *fakeHost) table() string {
	var lines []string
	for _, r := range h.routes {
		lines = append(lines, r.prefix.String()+" "+r.via)
	}
	slices.Sort(lines)
	return strings.Join(lines, "\n")
}
