package hnstest

import (
	"encoding/json"
	"fmt"
	"net/netip"
	"slices"
	"strings"
)

func success(output any) string {
	text, err := json.Marshal(map[string]any{"Success": true, "Output": output})
	if err != nil {
		panic(err)
	}
	return string(text)
}

func failure(format string, args ...any) string {
	text, err := json.Marshal(map[string]any{"Success": false, "Error": fmt.Sprintf(format, args...)})
	if err != nil {
		panic(err)
	}
	return string(text)
}

// In German, as on a host of somebody who has it so.
const elementNotFound = "Das Element wurde nicht gefunden. "

// hns is a call of HNS.
func (w *Windows) hns(method, path, object string) string {
	if method == "GET" && path == "/globals/version" {
		return success(map[string]int{"Major": w.version[0], "Minor": w.version[1]})
	}
	part := strings.Split(strings.Trim(path, "/"), "/")
	id := ""
	if len(part) > 1 {
		id = part[1]
	}
	switch method + " " + part[0] {
	case "GET networks":
		return show(w.networks, id, func(n *network) string { return n.ID })
	case "GET endpoints":
		return show(w.endpoints, id, func(e *endpoint) string { return e.ID })
	case "POST networks":
		return w.createNetwork(object)
	case "POST endpoints":
		return w.createEndpoint(object)
	case "DELETE networks":
		i := slices.IndexFunc(w.networks, func(n *network) bool { return strings.EqualFold(n.ID, id) })
		if i < 0 {
			return failure(elementNotFound)
		}
		n := w.networks[i]
		if slices.ContainsFunc(w.endpoints, func(e *endpoint) bool { return e.VirtualNetwork == n.ID }) {
			return failure("Das Netzwerk hat aktive Endpunkte. ")
		}
		w.networks = slices.Delete(w.networks, i, i+1)
		return success(n)
	case "DELETE endpoints":
		i := slices.IndexFunc(w.endpoints, func(e *endpoint) bool { return strings.EqualFold(e.ID, id) })
		if i < 0 {
			return failure(elementNotFound)
		}
		e := w.endpoints[i]
		w.endpoints = slices.Delete(w.endpoints, i, i+1)
		return success(e)
	}
	return failure("%s %s?", method, path)
}

func show[T any](all []*T, id string, of func(*T) string) string {
	if id == "" {
		return success(append([]*T{}, all...))
	}
	for _, v := range all {
		if strings.EqualFold(of(v), id) {
			return success(v)
		}
	}
	return failure(elementNotFound)
}

func (w *Windows) createNetwork(object string) string {
	n := &network{State: 1, Version: 38654705667}
	if err := json.Unmarshal([]byte(object), n); err != nil {
		return failure("%v", err)
	}
	for _, other := range w.networks {
		if other.Name == n.Name || n.NetworkAdapterName != "" && other.NetworkAdapterName == n.NetworkAdapterName {
			return failure("Das Objekt ist bereits vorhanden. ")
		}
	}
	n.ID, n.index = newID(), 1000+len(w.calls)
	w.networks = append(w.networks, n)
	return success(n)
}

func (w *Windows) createEndpoint(object string) string {
	e := &endpoint{State: 1}
	if err := json.Unmarshal([]byte(object), e); err != nil {
		return failure("%v", err)
	}
	i := slices.IndexFunc(w.networks, func(n *network) bool { return n.Name == e.VirtualNetworkName })
	if i < 0 {
		return failure(elementNotFound)
	}
	if slices.ContainsFunc(w.endpoints, func(other *endpoint) bool { return other.Name == e.Name }) {
		return failure("Das Objekt ist bereits vorhanden. ")
	}
	n := w.networks[i]
	e.ID, e.VirtualNetwork, e.Type = newID(), n.ID, n.Type
	subnet := netip.MustParsePrefix(n.Subnets[0].AddressPrefix)
	if e.IPAddress == "" {
		ip := subnet.Addr().Next()
		for range 8 + len(w.calls)%200 {
			ip = ip.Next()
		}
		e.IPAddress, e.PrefixLength = ip.String(), subnet.Bits()
	}
	e.GatewayAddress = n.Subnets[0].GatewayAddress
	if e.MacAddress == "" {
		e.MacAddress = fmt.Sprintf("00-15-5D-01-02-%02X", len(w.calls)%256)
	}
	e.MacAddress = strings.ToUpper(strings.ReplaceAll(e.MacAddress, ":", "-"))
	w.endpoints = append(w.endpoints, e)
	return success(e)
}

// modify is a call of HCS that puts an endpoint into a container, or takes it out.
func (w *Windows) modify(system, configuration string) string {
	var r struct{ ResourceType, Settings, RequestType string }
	if err := json.Unmarshal([]byte(configuration), &r); err != nil {
		return ""
	}
	for _, e := range w.endpoints {
		if !strings.EqualFold(e.ID, r.Settings) {
			continue
		}
		e.SharedContainers = slices.DeleteFunc(e.SharedContainers, func(id string) bool { return id == system })
		if r.RequestType == "Add" {
			e.SharedContainers = append(e.SharedContainers, system)
		}
	}
	return ""
}

// hcn is a call of HCN about namespaces, which are all that is used of it.
func (w *Windows) hcn(what, a, b string) (uint32, string) {
	id := strings.ToUpper(a)
	in, there := w.namespaces[id]
	switch what {
	case "HCN enumerate namespace":
		var query, filter struct{ Filter, ID string }
		_ = json.Unmarshal([]byte(a), &query)
		_ = json.Unmarshal([]byte(query.Filter), &filter)
		list := []string{}
		for id := range w.namespaces {
			if filter.ID == "" || strings.EqualFold(filter.ID, id) {
				list = append(list, id)
			}
		}
		text, err := json.Marshal(list)
		if err != nil {
			panic(err)
		}
		return ok, string(text)
	case "HCN create namespace":
		id := newID()
		w.namespaces[id] = nil
		return ok, id
	}
	if !there {
		return hcnNotFound, `{"Success":false,"Error":"Der Namespace wurde nicht gefunden. ","ErrorCode":2151350278}`
	}
	switch what {
	case "HCN open namespace":
		return ok, ""
	case "HCN query namespace":
		resources := []any{}
		for _, e := range in {
			resources = append(resources, map[string]any{"Type": "Endpoint", "Data": map[string]string{"Id": e}})
		}
		text, err := json.Marshal(map[string]any{"ID": id, "NamespaceId": 3, "Type": "HostDefault", "Resources": resources,
			"SchemaVersion": map[string]int{"Major": 2, "Minor": 0}})
		if err != nil {
			panic(err)
		}
		return ok, string(text)
	case "HCN modify namespace":
		var r struct {
			RequestType string
			Settings    struct{ EndpointId string }
		}
		if err := json.Unmarshal([]byte(b), &r); err != nil {
			return hcnNotFound, err.Error()
		}
		in = slices.DeleteFunc(in, func(e string) bool { return strings.EqualFold(e, r.Settings.EndpointId) })
		if r.RequestType == "Add" {
			in = append(in, r.Settings.EndpointId)
		}
		w.namespaces[id] = in
		return ok, ""
	case "HCN delete namespace":
		delete(w.namespaces, id)
		return ok, ""
	}
	return notKnown, ""
}
