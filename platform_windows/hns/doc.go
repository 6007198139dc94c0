// Package hns is the host networking service of Windows, as vpc-eni needs it: networks
// and endpoints through version 1 of its API, which knows Docker's containers, and
// namespaces through version 2 (docs/spec/05 section 5.12). It calls and does not decide.
package hns
