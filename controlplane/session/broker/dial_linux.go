package broker

import (
	"context"
	"fmt"
	"net"
	"path/filepath"
	"strconv"

	"golang.org/x/sys/unix"

	"ecsagent/controlplane/session"
)

// dial connects to the agent whose socket is in a folder. The container writes in that
// folder: what is in the socket's place must be one, and no link to another.
func dial(ctx context.Context, folder string) (net.Conn, error) {
	path := filepath.Join(folder, session.SocketName)
	fd, err := unix.Open(path, unix.O_PATH|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("open %s: %w", path, err)
	}
	defer unix.Close(fd)
	var info unix.Stat_t
	if err := unix.Fstat(fd, &info); err != nil {
		return nil, fmt.Errorf("look at %s: %w", path, err)
	}
	if info.Mode&unix.S_IFMT != unix.S_IFSOCK {
		return nil, fmt.Errorf("%s is no socket", path)
	}
	// By the descriptor, for a socket's path may have a hundred bytes only.
	var d net.Dialer
	return d.DialContext(ctx, "unix", "/proc/self/fd/"+strconv.Itoa(fd))
}
