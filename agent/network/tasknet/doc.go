// Package tasknet gives a task of network mode awsvpc its network, by running the CNI
// plugins in the namespace of the task's pause container (docs/spec/05 sections 4.3 and
// 4.4).
//
// What is run for a task is a Plan, a pure function of the task and the settings. Running
// it may be repeated after an interruption anywhere, and so may taking it down.
package tasknet
