package service

import (
	"slices"
	"strconv"
	"time"

	"github.com/google/uuid"

	"ecsagent/controlplane/api"
	"ecsagent/controlplane/wire"
)

// Disks makes and removes the EBS volumes of tasks. Its methods are called one at a time.
type Disks interface {
	// Attach has a volume appear as a disk whose serial number is the volume's id; one that
	// is not there is made, and blank. A disk that is there stays.
	Attach(volumeID string, gib int) error
	// Detach has the disk disappear, and the volume too unless it is to be kept. One that is
	// not there is no error.
	Detach(volumeID string, keep bool) error
}

// reasonNoVolume is why a task stops whose volume its agent has not seen.
const reasonNoVolume = "Timeout waiting for EBS volume provisioning to complete."

// volumeDevice is the name that EC2 would be asked to attach a volume under. The serial
// number counts.
const volumeDevice = "/dev/xvdba"

// disk is a task's EBS volume; it is part of the task's record.
type disk struct {
	Attachment wire.Attachment
	VolumeID   string
	Name       string // in the task definition
	GiB        int
	Role       string
	Keep       bool // when the task ends
	Status     string
	Until      time.Time // when the task gives up waiting for it
}

// newDisk chooses the volume that a launch asks for; nil for none.
func (s *Service) newDisk(taskID, cluster string, v *api.VolumeConfiguration) *disk {
	if v == nil {
		return nil
	}
	e := v.ManagedEBSVolume
	d := &disk{
		VolumeID: "vol-" + newID()[:17], Name: v.Name, GiB: *e.SizeInGiB, Role: e.RoleARN, Status: eniAttaching,
		Keep:  e.TerminationPolicy != nil && !e.TerminationPolicy.DeleteOnTermination,
		Until: s.opts.Now().Add(s.opts.AttachWait),
	}
	d.Attachment = wire.Attachment{ARN: s.arn("attachment", cluster, uuid.NewString()), Type: "amazonebs", Properties: []wire.Property{
		{Name: "volumeId", Value: d.VolumeID}, {Name: "volumeSizeGib", Value: strconv.Itoa(d.GiB)}, {Name: "deviceName", Value: volumeDevice},
		{Name: "sourceVolumeHostPath", Value: taskID + "_" + d.VolumeID}, {Name: "volumeName", Value: d.Name}, {Name: "fileSystem", Value: filesystemOf(e)},
	}}
	return d
}

func filesystemOf(e *api.EBSVolume) string {
	if e.FilesystemType == "" {
		return "xfs"
	}
	return e.FilesystemType
}

// show adds the volume to what users see of the task.
func (d *disk) show(v *api.Task) {
	v.Attachments = append(slices.Clone(v.Attachments), api.Attachment{
		ID: idOf(d.Attachment.ARN), Type: "AmazonElasticBlockStorage", Status: d.Status, Details: []api.KeyValue{
			{Name: "roleArn", Value: d.Role}, {Name: "volumeName", Value: d.Name}, {Name: "volumeId", Value: d.VolumeID},
			{Name: "deleteOnTermination", Value: strconv.FormatBool(!d.Keep)},
		},
	})
}

// Volumes lists the EBS volumes that tasks have.
func (s *Service) Volumes() []string {
	var ids []string
	s.quietly(func(st *state) {
		for _, in := range st.instances {
			for _, tk := range in.tasks {
				if tk.Disk != nil {
					ids = append(ids, tk.Disk.VolumeID)
				}
			}
		}
	})
	return ids
}

// checkVolumes compares the volumes that are configured at launch with those that the task
// definition leaves open, and returns the one.
func (s *Service) checkVolumes(req *api.TaskRequest, d *api.TaskDefinition) (*api.VolumeConfiguration, error) {
	open := ""
	for i := range d.Volumes {
		if c := d.Volumes[i].ConfiguredAtLaunch; c != nil && *c {
			open = d.Volumes[i].Name
		}
	}
	given := req.VolumeConfigurations
	switch {
	case len(given) > 1:
		return nil, api.Invalid("volumeConfigurations can have at most 1 item, and has %d.", len(given))
	case len(given) == 0 && open == "":
		return nil, nil //nolint:nilnil // no volume is an answer
	case len(given) == 0:
		return nil, api.Invalid("volumeConfigurations must configure the volume '%s', which the task definition marks with configuredAtLaunch.", clip(open))
	case given[0].Name != open:
		return nil, api.Invalid("volumeConfigurations has the volume '%s', which is not marked with configuredAtLaunch in the task definition.", clip(given[0].Name))
	case given[0].ManagedEBSVolume == nil:
		return nil, api.Invalid("volumeConfigurations has no managedEBSVolume for the volume '%s'.", clip(open))
	}
	if err := checkEBS(given[0].ManagedEBSVolume); err != nil {
		return nil, err
	}
	if s.opts.Disks == nil {
		return nil, api.Errorf(api.UnsupportedFeatureException, "The local ECS makes no EBS volumes: `ecs-local up --volumes FOLDER` does.")
	}
	return &given[0], nil
}

// volumeKind are the limits of a kind of EBS volume; no iops limits: it takes none.
type volumeKind struct {
	minGiB, maxGiB   int
	minIOPS, maxIOPS int
	needsIOPS        bool
	maxThroughput    int // in MiB/s; 0: it takes none
}

var volumeKinds = map[string]volumeKind{
	"gp2":      {minGiB: 1, maxGiB: 16384},
	"gp3":      {minGiB: 1, maxGiB: 16384, minIOPS: 3000, maxIOPS: 16000, maxThroughput: 1000},
	"io1":      {minGiB: 4, maxGiB: 16384, minIOPS: 100, maxIOPS: 64000, needsIOPS: true},
	"io2":      {minGiB: 4, maxGiB: 16384, minIOPS: 100, maxIOPS: 256000, needsIOPS: true},
	"sc1":      {minGiB: 125, maxGiB: 16384},
	"st1":      {minGiB: 125, maxGiB: 16384},
	"standard": {minGiB: 1, maxGiB: 1024},
}

// minThroughput is that of gp3, in MiB/s.
const minThroughput = 125

// checkEBS checks what RunTask says about a volume.
func checkEBS(e *api.EBSVolume) error {
	kind := e.VolumeType
	if kind == "" {
		kind = "gp3"
	}
	k, ok := volumeKinds[kind]
	const field = "managedEBSVolume."
	switch {
	case !ok:
		return api.Invalid(field+"volumeType is '%s': it must be gp2, gp3, io1, io2, sc1, st1 or standard.", clip(e.VolumeType))
	case e.RoleARN == "":
		return api.Invalid(field + "roleArn must be given: the role with which ECS manages the volume.")
	case e.SnapshotID != "":
		return api.Errorf(api.UnsupportedFeatureException, "The local ECS has no snapshots: "+field+"snapshotId is '%s'.", clip(e.SnapshotID))
	case e.SizeInGiB == nil:
		return api.Invalid(field + "sizeInGiB or snapshotId must be given.")
	case *e.SizeInGiB < k.minGiB || *e.SizeInGiB > k.maxGiB:
		return api.Invalid(field+"sizeInGiB is %d: it must be between %d and %d for volumes of type %s.", *e.SizeInGiB, k.minGiB, k.maxGiB, kind)
	case e.IOPS == nil && k.needsIOPS:
		return api.Invalid(field+"iops must be given for volumes of type %s.", kind)
	case e.IOPS != nil && k.maxIOPS == 0:
		return api.Invalid(field+"iops is %d: volumes of type %s take none.", *e.IOPS, kind)
	case e.IOPS != nil && (*e.IOPS < k.minIOPS || *e.IOPS > k.maxIOPS):
		return api.Invalid(field+"iops is %d: it must be between %d and %d for volumes of type %s.", *e.IOPS, k.minIOPS, k.maxIOPS, kind)
	case e.Throughput != nil && k.maxThroughput == 0:
		return api.Invalid(field+"throughput is %d: volumes of type %s take none.", *e.Throughput, kind)
	case e.Throughput != nil && (*e.Throughput < minThroughput || *e.Throughput > k.maxThroughput):
		return api.Invalid(field+"throughput is %d: it must be between %d and %d for volumes of type %s.", *e.Throughput, minThroughput, k.maxThroughput, kind)
	case e.VolumeInitializationRate != nil:
		return api.Invalid(field + "volumeInitializationRate must not be given without a snapshotId.")
	case e.KMSKeyID != "" && (e.Encrypted == nil || !*e.Encrypted):
		return api.Invalid(field + "kmsKeyId must not be given for a volume that is not encrypted.")
	case !slices.Contains([]string{"", "ext3", "ext4", "xfs", "ntfs"}, e.FilesystemType):
		return api.Invalid(field+"filesystemType is '%s': it must be ext3, ext4, xfs or ntfs.", clip(e.FilesystemType))
	}
	for _, t := range e.TagSpecifications {
		if t.ResourceType != "volume" {
			return api.Invalid(field+"tagSpecifications has the resourceType '%s': it must be volume.", clip(t.ResourceType))
		}
		if !slices.Contains([]string{"", "NONE", "TASK_DEFINITION", "SERVICE"}, t.PropagateTags) {
			return api.Invalid(field+"tagSpecifications has the propagateTags '%s': it must be NONE, TASK_DEFINITION or SERVICE.", clip(t.PropagateTags))
		}
		if err := checkTags(t.Tags); err != nil {
			return err
		}
	}
	return nil
}
