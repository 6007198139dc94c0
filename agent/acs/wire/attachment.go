package wire

import (
	"maps"
	"math"
	"slices"
	"time"

	"ecsagent/agent/credentials"
	"ecsagent/agent/network"
	"ecsagent/agent/task"
	"ecsagent/agent/update"
)

// Types of attachments (docs/spec/01 sections 2.8.4 and 2.9.8).
const (
	AttachmentServiceConnect = "serviceconnectdetail"
	AttachmentEBS            = task.VolumeEBS
	AttachmentS3Files        = task.VolumeS3
)

// maxWaitMS is the longest wait for an attachment, in milliseconds, that fits a
// duration.
const maxWaitMS = math.MaxInt64 / int64(time.Millisecond)

var (
	ebsRequired      = []string{"volumeId", "volumeName", "sourceVolumeHostPath"}
	ebsOptional      = []string{"volumeSizeGib", "deviceName", "fileSystem"}
	s3Required       = []string{"volumeId", "volumeName"}
	s3Optional       = []string{"s3FilesRootDirectory", "s3FilesTransitEncryptionPort", "s3FilesAccessPointId"}
	connectRequired  = []string{"ServiceConnectConfig", "ContainerName"}
	confirmRequired  = []string{"volumeId", "volumeSizeGib", "deviceName", "sourceVolumeHostPath", "volumeName"}
	confirmOptional  = []string{"fileSystem"}
	ebsFileSystems   = []string{"xfs", "ext2", "ext3", "ext4", "ntfs"}
	foreignResources = []string{"EphemeralStorage", "ElasticBlockStorage"}
)

// readTaskAttachments reads the attachments of a task (docs/spec/01 section
// 2.9.8). Types that this agent does not know are left out.
func readTaskAttachments(o object) []task.Attachment {
	var out []task.Attachment
	for _, a := range o.each("attachments") {
		attachment := task.Attachment{
			ARN: a.text("attachmentArn"), Type: a.required("attachmentType"), Properties: readProperties(a),
		}
		switch attachment.Type {
		case AttachmentServiceConnect:
			checkProperties(a, attachment.Properties, connectRequired, nil)
		case AttachmentEBS:
			checkProperties(a, attachment.Properties, ebsRequired, ebsOptional)
		case AttachmentS3Files:
			checkProperties(a, attachment.Properties, s3Required, s3Optional)
		default:
			continue
		}
		out = append(out, attachment)
	}
	return out
}

func readProperties(o object) map[string]string {
	properties := make(map[string]string)
	for _, p := range o.each("attachmentProperties") {
		properties[p.required("name")] = p.text("value")
	}
	return properties
}

// checkProperties rejects empty values of known properties; unknown ones are
// worth a warning.
func checkProperties(o object, properties map[string]string, required, optional []string) {
	name := o.at("attachmentProperties")
	for _, r := range required {
		if properties[r] == "" {
			o.d.fail(missing(name, r, properties))
		}
	}
	for _, p := range slices.Sorted(maps.Keys(properties)) {
		known := slices.Contains(required, p) || slices.Contains(optional, p)
		switch {
		case !known:
			o.d.warn("%s: unknown property %s", name, quote(p))
		case properties[p] == "":
			o.d.fail(missing(name, p, properties))
		}
	}
}

func readAttachTaskENI(o object) Message {
	return readAttachENI(o, network.TaskENI, o.required("taskArn"))
}

func readAttachInstanceENI(o object) Message { return readAttachENI(o, network.InstanceENI, "") }

// readAttachENI reads the two messages that announce interfaces (docs/spec/01
// section 2.8.3).
func readAttachENI(o object, kind network.Kind, taskARN string) Message {
	m := Attach{Origin: readRequiredOrigin(o)}
	if !o.has("waitTimeoutMs") {
		o.reject("waitTimeoutMs", "a number of milliseconds above 0")
	}
	m.Wait = time.Duration(o.integer("waitTimeoutMs", 1, maxWaitMS)) * time.Millisecond
	for _, e := range o.each("elasticNetworkInterfaces") {
		e.required("attachmentArn")
		eni := readENI(e)
		m.Attachments = append(m.Attachments, network.Attachment{
			Kind: kind, ARN: eni.AttachmentARN, MAC: eni.MAC,
			TaskARN: taskARN, Cluster: m.Cluster, Instance: m.Instance,
		})
	}
	if len(m.Attachments) == 0 {
		o.reject("elasticNetworkInterfaces", "at least one interface")
	}
	return m
}

// readConfirmAttachment reads the message that announces a volume (docs/spec/01
// section 2.8.4).
func readConfirmAttachment(o object) Message {
	m := Attach{Origin: readRequiredOrigin(o), Wait: defaultAttachmentTimeout}
	checkARN(o, "clusterArn")
	checkARN(o, "containerInstanceArn")
	if ms := o.integer("waitTimeoutMs", 0, maxWaitMS); ms > 0 {
		m.Wait = time.Duration(ms) * time.Millisecond
	}
	a := o.inner("attachment")
	if a.members == nil {
		o.reject("attachment", "an object")
	}
	checkARN(a, "attachmentArn")
	kind := a.required("attachmentType")
	properties := readProperties(a)
	for name, value := range properties {
		if value == "" {
			o.d.fail(missing(a.at("attachmentProperties"), name, properties))
		}
	}
	if kind != AttachmentEBS {
		checkForeignVolume(a, properties)
		m.Unhandled = kind
		return m
	}
	checkProperties(a, properties, confirmRequired, confirmOptional)
	if fs := properties["fileSystem"]; fs != "" && !slices.Contains(ebsFileSystems, fs) {
		o.d.fail(wrongProperty(a, "fileSystem", fs, ebsFileSystems))
	}
	m.Attachments = []network.Attachment{{
		Kind: network.EBSVolume, ARN: a.text("attachmentArn"), VolumeID: properties["volumeId"],
		TaskARN: o.text("taskArn"), Cluster: m.Cluster, Instance: m.Instance, Properties: properties,
	}}
	return m
}

// checkForeignVolume checks the attachments that are for another kind of host.
func checkForeignVolume(o object, properties map[string]string) {
	required := []string{"volumeID", "deviceName"}
	switch kind := properties["resourceType"]; kind {
	case "EphemeralStorage":
		required = append(required, "volumeSizeInGiB", "requestedSizeInGiB", "resourceID")
	case "ElasticBlockStorage":
	default:
		o.d.fail(wrongProperty(o, "resourceType", kind, foreignResources))
	}
	for _, r := range required {
		if properties[r] == "" {
			o.d.fail(missing(o.at("attachmentProperties"), r, properties))
		}
	}
}

func readCredentials(o object) Message {
	m := Credentials{ID: o.required("messageId")}
	c := o.secret("roleCredentials")
	if c.members == nil {
		o.reject("roleCredentials", "an object")
	}
	m.Set = readCredentialSet(c)
	m.Set.TaskARN = o.required("taskArn")
	m.Set.Role = credentials.Role(o.text("roleType"))
	if !m.Set.Role.Valid() {
		o.reject("roleType", "TaskApplication or TaskExecution")
	}
	m.HasExpiration = c.has("expiration")
	return m
}

// readUpdate reads an update message. What is missing is the updater's to refuse,
// except that nothing can be answered without an id.
func readUpdate(o object) update.Message {
	info := o.inner("updateInfo")
	return update.Message{
		ID: o.required("messageId"), Cluster: o.text("clusterArn"), Instance: o.text("containerInstanceArn"),
		Location: info.text("location"), Signature: info.text("signature"),
	}
}
