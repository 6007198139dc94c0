package config

import "fmt"

// Export gives the process the variables of the environment files that libraries
// read straight from the process environment: those of the AWS SDK and the HTTP
// stack, and names that are not the agent's own. What the process environment
// already has stays. To be called before logging, HTTP and AWS clients are made
// (docs/spec/03 section 5.11.2); setenv is os.Setenv. Files that cannot be read are
// Load's to report.
func Export(src Sources, setenv func(name, value string) error) error {
	l := newLoader(src)
	l.readEnvironment()
	done := map[string]bool{}
	user, instance := l.envFiles()
	for _, file := range []string{user.text, instance.text} {
		if file == "" {
			continue
		}
		content, err := l.src.ReadFile(file)
		if err != nil || len(content) > maxFileBytes {
			continue
		}
		list, _ := parseEnvFile(file, content)
		for _, a := range list {
			name := l.env.key(a.name)
			if done[name] || a.text == "" || l.env.get(a.name) != "" || !l.exported(a.name) {
				continue
			}
			done[name] = true
			if err := setenv(a.name, a.text); err != nil {
				return fmt.Errorf("export %s of %s: %w", a.name, a.origin, err)
			}
		}
	}
	return nil
}

// exported reports whether others than the agent read the variable.
func (l *loader) exported(name string) bool {
	s := l.byName[l.env.key(name)]
	return s == nil || s.Passthrough || s.Foreign
}
