// Package store keeps what must outlive the agent's process: tasks, what ECS has
// accepted of them, the instance's identity and the latest sequence number.
//
// It is one bbolt file, ecs-agent.db, in the data directory:
//
//	ecs-agent.db
//	├── meta                 schema, container-instance-arn, cluster, ...   text
//	├── task-spec            task ARN -> task.Spec                          JSON, written once
//	├── task-state           task ARN -> task.State                         JSON
//	├── task-sent            task ARN -> task.Sent                          JSON
//	├── attachment           key (MAC or volume id) -> attachment record    JSON
//	├── image                image id -> account of the image               JSON
//	└── set-aside            <bucket>/<key>/<time> -> a record that could not be read
//
// Writes are grouped: while one transaction is being synced to disk the next ones
// gather, and are then committed together, so that fifty tasks that change at once
// cost a few syncs and not fifty. A write that changes nothing touches no disk.
//
// The file name differs from that of the agent this one replaces, so that neither
// reads the other's file. docs/spec/02 chapter 9, docs/spec/01 section 3.9.
package store
