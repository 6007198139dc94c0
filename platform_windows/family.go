// Package windows gathers the facts of a Windows host.
//
// What only decides is compiled and tested on every operating system; the calls of
// Windows are in files that only Windows compiles.
package windows

import (
	"slices"
	"strings"
)

// unknownFamily is reported when the release cannot be told.
const unknownFamily = "windows"

// releases maps builds of Windows Server to their releases (docs/spec/03 section
// 4.8).
var releases = map[string]string{
	"14393": "2016", "17763": "2019", "19041": "2004", "19042": "20H2", "20348": "2022", "26100": "2025",
}

// Family returns the value of ecs.os-family for the registry values CurrentBuild
// and InstallationType.
func Family(build, installationType string) string {
	release, known := releases[build]
	if !known {
		return unknownFamily
	}
	switch installationType {
	case "Server":
		return "WINDOWS_SERVER_" + release + "_FULL"
	case "Server Core":
		return "WINDOWS_SERVER_" + release + "_CORE"
	}
	return unknownFamily
}

// IsServer2016 reports whether a product name is the one of Windows Server 2016,
// which lacks some features.
func IsServer2016(productName string) bool {
	return strings.Contains(productName, "Windows Server 2016 Datacenter")
}

// CredentialPlugin is the COM class of the plug-in that fetches credentials for
// domainless gMSA (docs/spec/03 section 4.6).
const CredentialPlugin = "{859E1386-BDB4-49E8-85C7-3070B13920E1}"

// hasCredentialPlugin looks for CredentialPlugin among registry subkeys.
func hasCredentialPlugin(subkeys []string) bool {
	return slices.ContainsFunc(subkeys, func(k string) bool { return strings.EqualFold(k, CredentialPlugin) })
}
