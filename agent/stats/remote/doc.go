// Package remote asks Docker what containers use, one call a reading. It is for
// Windows, where Docker asks the Host Compute Service.
package remote
