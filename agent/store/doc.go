// Package store keeps what must outlive the agent's process: tasks, what ECS has
// accepted of them, the instance's identity and the latest sequence number.
//
// It is one bbolt file in the data directory, its journal, and a copy of the instance's
// identity:
//
//	ecs-agent.db
//	├── meta                 schema, sequence-number, container-instance-arn,
//	│                        cluster-name, journal (whose entries follow), ... text
//	├── task-spec            task ARN -> task.Spec                          JSON, written once
//	├── task-state           task ARN -> task.State                         JSON
//	├── task-sent            task ARN -> task.Sent                          JSON
//	├── attachment           key (MAC or volume id) -> attachment record    JSON
//	├── image                image id -> account of the image               JSON
//	├── usage                container id -> what it used before a restart  JSON
//	└── set-aside            <bucket>/<key>/<time> -> a record that could not be read
//	ecs-agent.db-journal     what was written since and is not in that file yet
//	ecs-agent-identity.json  instance, cluster, EC2 instance
//	ecs-agent.db.unreadable-<time>   a file that was damaged, as it was found
//	ecs-agent.db.former-<time>       the file of an instance that is no more
//
// Writes are grouped: while some are being synced to disk the next ones gather, and are
// then made durable together, so that fifty tasks that change at once cost a few syncs
// and not fifty. A write that changes nothing touches no disk.
//
// A group becomes an entry of the journal, for one synced write instead of the several
// writes and two syncs of a transaction. It is kept in memory too, over what the file
// holds, until a transaction takes all of it into the file: when the journal is full, or
// takes no writes, when the store is closed, and when it is opened. The same transaction
// names another run of the journal, so that no entry is used twice.
//
// Nothing that the file holds stops the agent. Before bbolt sees it, survey reads every
// page: a damaged file is kept aside, a new one is made of the records that can still be
// reached, and the engine rebuilds the tasks that are missing from the labels of their
// containers. A disk that is full or takes no writes makes writes fail, each with an
// error that is logged, and nothing else; they succeed again when it does.
//
// The file has a schema number, and steps (schema.go) that bring older files to it. A
// file of each schema is in testdata.
//
// The file name differs from that of the agent this one replaces, so that neither
// reads the other's file. docs/spec/02 chapter 9, docs/spec/01 section 3.9.
package store
