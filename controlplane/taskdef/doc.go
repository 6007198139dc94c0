// Package taskdef reads, checks and completes task definitions as ECS does. Read
// takes them as people keep them: as input of register-task-definition, as output
// of describe-task-definition, with comments and trailing commas.
package taskdef
