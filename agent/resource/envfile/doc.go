// Package envfile fetches environment files of containers from S3 (docs/spec/02 section
// 7.5).
//
//	DATADIR/envfiles/CLUSTER/TASK/BUCKET/KEY
//
// Files are kept in the folder of their task until the task is cleaned up. Nothing is
// written or removed outside it, whatever a bucket or key is called.
package envfile
