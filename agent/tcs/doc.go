// Package tcs is the conversation in which ECS hears how its tasks and this instance
// are: the websocket session with TCS (docs/spec/01 chapter 4).
//
// Rounds are taken every 20 s, connected or not, and wait in a bounded queue; when it
// is full the oldest goes, since ECS refuses what is older than five minutes:
//
//	every 20 s ─▶ round: metrics, health ─▶ queue ─┐
//	                                               ├─▶ signed frames ─▶ TCS
//	every 20 s while connected: instance status ───┘
//
// A message is gone from the queue once it is written; one whose connection broke
// meanwhile is written again on the next.
package tcs
