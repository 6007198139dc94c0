// Package windows holds what comes with the agent on Windows; its tests read the scripts
// there, as far as that goes without PowerShell.
package windows
