// Package appmesh is the plugin aws-appmesh: it sends a task's traffic through the
// task's App Mesh proxy (docs/spec/05 section 4.11).
package appmesh
