// Package shell is the agent of the local ECS inside a container: it stands where the SSM
// agent stands with AWS, is started the same way, and runs the commands of aws ecs
// execute-command, each with a terminal of its own.
//
// It listens on a socket in the folder of its logs, which the host sees too. Each
// connection is one session: a session.Begin, and then the data channel of package session.
package shell
