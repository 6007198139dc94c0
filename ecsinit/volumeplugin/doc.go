// Package volumeplugin is the volume plugin of Docker that mounts file systems of EFS on
// the host with the helpers of amazon-efs-utils (docs/spec/03 section 5.10).
//
//	dockerd ──HTTP on a unix socket──▶ Driver ──▶ mount -t efs … <folder of the volume>
//	                                     │
//	                                     └──▶ state file: volumes, and who uses them
//
// A volume is mounted for the first container that uses it and unmounted after the last.
// What is written comes before what is answered, so that a plugin that was killed goes on
// where it was: at the start the file is compared with what the kernel shows. A volume
// that hangs keeps nobody from another.
package volumeplugin
