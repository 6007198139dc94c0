package linux

import (
	"context"
	"errors"
	"fmt"
	"os/exec"
	"strings"
	"time"
)

// domainLimit bounds the question: realmd is started for it.
const domainLimit = 5 * time.Second

// DomainJoined reports whether the host is in a domain, as realmd knows (docs/spec/03
// section 5.6). A host without its program is in none.
func DomainJoined(ctx context.Context) (bool, error) {
	ctx, cancel := context.WithTimeout(ctx, domainLimit)
	defer cancel()
	text, err := exec.CommandContext(ctx, "realm", "list").Output()
	if errors.Is(err, exec.ErrNotFound) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("realm list: %w", err)
	}
	return inRealm(string(text)), nil
}

// inRealm reads what realm list prints: a paragraph for each realm that the host is in.
func inRealm(text string) bool {
	for line := range strings.Lines(text) {
		if name, value, ok := strings.Cut(strings.TrimSpace(line), ":"); ok && name == "realm-name" && strings.TrimSpace(value) != "" {
			return true
		}
	}
	return false
}
