// Package firelens prepares FireLens containers, to which other containers of their task
// log (docs/spec/02 section 7.6).
//
//	DATADIR/firelens/TASK/config/fluent.conf    what Fluentd or Fluent Bit is to do
//	                      config/external.conf  the part that is the task's own, from S3
//	                      socket/               where the container makes its socket
//
// The files are mounted into the FireLens container, the folder of the socket too; Docker
// sends the others' output to the socket. Nothing is written or removed outside the
// task's folder, which is removed with the task.
//
// What the other containers get is pure, and in package dockerspec: the log driver that
// Docker really has, and where the FireLens container listens.
package firelens
