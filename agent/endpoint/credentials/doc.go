// Package credentials serves the credentials of roles to those who hold their ids
// (docs/spec/04 sections 2.2 to 2.4), and refuses a task that asks with another task's.
package credentials
