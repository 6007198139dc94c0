// Package wire is the language of ACS: the frames, the messages in both directions
// and the tasks inside a payload (docs/spec/01 sections 2.5 to 2.9).
//
// Decoding has two levels. Decode reads the envelope and the message; the tasks of
// a payload stay raw. ParseTask then reads each task by itself, so that a broken
// one is rejected with a reason while the others go on. (The agent this one
// replaces drops the whole payload when a member anywhere has the wrong JSON type.)
//
// Member names are matched case-insensitively, unknown members are ignored, null
// means absent. Nothing in here does I/O, waits or panics on what it is given.
package wire
