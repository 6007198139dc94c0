// Package audit writes the credential audit log (docs/spec/04 section 2.9): who asked
// for which task's credentials, when, and what came of it.
package audit
