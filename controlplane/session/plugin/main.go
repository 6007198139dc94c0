package plugin

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
)

// Name is the program that the AWS CLI calls.
const Name = "session-manager-plugin"

// Main is the program of that name. The AWS CLI calls it without arguments to see whether
// it is there, and then with the session, the region, the operation, the profile, the
// request and the endpoint, of which only the session matters here.
func Main(ctx context.Context, in *os.File, out, errOut io.Writer, version string, args []string) int {
	if len(args) == 0 {
		fmt.Fprintln(out, "\nThe Session Manager plugin of ecs-local is there. Use the AWS CLI to start a session.")
		return 0
	}
	if args[0] == "--version" {
		fmt.Fprintln(out, version)
		return 0
	}
	var s Session
	if err := json.Unmarshal([]byte(args[0]), &s); err != nil || s.SessionID == "" || s.StreamURL == "" || s.TokenValue == "" {
		fmt.Fprintf(errOut, "%s: the first argument is no session: want JSON with sessionId, streamUrl and tokenValue\n", Name)
		return 2
	}
	fmt.Fprintf(out, "\nStarting session with SessionId: %s\n", s.SessionID)
	result, err := Run(ctx, Options{Session: s, In: in, Out: out, Version: version})
	if err != nil {
		fmt.Fprintf(errOut, "%s: %v\n", Name, err)
		return 1
	}
	if result.Output != "" {
		fmt.Fprintf(out, "\n\nSessionId: %s : %s\n\n", s.SessionID, result.Output)
	} else {
		fmt.Fprintf(out, "\n\nExiting session with sessionId: %s.\n\n", s.SessionID)
	}
	return 0
}
