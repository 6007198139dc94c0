//go:build linux

package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"os"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// greeting is what the relay says to each proxy.
const greeting = "relayed"

// appnet is the relay where its variables say so, and else a proxy.
func appnet() error {
	if os.Getenv("APPNET_ENABLE_RELAY_MODE_FOR_XDS") == "1" {
		return relay()
	}
	path, ok := strings.CutPrefix(os.Getenv("APPMESH_XDS_ENDPOINT"), "unix://")
	if !ok {
		return fmt.Errorf("APPMESH_XDS_ENDPOINT=%q; want a socket", os.Getenv("APPMESH_XDS_ENDPOINT"))
	}
	said, err := ask(path)
	if err != nil {
		return err
	}
	fmt.Printf("user %d, the relay says %s\n", os.Getuid(), said)
	admin, err := net.Listen("unix", os.Getenv("APPNET_AGENT_ADMIN_UDS_PATH"))
	if err != nil {
		return err
	}
	server := &http.Server{ReadHeaderTimeout: time.Minute, Handler: http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		fmt.Println("admin", r.URL)
	})}
	go func() { fmt.Fprintln(os.Stderr, "meshproxy:", server.Serve(admin)) }()
	containers, err := addresses()
	if err != nil {
		return err
	}
	ports, err := listeners()
	for name, port := range ports {
		way, rest, _ := strings.Cut(name, "-")
		o := listener{way: way}
		config := net.ListenConfig{}
		if len(containers) > 0 {
			config.Control = transparent
			o.transparent = true
		}
		if container, at, ok := strings.Cut(rest, "-"); ok && way == "ingress" {
			o.to = net.JoinHostPort(containers[container], at)
		}
		l, e := config.Listen(context.Background(), "tcp", fmt.Sprintf(":%d", port))
		if err = errors.Join(err, e); e == nil {
			go o.serve(l.(*net.TCPListener))
		}
	}
	return err
}

// addresses are those of the task's containers, by name, where they are not in the
// proxy's network.
func addresses() (all map[string]string, err error) {
	text := os.Getenv("APPNET_CONTAINER_IP_MAPPING")
	if text == "" {
		return nil, nil
	}
	err = json.Unmarshal([]byte(text), &all)
	for name, address := range all {
		if address == "::1" {
			delete(all, name)
		}
	}
	return all, err
}

// transparent lets a listener have connections to addresses that are not the host's.
func transparent(_, _ string, c syscall.RawConn) error {
	var err error
	fails := c.Control(func(fd uintptr) { err = unix.SetsockoptInt(int(fd), unix.SOL_IP, unix.IP_TRANSPARENT, 1) })
	return errors.Join(fails, err)
}

// listeners are the ports that the agent chose, by the listeners' names: those of
// "ingress-…" lead to the application, those of "service-…" are answered here. In network
// mode bridge the application is that of "ingress-CONTAINER-PORT".
func listeners() (ports map[string]int, err error) {
	err = json.Unmarshal([]byte(os.Getenv("APPNET_LISTENER_PORT_MAPPING")), &ports)
	return ports, err
}

// ask hears the relay. It may be about to start.
func ask(path string) (string, error) {
	for deadline := time.Now().Add(time.Minute); ; {
		c, err := net.Dial("unix", path)
		if err == nil {
			said, err := io.ReadAll(c)
			return string(said), errors.Join(err, c.Close())
		}
		if time.Now().After(deadline) {
			return "", err
		}
		<-time.After(100 * time.Millisecond)
	}
}

func relay() error {
	path := os.Getenv("APPNET_RELAY_LISTENER_UDS_PATH")
	if err := os.Remove(path); err != nil && !os.IsNotExist(err) {
		return err
	}
	l, err := net.Listen("unix", path)
	if err != nil {
		return err
	}
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				panic(err)
			}
			fmt.Fprint(c, greeting)
			_ = c.Close() // the other end has what it wants, or is gone
		}
	}()
	return nil
}

// healthy asks the one that serves.
func healthy() error {
	if os.Getenv("APPNET_ENABLE_RELAY_MODE_FOR_XDS") == "1" {
		said, err := ask(os.Getenv("APPNET_RELAY_LISTENER_UDS_PATH"))
		if err == nil && said != greeting {
			err = fmt.Errorf("the relay says %q", said)
		}
		return err
	}
	ports, err := listeners()
	for _, port := range ports {
		c, e := net.DialTimeout("tcp", fmt.Sprintf("127.0.0.1:%d", port), time.Minute)
		if err = errors.Join(err, e); e == nil {
			_ = c.Close() // it was there
		}
	}
	return err
}

// answer is a service: its page is the address that was asked for.
func answer(c net.Conn, to netip.AddrPort) {
	request, err := http.ReadRequest(bufio.NewReader(c))
	if err == nil {
		_, err = fmt.Fprintf(c, "HTTP/1.0 200 OK\r\nContent-Type: text/plain\r\n\r\n%s at %s", request.Host, to)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "meshproxy:", err)
	}
}
