package hostrules

import "errors"

// Backend is how packet rules are made.
type Backend string

// The backends. Auto finds out what the host uses.
const (
	Auto     Backend = "auto"
	NFT      Backend = "nftables"
	IPT      Backend = "iptables"
	IPLegacy Backend = "iptables-legacy"
)

// Facts are what decides about the backend.
type Facts struct {
	IPTables       bool // the program exists
	IPTablesLegacy bool // iptables-legacy exists beside it
	NFTables       bool // the kernel answers over netlink
	// KernelRules is whether somebody made rules with iptables that stand in
	// nftables, LegacyRules in the kernel's older tables.
	KernelRules, LegacyRules bool
}

// ErrNoBackend is returned where there is no way to make packet rules.
var ErrNoBackend = errors.New("the kernel has no nftables and there is no iptables")

// Choose returns the backend that fits what the host uses: iptables where somebody
// made rules with it, Docker for example, since two kinds of rules on one host are one
// too many for those who look after it; else nftables.
func Choose(f Facts) (Backend, error) {
	switch {
	case !f.IPTables && !f.NFTables:
		return "", ErrNoBackend
	case !f.IPTables:
		return NFT, nil
	case f.LegacyRules && !f.KernelRules && f.IPTablesLegacy:
		return IPLegacy, nil
	case !f.NFTables, f.LegacyRules, f.KernelRules:
		return IPT, nil
	default:
		return NFT, nil
	}
}
