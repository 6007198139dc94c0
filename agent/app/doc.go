// Package app builds the agent from its parts, in the order in which they need each
// other, and takes it apart again.
//
//	configuration -> log -> state file -> Docker -> host facts -> registration
//	                                                                |
//	   introspection, ACS, engine, reporter, attachments, updates <-+
//
// Nothing but this package knows all of them. Exit codes follow docs/spec/03 section
// 2.2, the order docs/spec/01 section 1.3.
package app
