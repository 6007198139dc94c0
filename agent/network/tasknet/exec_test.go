package tasknet

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"
)

// roleVariable makes the tests' own program a plugin: "ROLE ADDRESS", where the test listens.
const roleVariable = "TASKNET_TEST_ROLE"

// play is a plugin that starts a child and hangs, or ends; the child tells the test that it
// is there, and stays.
func play(role string) {
	name, address, _ := strings.Cut(role, " ")
	if name == "child" {
		c, err := net.Dial("tcp", address)
		if err != nil {
			os.Exit(1)
		}
		fmt.Fprintln(c, "here")
		fmt.Println("connected")
		_, _ = io.Copy(io.Discard, c) // the test says nothing
		return
	}
	_, _ = io.Copy(io.Discard, os.Stdin) // the configuration
	child := exec.Command(os.Args[0])
	child.Env = append(os.Environ(), roleVariable+"=child "+address)
	in, err := child.StdoutPipe()
	if err == nil {
		err = child.Start()
	}
	if err == nil {
		_, err = bufio.NewReader(in).ReadString('\n') // it is connected
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	if name == "hanging" {
		_ = child.Wait()
		return
	}
	fmt.Println("{}")
}

// TestChildrenEnd: a plugin that hangs is ended with what it has started, whose connection
// breaks then.
func TestChildrenEnd(t *testing.T) {
	const patience = 2 * time.Minute
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	if err := l.(*net.TCPListener).SetDeadline(time.Now().Add(patience)); err != nil {
		t.Fatal(err)
	}
	for _, role := range roles {
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan error, 1)
		go func() {
			_, err := NewExec(nil).ExecPlugin(ctx, self, []byte("{}"), append(os.Environ(), roleVariable+"="+role+" "+l.Addr().String()))
			ended <- err
		}()
		c, err := l.Accept()
		if err != nil {
			cancel()
			t.Fatalf("%s: %v; the plugin: %v", role, err, <-ended)
		}
		if err := c.SetDeadline(time.Now().Add(patience)); err != nil {
			t.Fatal(err)
		}
		in := bufio.NewReader(c)
		if line, err := in.ReadString('\n'); err != nil || line != "here\n" {
			t.Errorf("%s: %q %v", role, line, err)
		}
		if role == "hanging" {
			cancel()
		}
		if err := <-ended; (err != nil) != (role == "hanging") {
			t.Errorf("%s: ended with %v", role, err)
		}
		if _, err := in.ReadByte(); err == nil || os.IsTimeout(err) {
			t.Errorf("%s: its child goes on: %v", role, err)
		}
		cancel()
		c.Close()
	}
}
