package tasknet

var roles = []string{"hanging"}
