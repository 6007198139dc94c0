// Package release decides which agent this host runs: the one of its package, or one that
// came as an update (docs/spec/01 section 2.8.7, docs/spec/03 section 5.9).
//
//	packaged ──exit 42, update is sound──▶ on trial ──ready at three looks in a row──▶ current
//	    ▲                                     │
//	    └──three failures, or ten looks───────┘ the former one is current again
//
// What is decided is on disk before it takes effect, so that it holds over crashes and
// starts of the host. Time is counted in looks, which the service manager's timer makes:
// no clock that is set meanwhile ends a trial.
package release
