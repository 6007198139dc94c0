package metadata

import "net/netip"

type addr = netip.Addr

func parse(s string) netip.Addr { return netip.MustParseAddr(s) }
