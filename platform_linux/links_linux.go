package linux

import (
	"context"
	"errors"
	"fmt"
	"net"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"ecsagent/agent/network"
)

// Links are the host's network interfaces, through rtnetlink (docs/spec/05 section 2.6).
type Links struct{}

var _ network.Links = Links{}

// List implements network.Links. A list that changed while the kernel wrote it is asked
// for anew.
func (Links) List(ctx context.Context) ([]network.Link, error) {
	for {
		all, err := netlink.LinkList()
		if errors.Is(err, netlink.ErrDumpInterrupted) && ctx.Err() == nil {
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("list network interfaces: %w", err)
		}
		links := make([]network.Link, 0, len(all))
		for _, l := range all {
			links = append(links, link(l))
		}
		return links, nil
	}
}

// Watch implements network.Links.
func (Links) Watch(ctx context.Context, ready func(), changed func(network.Change)) error {
	updates := make(chan netlink.LinkUpdate, 64)
	done := make(chan struct{})
	failed := make(chan error, 1)
	err := netlink.LinkSubscribeWithOptions(updates, done, netlink.LinkSubscribeOptions{
		ErrorCallback: func(err error) {
			select {
			case failed <- err:
			default:
			}
		},
	})
	if err != nil {
		return fmt.Errorf("watch network interfaces: %w", err)
	}
	// The library's goroutine ends when its socket is closed; until then it may wait to
	// deliver.
	defer func() {
		close(done)
		for range updates {
		}
	}()
	ready()
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case u, open := <-updates:
			if !open {
				select {
				case err = <-failed:
				default:
					err = errors.New("the socket was closed")
				}
				return fmt.Errorf("watch network interfaces: %w", err)
			}
			changed(network.Change{Link: link(u.Link), Gone: u.Header.Type == unix.RTM_DELLINK})
		}
	}
}

func link(l netlink.Link) network.Link {
	a := l.Attrs()
	n := network.Link{Index: a.Index, Name: a.Name, MAC: a.HardwareAddr, Kind: l.Type(), Loopback: a.Flags&net.FlagLoopback != 0}
	// What the library calls a link without a kind.
	if n.Kind == "device" {
		n.Kind = ""
	}
	return n
}
