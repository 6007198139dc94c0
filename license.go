// Package ecsagent holds the project's licence texts, so that the agent can serve
// them from its own binary.
package ecsagent

import _ "embed"

// License, Notice and ThirdParty are the texts that /license of the introspection
// server shows (docs/spec/04 section 1.5).
var (
	//go:embed LICENSE
	License string
	//go:embed NOTICE
	Notice string
	//go:embed THIRD-PARTY
	ThirdParty string
)
