//go:build linux

package main

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"os"
	"strings"
	"time"
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
	ports, err := listeners()
	for name, port := range ports {
		way, _, _ := strings.Cut(name, "-")
		l, e := net.Listen("tcp", fmt.Sprintf(":%d", port))
		if err = errors.Join(err, e); e == nil {
			go serve(l.(*net.TCPListener), way)
		}
	}
	return err
}

// listeners are the ports that the agent chose, by the listeners' names: those of
// "ingress-…" lead to the application, those of "service-…" are answered here.
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
