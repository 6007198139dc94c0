package hostrules

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"
)

// groupNFTables is the multicast group of changes to nftables, iptables' among them
// where it stands on nftables (NFNLGRP_NFTABLES).
const groupNFTables = 7

// Watch calls changed after changes to nftables that may concern rules of ours, until
// ctx ends. What Docker does for a container it starts does not: that stands in chains
// of Docker's own. netns is a namespace's file descriptor, 0 for this one.
func Watch(ctx context.Context, netns int, changed func()) error {
	conn, err := netlink.Dial(unix.NETLINK_NETFILTER, &netlink.Config{NetNS: netns})
	if err != nil {
		return fmt.Errorf("watch nftables: %w", err)
	}
	defer conn.Close()
	if err := conn.JoinGroup(groupNFTables); err != nil {
		return fmt.Errorf("watch nftables: %w", err)
	}
	stop := context.AfterFunc(ctx, func() { _ = conn.Close() })
	defer stop()
	for {
		messages, err := conn.Receive()
		switch {
		case ctx.Err() != nil:
			return nil
		case errors.Is(err, unix.ENOBUFS): // too many at once: some are lost
			changed()
			continue
		case err != nil:
			return fmt.Errorf("watch nftables: %w", err)
		}
		for _, m := range messages {
			if concerns(uint16(m.Header.Type), m.Data) {
				changed()
				break
			}
		}
	}
}

// concerns reports whether a message of nftables tells of a change that may have
// undone rules of ours: something deleted, or a chain made, where we have rules.
func concerns(kind uint16, data []byte) bool {
	if kind>>8 != unix.NFNL_SUBSYS_NFTABLES {
		return false
	}
	const header = 4 // struct nfgenmsg
	attributes := map[uint16]string{}
	for b := data[min(header, len(data)):]; len(b) >= 4; {
		size := int(binary.NativeEndian.Uint16(b))
		if size < 4 || size > len(b) {
			break
		}
		if t := binary.NativeEndian.Uint16(b[2:]) &^ (unix.NLA_F_NESTED | unix.NLA_F_NET_BYTEORDER); t <= unix.NFTA_CHAIN_NAME {
			attributes[t] = unix.ByteSliceToString(b[4:size])
		}
		b = b[min(len(b), (size+3)&^3):]
	}
	const name = 1 // NFTA_TABLE_NAME, NFTA_CHAIN_TABLE and NFTA_RULE_TABLE
	table := attributes[name]
	switch kind & 0xff {
	case unix.NFT_MSG_DELTABLE:
		return true
	case unix.NFT_MSG_NEWCHAIN, unix.NFT_MSG_DELCHAIN:
		// A chain of the host's may have come to drop.
		return table == TableName || !ofNobody(attributes[unix.NFTA_CHAIN_NAME])
	case unix.NFT_MSG_DELRULE:
		chain := attributes[unix.NFTA_RULE_CHAIN]
		return table == TableName || !ofNobody(chain) && (table != string(NAT) || chain != string(Postrouting))
	case unix.NFT_MSG_NEWRULE:
		return table == TableName
	}
	return false
}

// ofNobody reports whether a chain is one that Docker makes for its own rules.
func ofNobody(chain string) bool {
	return len(chain) >= len("DOCKER") && chain[:len("DOCKER")] == "DOCKER"
}
