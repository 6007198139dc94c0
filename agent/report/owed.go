package report

// Owed returns for how many tasks there is something that ECS has not accepted yet. It
// never waits for the network or the disk.
func (r *Reporter) Owed() (n int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, o := range r.tasks {
		if len(o.pending) > 0 || !o.partial.empty() {
			n++
		}
	}
	return n
}
