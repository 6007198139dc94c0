// Package config finds out how the agent is to behave on this machine.
//
// Everything it knows about a setting stands in one table (Settings): the name of
// the variable, the member of the JSON file, the form of the value, the default on
// each operating system, the bounds, what it is for. The table makes the parser
// (Load), the check (Check), the listing (Show) and the reference page
// (docs/configuration.md).
//
// Values come from these sources, highest first (docs/spec/03 sections 1.1 and
// 5.11.2):
//
//	command line flags
//	process environment
//	/etc/ecs/ecs.config            ECS_CONFIG_FILE
//	/var/lib/ecs/ecs.config        ECS_INSTANCE_CONFIG_FILE
//	/etc/ecs/ecs.config.json       ECS_AGENT_CONFIG_FILE_PATH
//	EC2 user data                  member ECSAgentConfiguration
//	instance metadata              the region only
//	built-in defaults              per operating system
//
// For each setting the highest source that holds a well-formed value wins. A value
// that cannot be used is reported as a Finding and the next source is asked; only
// what makes it impossible to run is an error.
package config
