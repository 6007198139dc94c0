//go:build linux

// Meshproxy stands in for Envoy in a task: it listens where packet rules lead connections,
// prints where each was bound for, and passes it on. Started with "health" it says whether
// the one that serves is at work.
//
//	meshproxy serve INGRESS EGRESS    ports; a connection that comes to INGRESS goes on to
//	                                  its port on loopback, one to EGRESS to where it was bound
//	meshproxy health INGRESS
//	meshproxy appnet                as the image of Service Connect's proxies and relay: what it
//	                                is to do is in its variables (docs/spec/05 sections 6.4, 6.5)
//	meshproxy appnet-health
package main

import (
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"os/signal"
	"strconv"
	"sync"
	"syscall"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

func main() {
	if err := run(os.Args[1:]); err != nil {
		panic(err) // the container's exit code tells that it is not at work
	}
}

func run(args []string) error {
	switch {
	case len(args) == 2 && args[0] == "health":
		c, err := net.DialTimeout("tcp", "127.0.0.1:"+args[1], time.Minute)
		if err != nil {
			return err
		}
		return c.Close()
	case len(args) == 1 && args[0] == "appnet-health":
		return healthy()
	case len(args) == 1 && args[0] == "appnet":
		if err := appnet(); err != nil {
			return err
		}
		return lasting()
	case len(args) == 3 && args[0] == "serve":
	default:
		return errors.New("want serve INGRESS EGRESS, or health INGRESS")
	}
	for i, way := range []string{"ingress", "egress"} {
		l, err := net.Listen("tcp", ":"+args[1+i])
		if err != nil {
			return err
		}
		go listener{way: way}.serve(l.(*net.TCPListener))
	}
	return lasting()
}

// lasting returns when the process is told to end.
func lasting() error {
	ended := make(chan os.Signal, 1)
	signal.Notify(ended, syscall.SIGTERM, os.Interrupt)
	<-ended
	return nil
}

// listener is what is done with the connections to a port.
type listener struct {
	way         string // ingress, egress or service
	transparent bool   // the connection's own address is where it was bound for
	to          string // where one goes on to, in the place of loopback
}

func (o listener) serve(l *net.TCPListener) {
	own := l.Addr().(*net.TCPAddr).Port
	for {
		c, err := l.AcceptTCP()
		if err != nil {
			panic(err)
		}
		go func() {
			defer c.Close()
			to, err := c.LocalAddr().(*net.TCPAddr).AddrPort(), error(nil)
			if o.to == "" && !o.transparent {
				to, err = bound(c)
			}
			if err != nil {
				fmt.Fprintln(os.Stderr, "meshproxy:", err)
				return
			}
			from := c.RemoteAddr().(*net.TCPAddr).IP
			if int(to.Port()) == own && (o.to == "" || from.IsLoopback()) {
				return // the health check
			}
			to = netip.AddrPortFrom(to.Addr().Unmap(), to.Port())
			fmt.Printf("%s %s\n", o.way, to)
			if o.way == "service" {
				answer(c, to)
				return
			}
			next := to.String()
			switch {
			case o.to != "":
				next = o.to
			case o.way == "ingress":
				next = net.JoinHostPort("127.0.0.1", strconv.Itoa(int(to.Port())))
			}
			on, err := net.Dial("tcp", next)
			if err != nil {
				fmt.Fprintln(os.Stderr, "meshproxy:", err)
				return
			}
			defer on.Close()
			join(c, on.(*net.TCPConn))
		}()
	}
}

// bound is where a connection was bound for before the kernel redirected it.
func bound(c *net.TCPConn) (to netip.AddrPort, err error) {
	raw, err := c.SyscallConn()
	if err != nil {
		return to, err
	}
	const originalDestination = 80 // SO_ORIGINAL_DST, IP6T_SO_ORIGINAL_DST
	v6 := c.LocalAddr().(*net.TCPAddr).IP.To4() == nil
	fails := raw.Control(func(fd uintptr) {
		if v6 {
			var a unix.RawSockaddrInet6
			if err = get(fd, unix.SOL_IPV6, originalDestination, unsafe.Pointer(&a), unsafe.Sizeof(a)); err == nil {
				to = netip.AddrPortFrom(netip.AddrFrom16(a.Addr), bigEndian(a.Port))
			}
			return
		}
		var a unix.RawSockaddrInet4
		if err = get(fd, unix.SOL_IP, originalDestination, unsafe.Pointer(&a), unsafe.Sizeof(a)); err == nil {
			to = netip.AddrPortFrom(netip.AddrFrom4(a.Addr), bigEndian(a.Port))
		}
	})
	return to, errors.Join(fails, err)
}

func get(fd, level, option uintptr, value unsafe.Pointer, size uintptr) error {
	length := uint32(size)
	if _, _, errno := unix.Syscall6(unix.SYS_GETSOCKOPT, fd, level, option, uintptr(value), uintptr(unsafe.Pointer(&length)), 0); errno != 0 {
		return fmt.Errorf("ask where a connection was bound for: %w", errno)
	}
	return nil
}

// bigEndian is a port in the order of the network.
func bigEndian(p uint16) uint16 {
	b := (*[2]byte)(unsafe.Pointer(&p))
	return uint16(b[0])<<8 | uint16(b[1])
}

// join passes both ways on until each has ended.
func join(a, b *net.TCPConn) {
	var both sync.WaitGroup
	pass := func(to, from *net.TCPConn) {
		_, _ = io.Copy(to, from) // ends with either side, whatever the reason
		_ = to.CloseWrite()
	}
	both.Go(func() { pass(a, b) })
	both.Go(func() { pass(b, a) })
	both.Wait()
}
