package wire

import (
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"strings"
	"unicode"

	"ecsagent/agent/credentials"
	"ecsagent/agent/task"
)

// MaxReason is the longest reason that ECS takes, in bytes.
const MaxReason = 1024

// RejectionReason is the reason with which a task that cannot be decoded is
// reported. The spelling is that of the agent this one replaces, because people
// match on it.
func RejectionReason(cause error) string {
	reason := "UnrecogniedTaskError: Error loading task - " + cause.Error()
	if len(reason) > MaxReason {
		reason = strings.ToValidUTF8(reason[:MaxReason], "")
	}
	return reason
}

// Task is one task of a payload, opened but not yet decoded. The parts are asked
// for one by one, because of a task that is already known only the desired status
// and the credentials matter (docs/spec/01 section 2.9.2).
type Task struct {
	ARN string
	o   object
}

// ParseTask opens one task of a payload. Where it fails after the ARN was read,
// the returned Task carries the ARN.
func ParseTask(raw json.RawMessage) (Task, error) {
	d := new(decoder)
	o := d.open(raw, "")
	if d.err != nil {
		return Task{}, fmt.Errorf("decode task: %w", d.err)
	}
	t := Task{o: o, ARN: o.required("arn")}
	if d.err != nil {
		return Task{}, d.err
	}
	spec := task.Spec{ARN: t.ARN}
	if err := checkFileName(spec.ID()); err != nil {
		return t, fmt.Errorf("arn %s: task id %w", quote(t.ARN), err)
	}
	return t, nil
}

// with returns the task's object with a decoder of its own, so that one part's
// error does not show in another.
func (t Task) with() (object, *decoder) {
	d := new(decoder)
	o := t.o
	o.d = d
	return o, d
}

// Desired returns the desired status; absent reads as None.
func (t Task) Desired() (task.Status, error) {
	o, d := t.with()
	name := o.text("desiredStatus")
	if d.err != nil {
		return task.None, d.err
	}
	status, err := task.ParseStatus(name)
	if err != nil {
		return task.None, fmt.Errorf("desiredStatus is %s: want NONE, MANIFEST_PULLED, CREATED, RUNNING or STOPPED", quote(name))
	}
	return status, nil
}

// Credentials returns the credentials that came with the task, at most one set per
// role.
func (t Task) Credentials() ([]credentials.Set, error) {
	o, d := t.with()
	var sets []credentials.Set
	for _, m := range []struct {
		name string
		role credentials.Role
	}{{"roleCredentials", credentials.Application}, {"executionRoleCredentials", credentials.Execution}} {
		if o.has(m.name) {
			set := readCredentialSet(o.secret(m.name))
			set.TaskARN, set.Role = t.ARN, m.role
			sets = append(sets, set)
		}
	}
	return sets, d.err
}

// Spec decodes the task and normalises it (docs/spec/01 sections 2.9.3 to 2.9.8,
// docs/spec/02 section 1.8). Warnings are for the log: things that are tolerated.
//
// A task that is to be stopped need not have containers: ECS may send only its ARN
// and status.
func (t Task) Spec() (spec *task.Spec, warnings []string, err error) {
	o, d := t.with()
	desired, err := t.Desired()
	if err != nil {
		return nil, nil, err
	}
	sets, err := t.Credentials()
	if err != nil {
		return nil, nil, err
	}
	s := &task.Spec{
		ARN: t.ARN, Family: o.text("family"), Version: o.text("version"),
		ServiceName: o.text("serviceName"), Group: o.text("group"), LaunchType: o.text("launchType"),
		CPU: o.amount("cpu"), Memory: o.integer("memory", 0, math.MaxInt32),
		EnableFaultInjection: o.flag("enableFaultInjection"),
	}
	for _, set := range sets {
		if set.Role == credentials.Execution {
			s.ExecutionCredentialsID = set.ID
		} else {
			s.CredentialsID = set.ID
		}
	}
	s.NetworkMode = readMode(o, "networkMode", "bridge", "bridge", "awsvpc", "host", "none")
	s.PIDMode = readMode(o, "pidMode", "", "host", "task")
	s.IPCMode = readMode(o, "ipcMode", "", "host", "task", "none")
	for _, c := range o.each("containers") {
		s.Containers = append(s.Containers, readContainer(c))
	}
	s.Attachments = readTaskAttachments(o)
	s.Volumes = readVolumes(o, s.Attachments)
	for _, e := range o.each("elasticNetworkInterfaces") {
		s.ENIs = append(s.ENIs, readENI(e))
	}
	s.Proxy = readProxy(o)
	s.Associations = readAssociations(o)
	if d.err == nil {
		d.fail(check(s, desired))
	}
	if d.err != nil {
		return nil, d.warnings, d.err
	}
	assignGPUs(s)
	return s, d.warnings, nil
}

// readMode reads a word out of a list. An unknown one is left empty: the
// containers then run with what their host configuration says.
func readMode(o object, name, absent string, known ...string) string {
	mode := o.text(name)
	if mode == "" {
		return absent
	}
	for _, k := range known {
		if mode == k {
			return mode
		}
	}
	o.d.warn("%s is %s: not one of %s, ignored", o.at(name), quote(mode), strings.Join(known, ", "))
	return ""
}

// check holds the rules that go across members of a task.
func check(s *task.Spec, desired task.Status) error {
	if len(s.Containers) == 0 && desired != task.Stopped {
		return errors.New("containers is empty: want at least one container")
	}
	seen := make(map[string]bool, len(s.Containers))
	for i := range s.Containers {
		name := s.Containers[i].Name
		if seen[name] {
			return fmt.Errorf("containers[%d].name is %s: another container of the task has this name", i, quote(name))
		}
		seen[name] = true
	}
	for _, a := range s.Attachments {
		if a.Type == AttachmentServiceConnect {
			if err := checkServiceConnect(s, a); err != nil {
				return fmt.Errorf("attachment %s: %w", AttachmentServiceConnect, err)
			}
		}
	}
	return nil
}

func readCredentialSet(o object) credentials.Set {
	return credentials.Set{
		ID: o.required("credentialsId"), RoleARN: o.text("roleArn"), AccessKeyID: o.text("accessKeyId"),
		SecretAccessKey: secretText(o, "secretAccessKey"), SessionToken: secretText(o, "sessionToken"),
		Expiration: o.text("expiration"),
	}
}

// checkFileName rejects names that cannot stand for a file: the ids of tasks and
// the names of containers become parts of paths.
func checkFileName(name string) error {
	switch {
	case name == "":
		return errors.New("is empty")
	case name == "." || name == "..":
		return fmt.Errorf("%s is not a name", quote(name))
	case len(name) > 255:
		return fmt.Errorf("%s is longer than 255 bytes", quote(name))
	case strings.ContainsAny(name, `/\`) || strings.ContainsFunc(name, unicode.IsControl):
		return fmt.Errorf("%s holds a slash, a backslash or a control character", quote(name))
	}
	return nil
}
