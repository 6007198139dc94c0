package service

import (
	"time"

	"go.uber.org/zap"

	"ecsagent/controlplane/api"
	"ecsagent/controlplane/wire"
)

// A task waits for what is attached to its instance for it, a network interface and a volume.
// Its agent is told of them, and gets the task when it has confirmed them.

// missing is why the task goes on waiting, in the words with which it is stopped should that
// take too long; empty: it does not wait.
func (tk *task) missing() string {
	switch {
	case tk.isStopped():
		return ""
	case tk.ENI != nil && tk.ENI.Status == eniAttaching:
		return reasonNoInterface
	case tk.Disk != nil && tk.Disk.Status == eniAttaching:
		return reasonNoVolume
	}
	return ""
}

// provisioning reports whether the task waits for what is attached for it.
func (tk *task) provisioning() bool { return tk.missing() != "" }

// announced is something to make and to tell an agent of.
type announced struct {
	instance     string
	announcement wire.Announcement
	disk         *disk // nil: it is an interface
}

// released is a volume to take away.
type released struct {
	volume string
	keep   bool
}

// attach has what the task waits for made and its agent told of it. The task stops when the
// agent has not confirmed it in time.
func (t *tx) attach(tk *task) {
	wait := func(until time.Time) time.Duration { return max(until.Sub(t.now), time.Millisecond) }
	a := announced{instance: tk.Task.ContainerInstanceARN, announcement: wire.Announcement{TaskARN: tk.Task.TaskARN, TaskClusterARN: tk.Task.ClusterARN}}
	var left time.Duration
	if e := tk.ENI; e != nil && e.Status == eniAttaching {
		left = wait(e.Until)
		one := a
		one.announcement.Wait, one.announcement.Interface = left, e.Interface
		t.batch.attach = append(t.batch.attach, one)
	}
	if d := tk.Disk; d != nil && d.Status == eniAttaching {
		left = wait(d.Until)
		one, copied := a, *d
		one.announcement.Wait, one.announcement.Attachment, one.disk = left, &copied.Attachment, &copied
		t.batch.attach = append(t.batch.attach, one)
	}
	t.stopWaiting(tk)
	arn := tk.Task.TaskARN
	t.s.state.waits[arn] = time.AfterFunc(left, func() { t.s.giveUp(arn, "") })
}

// giveUp ends a task that still waits for what is attached for it; without a reason, because
// that takes too long.
func (s *Service) giveUp(arn, reason string) {
	s.apply(func(t *tx) {
		tk := s.state.tasks[arn]
		if tk == nil || !tk.provisioning() {
			return
		}
		if reason == "" {
			reason = tk.missing()
		}
		t.finishTask(tk, reason)
	})
}

// attached takes an agent's report of an attachment. The task's payload goes out once
// everything is there.
func (t *tx) attached(tk *task, a api.AttachmentStateChange) {
	if !tk.provisioning() || a.Status != eniAttached {
		return
	}
	switch {
	case tk.ENI != nil && a.AttachmentARN == tk.ENI.Interface.AttachmentARN:
		tk.ENI.Status = eniAttached
	case tk.Disk != nil && a.AttachmentARN == tk.Disk.Attachment.ARN:
		tk.Disk.Status = eniAttached
	default:
		return
	}
	if tk.provisioning() {
		t.taskChanged(tk)
		return
	}
	t.stopWaiting(tk)
	t.advance(tk, api.StatusPending)
	t.deliver(tk)
}

// detach gives back what was attached for a task that has stopped.
func (t *tx) detach(tk *task) {
	t.stopWaiting(tk)
	if tk.ENI != nil {
		tk.ENI.Status = eniDeleted
		t.batch.detach = append(t.batch.detach, tk.ENI.Interface.MAC)
	}
	if tk.Disk != nil {
		tk.Disk.Status = eniDeleted
		t.batch.release = append(t.batch.release, released{tk.Disk.VolumeID, tk.Disk.Keep})
	}
}

func (t *tx) stopWaiting(tk *task) {
	if timer := t.s.state.waits[tk.Task.TaskARN]; timer != nil {
		timer.Stop()
		delete(t.s.state.waits, tk.Task.TaskARN)
	}
}

// changeAttachments makes and removes the devices of a batch. A task whose device cannot be
// made stops with the reason.
func (s *Service) changeAttachments(b *batch) {
	for _, mac := range b.detach {
		if s.opts.VPC == nil {
			break
		}
		if err := s.opts.VPC.Detach(mac); err != nil {
			s.log.Error("network interface not detached", zap.String("mac", mac), zap.Error(err))
		}
	}
	for _, r := range b.release {
		if s.opts.Disks == nil {
			break
		}
		if err := s.opts.Disks.Detach(r.volume, r.keep); err != nil {
			s.log.Error("volume not detached", zap.String("volume", r.volume), zap.Error(err))
		}
	}
	for i := range b.attach {
		a := &b.attach[i]
		arn := a.announcement.TaskARN
		switch {
		case a.disk != nil && s.opts.Disks != nil:
			if err := s.opts.Disks.Attach(a.disk.VolumeID, a.disk.GiB); err != nil {
				s.log.Error("volume not attached", zap.String("task", arn), zap.String("volume", a.disk.VolumeID), zap.Error(err))
				s.giveUp(arn, "EBS volume not attached: "+err.Error())
			}
		case a.disk == nil && s.opts.VPC != nil:
			if err := s.opts.VPC.Attach(a.announcement.Interface); err != nil {
				s.log.Error("network interface not attached", zap.String("task", arn), zap.String("mac", a.announcement.Interface.MAC), zap.Error(err))
				s.giveUp(arn, "Network interface not attached: "+err.Error())
			}
		}
	}
}
