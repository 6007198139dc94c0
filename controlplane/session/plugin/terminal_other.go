//go:build !linux

package plugin

import (
	"errors"
	"os"

	"ecsagent/controlplane/session"
)

// terminal passes lines on as they are typed.
type terminal struct{}

func openTerminal(*os.File) *terminal { return &terminal{} }

func (*terminal) raw() (func(), error) { return nil, errors.New("terminals are handled on Linux only") }

func (*terminal) size() (session.Size, bool) { return session.Size{}, false }

func (*terminal) changes() (<-chan os.Signal, func()) { return nil, func() {} }

func (*terminal) signals() (<-chan os.Signal, func()) { return nil, func() {} }

func keyOf(os.Signal) byte { return 3 }
