// Package plugin is the client of a session in a container: it does with the terminal what
// AWS's session-manager-plugin does, and is called the same way by the AWS CLI.
package plugin
