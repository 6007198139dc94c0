package tasknet

import (
	"errors"
	"fmt"
	"os/exec"
	"syscall"
	"unsafe"

	"golang.org/x/sys/windows"
)

// runWhole runs a plugin in a job of its own, which ends with it, with the context and with
// this process: what the plugin has started never goes on and changes the network of a task
// that is long gone. A plugin reads its configuration before it starts anything, which is
// after it has come into its job. It is kept from a console, which a service has none of to
// share: what makes one would hold the plugin's output open.
func runWhole(c *exec.Cmd) (err error) {
	j, err := newJob()
	if err != nil {
		return fmt.Errorf("make a job for the plugin: %w", err)
	}
	defer func() { err = errors.Join(err, windows.CloseHandle(j)) }()
	c.SysProcAttr = &syscall.SysProcAttr{CreationFlags: windows.DETACHED_PROCESS}
	// One that is not in its job yet is ended once killWait has passed.
	c.Cancel = func() error { return windows.TerminateJobObject(j, 1) }
	if err := c.Start(); err != nil {
		return err
	}
	if err := join(j, c.Process.Pid); err != nil {
		// It has ended already, or is ended.
		_ = c.Process.Kill()
		if ended := c.Wait(); ended != nil {
			return errors.Join(fmt.Errorf("put the plugin into its job: %w", err), ended)
		}
		return nil
	}
	return c.Wait()
}

// newJob makes a job whose processes end with its last handle.
func newJob() (windows.Handle, error) {
	j, err := windows.CreateJobObject(nil, nil)
	if err != nil {
		return 0, err
	}
	var limits windows.JOBOBJECT_EXTENDED_LIMIT_INFORMATION
	limits.BasicLimitInformation.LimitFlags = windows.JOB_OBJECT_LIMIT_KILL_ON_JOB_CLOSE
	_, err = windows.SetInformationJobObject(j, windows.JobObjectExtendedLimitInformation, uintptr(unsafe.Pointer(&limits)), uint32(unsafe.Sizeof(limits)))
	if err != nil {
		return 0, errors.Join(err, windows.CloseHandle(j))
	}
	return j, nil
}

func join(j windows.Handle, process int) error {
	h, err := windows.OpenProcess(windows.PROCESS_SET_QUOTA|windows.PROCESS_TERMINATE, false, uint32(process))
	if err != nil {
		return err
	}
	return errors.Join(windows.AssignProcessToJobObject(j, h), windows.CloseHandle(h))
}
