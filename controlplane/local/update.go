package local

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"

	"ecsagent/controlplane/wire"
)

// updatePath is where agents get their update.
const updatePath = "/_local/agent-update.tar"

// agentUpdate describes the update of now: the file may be another one each time.
func (s *Server) agentUpdate() (u wire.Update, err error) {
	f, err := os.Open(s.options.AgentUpdate)
	if err != nil {
		return u, fmt.Errorf("read the agent's update: %w", err)
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	sum := sha256.New()
	if _, err := io.Copy(sum, f); err != nil {
		return u, fmt.Errorf("read the agent's update: %w", err)
	}
	return wire.Update{Location: s.url + updatePath, Signature: hex.EncodeToString(sum.Sum(nil))}, nil
}
