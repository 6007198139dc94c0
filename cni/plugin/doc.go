// Package plugin is what all of the ECS CNI plugins have in common: how they are
// called, what they say about themselves, how they refuse a configuration and where
// they log (docs/spec/05 section 4.1).
package plugin
