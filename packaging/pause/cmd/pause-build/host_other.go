//go:build !windows

package main

import (
	"errors"
	"runtime"
)

// hostBuild is the build number of Windows, which this is not: the engine is elsewhere.
func hostBuild() (string, error) {
	return "", errors.New("this host has " + runtime.GOOS)
}
