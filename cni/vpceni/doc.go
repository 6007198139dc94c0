// Package vpceni is the plugin vpc-eni, and ecs-eni, its older name: it moves an elastic
// network interface into a task (docs/spec/05 sections 4.6 and 4.7).
//
// ADD may be called again after it was interrupted anywhere: an interface that is in the
// task's namespace already is brought into shape there. DEL gives back whatever of the
// interface is in the namespace, and succeeds when nothing is.
//
// On Windows package vswitch does the work.
package vpceni
