// Package logging makes the agent's logger: zap behind, the record formats, levels,
// files and rotation of docs/spec/03 chapter 3 in front.
//
//	logger ──┬── console      level of ECS_LOGLEVEL, logfmt or JSON
//	         ├── log file     level of ECS_LOGLEVEL_ON_INSTANCE, rotated
//	         └── event log    Windows: message and fields, level of ECS_LOGLEVEL
//
// A destination that fails is reported on stderr once and never stops the agent.
package logging
