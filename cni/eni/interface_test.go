package eni

import (
	"net"
	"testing"
)

func TestHostName(t *testing.T) {
	for mac, want := range map[string]string{"06:1f:2e:3d:4c:5b": "ecs1f2e3d4c5b", "06:00:00:00:00:01": "ecs0000000001"} {
		hw, err := net.ParseMAC(mac)
		if err != nil {
			t.Fatal(err)
		}
		if got := HostName(hw); got != want || len(got) > 14 {
			t.Errorf("%s: got %s; want %s", mac, got, want)
		}
	}
	if got := HostName(nil); got != "ecs" {
		t.Error(got)
	}
}
