package main

import (
	"errors"

	"golang.org/x/sys/windows/registry"
)

// hostBuild is the build number of this Windows.
func hostBuild() (build string, err error) {
	k, err := registry.OpenKey(registry.LOCAL_MACHINE, `SOFTWARE\Microsoft\Windows NT\CurrentVersion`, registry.QUERY_VALUE)
	if err != nil {
		return "", err
	}
	defer func() { err = errors.Join(err, k.Close()) }()
	build, _, err = k.GetStringValue("CurrentBuild")
	return build, err
}
