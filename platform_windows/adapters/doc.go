// Package adapters lists the network adapters of a Windows host, and disables one.
package adapters
