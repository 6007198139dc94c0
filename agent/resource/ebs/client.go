package ebs

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"

	"ecsagent/agent/dockerspec"
	"ecsagent/agent/task"
)

// Socket is the volume plugin's.
const Socket = "/run/docker/plugins/" + dockerspec.VolumePlugin + ".sock"

// ErrNoDevice is returned while the instance does not show the volume.
var ErrNoDevice = errors.New("the volume is not attached to this instance yet")

// Properties of an attachment that is a volume (docs/spec/02 section 4.9).
const (
	propVolume     = "volumeId"
	propPath       = "sourceVolumeHostPath"
	propDevice     = "deviceName"
	propFileSystem = "fileSystem"
)

// maxAnswer bounds an answer of the plugin, in bytes.
const maxAnswer = 64 << 10

// Volume is one to be mounted.
type Volume struct {
	VolumeID   string
	Device     string
	Name       string // of its folder
	FileSystem string
	Group      int
}

// volumeOf reads the properties of an attachment.
func volumeOf(properties map[string]string) Volume {
	path := properties[propPath]
	return Volume{
		VolumeID: properties[propVolume], Device: properties[propDevice], Name: path,
		FileSystem: properties[propFileSystem], Group: dockerspec.EBSGroup(path),
	}
}

// volumesOf are the EBS volumes of a task.
func volumesOf(spec *task.Spec) (list []Volume) {
	for i := range spec.Volumes {
		if v := &spec.Volumes[i]; v.Type == task.VolumeEBS {
			list = append(list, volumeOf(v.Properties))
		}
	}
	return list
}

// Client asks the volume plugin.
type Client struct{ http *http.Client }

// NewClient asks the plugin that listens on a socket; empty: Socket.
func NewClient(socket string) *Client {
	if socket == "" {
		socket = Socket
	}
	return &Client{&http.Client{Transport: &http.Transport{
		DisableKeepAlives: true, // it is asked seldom
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, "unix", socket)
		},
	}}}
}

// Stage mounts a volume on the host. One that is mounted stays.
func (c *Client) Stage(ctx context.Context, v Volume) error { return c.ask(ctx, "EBS.Stage", v, nil) }

// Unstage unmounts it.
func (c *Client) Unstage(ctx context.Context, name string) error {
	return c.ask(ctx, "EBS.Unstage", Volume{Name: name}, nil)
}

// Usage tells how full a mounted volume is, in bytes.
func (c *Client) Usage(ctx context.Context, name string) (used, size uint64, err error) {
	var reply struct{ Used, Size uint64 }
	err = c.ask(ctx, "EBS.Usage", Volume{Name: name}, &reply)
	return reply.Used, reply.Size, err
}

// ask asks, and decodes the answer into a value unless that is nil.
func (c *Client) ask(ctx context.Context, what string, v Volume, into any) error {
	body, err := json.Marshal(v)
	if err != nil {
		return err
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://plugin/"+what, bytes.NewReader(body))
	if err != nil {
		return err
	}
	reply, err := c.http.Do(request)
	if err != nil {
		return fmt.Errorf("ask the volume plugin: %w", err)
	}
	defer reply.Body.Close()
	text, err := io.ReadAll(io.LimitReader(reply.Body, maxAnswer))
	if err != nil {
		return fmt.Errorf("ask the volume plugin: %w", err)
	}
	if reply.StatusCode == http.StatusOK {
		if into == nil {
			return nil
		}
		if err := json.Unmarshal(text, into); err != nil {
			return fmt.Errorf("read the volume plugin's answer to %s: %w", what, err)
		}
		return nil
	}
	var failure struct{ Err string }
	if json.Unmarshal(text, &failure) != nil || failure.Err == "" {
		return fmt.Errorf("the volume plugin does not know about EBS (%s %s)", what, reply.Status)
	}
	if reply.StatusCode == http.StatusNotFound {
		return fmt.Errorf("%w: %s", ErrNoDevice, failure.Err)
	}
	return errors.New(failure.Err)
}
