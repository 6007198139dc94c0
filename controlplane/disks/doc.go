// Package disks stands in for EBS: volumes are sparse files of a folder, each behind a loop
// device of this machine while it is attached. Linux only, as root.
//
//	ID.img                     a volume that a task has
//	kept/ID.img                one that outlives its task
//	sys/block/LOOP/serial      what the kernel would say of a disk of EBS: its volume's id
//
// Loop devices have no serial numbers, so whoever looks for a volume is given sys in the
// place of the kernel's /sys: `ecs-init volume-plugin --sys FOLDER/sys`.
package disks

import "path/filepath"

// Sys is where disks are to be looked for, in the place of /sys.
func Sys(dir string) string { return filepath.Join(dir, "sys") }
