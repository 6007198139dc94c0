package docker

import "time"

// Timeouts are the limits of the operations (docs/spec/02 section 2.14).
type Timeouts struct {
	Create        time.Duration // ECS_CONTAINER_CREATE_TIMEOUT
	Start         time.Duration // ECS_CONTAINER_START_TIMEOUT
	StopGrace     time.Duration // on top of the container's own stop timeout
	Kill          time.Duration
	Inspect       time.Duration
	Remove        time.Duration
	List          time.Duration
	Ping          time.Duration
	Version       time.Duration
	ImageInspect  time.Duration
	Manifest      time.Duration // one registry question; the caller bounds all attempts
	PullBegin     time.Duration // first progress of a pull
	PullInactive  time.Duration // ECS_IMAGE_PULL_INACTIVITY_TIMEOUT: longest silence of a pull's progress
	Tag           time.Duration
	RemoveImage   time.Duration
	Volume        time.Duration
	Plugins       time.Duration
	Info          time.Duration
	Command       time.Duration // of a program that runs in a container
	Stats         time.Duration // one answer about usage (docs/spec/04 section 8.3)
	ReconnectMin  time.Duration // first wait before the event stream is opened again
	ReconnectMax  time.Duration
	EventStreamUp time.Duration // a stream that lasted this long was healthy: waits start small again
}

// DefaultTimeouts returns the specified limits for the operating system ("linux",
// "windows") that the agent runs on.
func DefaultTimeouts(goos string) Timeouts {
	t := Timeouts{
		Create:        4 * time.Minute,
		Start:         3 * time.Minute,
		StopGrace:     2 * time.Minute,
		Kill:          2 * time.Minute,
		Inspect:       30 * time.Second,
		Remove:        5 * time.Minute,
		List:          10 * time.Minute,
		Ping:          5 * time.Second,
		Version:       10 * time.Second,
		ImageInspect:  30 * time.Second,
		Manifest:      time.Minute,
		PullBegin:     5 * time.Minute,
		PullInactive:  time.Minute,
		Tag:           30 * time.Second,
		RemoveImage:   3 * time.Minute,
		Volume:        5 * time.Minute,
		Plugins:       time.Minute,
		Info:          10 * time.Second,
		Command:       time.Minute,
		Stats:         18 * time.Second,
		ReconnectMin:  100 * time.Millisecond,
		ReconnectMax:  5 * time.Second,
		EventStreamUp: 10 * time.Second,
	}
	if goos == "windows" {
		t.Start = 8 * time.Minute
		t.PullInactive = 3 * time.Minute
	}
	return t
}

// or returns t with the zero fields taken from d.
func (t Timeouts) or(d Timeouts) Timeouts {
	for _, f := range []struct{ v, d *time.Duration }{
		{&t.Create, &d.Create}, {&t.Start, &d.Start}, {&t.StopGrace, &d.StopGrace}, {&t.Kill, &d.Kill}, {&t.Inspect, &d.Inspect},
		{&t.Remove, &d.Remove}, {&t.List, &d.List}, {&t.Ping, &d.Ping}, {&t.Version, &d.Version},
		{&t.ImageInspect, &d.ImageInspect}, {&t.Manifest, &d.Manifest}, {&t.PullBegin, &d.PullBegin},
		{&t.PullInactive, &d.PullInactive}, {&t.Tag, &d.Tag}, {&t.RemoveImage, &d.RemoveImage},
		{&t.Volume, &d.Volume}, {&t.Plugins, &d.Plugins}, {&t.Info, &d.Info}, {&t.Command, &d.Command}, {&t.Stats, &d.Stats}, {&t.ReconnectMin, &d.ReconnectMin},
		{&t.ReconnectMax, &d.ReconnectMax}, {&t.EventStreamUp, &d.EventStreamUp},
	} {
		if *f.v == 0 {
			*f.v = *f.d
		}
	}
	return t
}
