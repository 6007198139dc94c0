// Package ipam is the plugin ecs-ipam: it hands out the addresses that tasks have on the
// host's bridge (docs/spec/05 section 4.10).
//
// What is given is in one small bbolt file of the layout that the official plugin uses,
// so that each reads what the other wrote. The file is under a lock for as long as a
// call lasts. It says nothing that the namespaces of the running tasks do not say too: a
// file that is missing or damaged is made anew from what the kernel shows.
package ipam
