// Package execcmd puts into containers what ECS Exec needs: the SSM agent's programs, its
// configuration, certificates and a folder for its logs (docs/spec/02 section 10.1). What
// starts the agent and watches over it is the engine.
//
//	<dir>/bin/<version>/{amazon-ssm-agent,ssm-agent-worker,ssm-session-worker}
//	<dir>/certs/tls-ca-bundle.pem
//	<dir>/config/...                     written here, named by what is in it
//	<logs>/<task>/<container>/           made here, and removed with the task
//
// A container that asks for an exec agent runs whether it gets one or not: what is missing
// is told to ECS as the reason of the managed agent.
package execcmd
