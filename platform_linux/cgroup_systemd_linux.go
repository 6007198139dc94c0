package linux

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"

	"github.com/coreos/go-systemd/v22/dbus"
	godbus "github.com/godbus/dbus/v5"
)

// Errors of systemd's D-Bus interface.
const (
	unitExists = "org.freedesktop.systemd1.UnitExists"
	noSuchUnit = "org.freedesktop.systemd1.NoSuchUnit"
)

// Slices starts and stops systemd's slices over D-Bus: the system bus, or systemd's
// own socket where no bus runs. Each call makes a connection of its own, so a
// restart of either is nothing to recover from.
type Slices struct {
	connect func(context.Context) (*dbus.Conn, error)
}

// NewSlices makes Slices for the host's systemd.
func NewSlices() Slices { return Slices{dbus.NewWithContext} }

// StartSlice starts a slice with the properties and returns when it stands. One that
// is there already is given the properties that it has not.
func (s Slices) StartSlice(ctx context.Context, name, description string, properties map[string]any) error {
	conn, err := s.connect(ctx)
	if err != nil {
		return fmt.Errorf("connect to systemd: %w", err)
	}
	defer conn.Close()
	list := append(
		[]dbus.Property{dbus.PropDescription(description), property("DefaultDependencies", false)},
		listed(properties)...)
	err = job(ctx, func(done chan<- string) error {
		_, err := conn.StartTransientUnitContext(ctx, name, "replace", list, done)
		return err
	})
	if !named(err, unitExists) {
		return err
	}
	if err := adjust(ctx, conn, name, properties); err != nil {
		return err
	}
	return job(ctx, func(done chan<- string) error {
		_, err := conn.StartUnitContext(ctx, name, "replace", done)
		return err
	})
}

// adjust sets the properties that differ, until the next boot. systemd writes down
// each that is set, so nothing is set without need.
func adjust(ctx context.Context, conn *dbus.Conn, name string, properties map[string]any) error {
	has, err := conn.GetUnitTypePropertiesContext(ctx, name, "Slice")
	if err != nil {
		return fmt.Errorf("read properties: %w", err)
	}
	wrong := maps.Clone(properties)
	maps.DeleteFunc(wrong, func(key string, value any) bool { return has[key] == value })
	if len(wrong) == 0 {
		return nil
	}
	if err := conn.SetUnitPropertiesContext(ctx, name, true, listed(wrong)...); err != nil {
		return fmt.Errorf("set properties: %w", err)
	}
	return nil
}

// StopSlice stops a slice with all that runs in it, and returns when it is gone. One
// that is not there counts as stopped.
func (s Slices) StopSlice(ctx context.Context, name string) error {
	conn, err := s.connect(ctx)
	if err != nil {
		return fmt.Errorf("connect to systemd: %w", err)
	}
	defer conn.Close()
	err = job(ctx, func(done chan<- string) error {
		_, err := conn.StopUnitContext(ctx, name, "replace", done)
		return err
	})
	if named(err, noSuchUnit) {
		return nil
	}
	return err
}

// job queues a job and waits for its end.
func job(ctx context.Context, queue func(done chan<- string) error) error {
	done := make(chan string, 1)
	if err := queue(done); err != nil {
		return err
	}
	select {
	case result := <-done:
		if result != "done" {
			return fmt.Errorf("systemd's job ended as %q", result)
		}
		return nil
	case <-ctx.Done():
		return fmt.Errorf("wait for systemd's job: %w", ctx.Err())
	}
}

func named(err error, name string) bool {
	var e godbus.Error
	return errors.As(err, &e) && e.Name == name
}

func listed(properties map[string]any) []dbus.Property {
	var list []dbus.Property
	for _, name := range slices.Sorted(maps.Keys(properties)) {
		list = append(list, property(name, properties[name]))
	}
	return list
}

func property(name string, value any) dbus.Property {
	return dbus.Property{Name: name, Value: godbus.MakeVariant(value)}
}
