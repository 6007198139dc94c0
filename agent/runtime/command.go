package runtime

// Command is a program to run in a container that runs.
type Command struct {
	User string // empty: the container's
	Args []string
}

// Outcome is how a Command ended.
type Outcome struct {
	ExitCode int
	Output   string // of both streams, cut at a limit
}
