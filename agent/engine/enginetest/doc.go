// Package enginetest has hand-written fakes of the engine's parts: a container
// runtime that lives in memory, and the store, reporter, images and ports that go
// with it. They have knobs to delay, to fail and to block.
package enginetest
