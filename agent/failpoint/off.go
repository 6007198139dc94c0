//go:build !failpoint

package failpoint

import "time"

// Enabled tells whether this is a test build.
const Enabled = false

// Before is passed before something is done. An error stands for its failure.
func Before(area, what string) error { return nil }

// After is passed when it has been done. An error stands for an answer that got lost.
func After(area, what string) error { return nil }

// Limit is a limit that tests shorten.
func Limit(name string, limit time.Duration) time.Duration { return limit }
