package config

import (
	"strings"

	"github.com/agnivade/levenshtein"
)

// suggest returns the known name closest to an unknown one, or "" when none is
// close: a third of the name may differ, three letters at most.
func suggest(name string, known []string) string {
	upper := strings.ToUpper(name)
	best, bestDistance := "", min(3, len(name)/3)+1
	for _, k := range known {
		if d := len(k) - len(name); d >= bestDistance || -d >= bestDistance {
			continue
		}
		if d := levenshtein.ComputeDistance(upper, strings.ToUpper(k)); d < bestDistance {
			best, bestDistance = k, d
		}
	}
	return best
}
