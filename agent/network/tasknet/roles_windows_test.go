package tasknet

// A job ends with its plugin, whatever that has left.
var roles = []string{"hanging", "leaving"}
