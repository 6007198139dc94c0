// Package switchnet gives a task of network mode awsvpc its network on Windows: the plugin
// vpc-eni.exe puts an adapter of the task's interface and one of Docker's network nat into
// the pause container, which then gets its routes, and into each container of the task
// once it has started (docs/spec/05 chapter 5).
//
// What the plugin and the container are told is a pure function of the task and the
// settings. Each call may be repeated after an interruption anywhere.
package switchnet
