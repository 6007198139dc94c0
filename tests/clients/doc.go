// Clients is a program of other people's code: it reads a task's metadata and stats as
// they are read in the field, by OpenTelemetry's ECS receiver and resource detector and by
// Telegraf's ecs input, all at once, and prints what each of them made of it. It is a
// module of its own so that nothing it needs reaches the product; tests/e2e builds it and
// runs it in a container of a real task.
//
// Each client knows from its environment alone where to ask.
package main
