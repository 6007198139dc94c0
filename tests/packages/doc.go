// Package packages tries the packages where they are meant for: a Debian system with
// systemd as its init, in a container of a real Docker engine.
package packages
