package windows

import (
	"io"
	"net"
	"strings"
	"testing"
)

// TestTraffic: the counters of an adapter grow with what goes through it.
func TestTraffic(t *testing.T) {
	if n, err := Traffic("vEthernet (taskbr061f2e3d4c5b-ep-gone)"); err == nil || !strings.Contains(err.Error(), "taskbr061f2e3d4c5b-ep-gone") {
		t.Errorf("an adapter that is not there: %+v %v", n, err)
	}
	all, err := net.Interfaces()
	if err != nil {
		t.Fatal(err)
	}
	for _, i := range all {
		before, err := Traffic(i.Name)
		if err != nil {
			t.Fatalf("%s: %v", i.Name, err)
		}
		if i.Flags&net.FlagLoopback == 0 {
			continue
		}
		const size = 1 << 16
		send(t, size)
		after, err := Traffic(i.Name)
		if err != nil {
			t.Fatal(err)
		}
		if after.TxBytes == 0 && before.TxBytes == 0 {
			t.Skip("this Windows does not count what stays on the host")
		}
		if after.TxBytes < before.TxBytes+size || after.RxBytes < before.RxBytes+size || after.TxPackets == before.TxPackets {
			t.Errorf("%s: %+v, then %+v", i.Name, before, after)
		}
	}
}

// send sends so many bytes from this host to itself.
func send(t *testing.T, size int) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	sent := make(chan error, 1)
	go func() {
		c, err := net.Dial("tcp", l.Addr().String())
		if err == nil {
			_, err = c.Write(make([]byte, size))
			_ = c.Close()
		}
		sent <- err
	}()
	c, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if n, err := io.Copy(io.Discard, c); err != nil || n != int64(size) {
		t.Errorf("%d bytes: %v", n, err)
	}
	if err := <-sent; err != nil {
		t.Fatal(err)
	}
}
