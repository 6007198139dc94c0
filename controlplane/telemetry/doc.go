// Package telemetry reads what agents publish on the telemetry channel, refuses what
// AWS would refuse of it, and keeps the latest of every instance (docs/spec/01 chapter
// 4).
package telemetry
