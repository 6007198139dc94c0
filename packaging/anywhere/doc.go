// Package anywhere tests the script that makes a host an external container instance.
package anywhere
