package main

import (
	"context"
	"errors"
	"fmt"
	"math"
	"time"

	"github.com/influxdata/telegraf"
	"github.com/influxdata/telegraf/plugins/inputs"
	_ "github.com/influxdata/telegraf/plugins/inputs/ecs" // adds itself to the inputs
)

// telegrafInput gathers with Telegraf's ecs input as it is without any settings.
func telegrafInput(ctx context.Context, all *accounts, every time.Duration) error {
	creator := inputs.Inputs["ecs"]
	if creator == nil {
		return errors.New("telegraf has no ecs input")
	}
	input := creator()
	repeat(ctx, every, func() {
		acc := &gathered{picture: picture{Containers: map[string]*container{}}}
		if err := input.Gather(acc); err != nil {
			acc.AddError(err)
		}
		for _, err := range acc.failures {
			all.failed("telegraf", err.Error())
		}
		if len(acc.failures) == 0 {
			all.saw("telegraf", acc.picture)
		}
	})
	return nil
}

// gathered is a telegraf.Accumulator that draws a picture.
type gathered struct {
	picture  picture
	failures []error
}

// AddFields implements telegraf.Accumulator.
func (g *gathered) AddFields(measurement string, fields map[string]any, tags map[string]string, _ ...time.Time) {
	number := func(name string) float64 {
		var n float64
		switch v := fields[name].(type) {
		case float64:
			n = v
		case uint64:
			n = float64(v)
		default:
			g.AddError(fmt.Errorf("%s: %s is %v, want a number", measurement, name, v))
		}
		if math.IsNaN(n) || math.IsInf(n, 0) {
			g.AddError(fmt.Errorf("%s: %s is %v", measurement, name, n))
		}
		return n
	}
	p := &g.picture
	p.Cluster, p.TaskARN, p.Family, p.Revision = tags["cluster"], tags["task_arn"], tags["family"], tags["revision"]
	if measurement == "ecs_task" {
		p.CPU, p.Memory = number("limit_cpu"), number("limit_mem")
		return
	}
	c := p.Containers[tags["name"]]
	if c == nil {
		c = &container{ID: tags["id"]}
		p.Containers[tags["name"]] = c
	}
	switch measurement {
	case "ecs_container_meta":
		c.Status, _ = fields["known_status"].(string)
		c.CPU, c.Memory = number("limit_cpu"), number("limit_mem")
	case "ecs_container_mem":
		c.MemoryInUse, c.MemoryAtMost = number("usage"), number("limit")
	case "ecs_container_cpu":
		if tags["cpu"] == "cpu-total" {
			c.CPUTime = number("usage_total")
			number("usage_percent")
		}
	case "ecs_container_net":
		c.NetworkPasses = max(c.NetworkPasses, number("rx_bytes"))
	}
}

// AddGauge implements telegraf.Accumulator.
func (g *gathered) AddGauge(m string, fields map[string]any, tags map[string]string, t ...time.Time) {
	g.AddFields(m, fields, tags, t...)
}

// AddCounter implements telegraf.Accumulator.
func (g *gathered) AddCounter(m string, fields map[string]any, tags map[string]string, t ...time.Time) {
	g.AddFields(m, fields, tags, t...)
}

// AddSummary implements telegraf.Accumulator.
func (g *gathered) AddSummary(m string, fields map[string]any, tags map[string]string, t ...time.Time) {
	g.AddFields(m, fields, tags, t...)
}

// AddHistogram implements telegraf.Accumulator.
func (g *gathered) AddHistogram(m string, fields map[string]any, tags map[string]string, t ...time.Time) {
	g.AddFields(m, fields, tags, t...)
}

// AddMetric implements telegraf.Accumulator.
func (g *gathered) AddMetric(m telegraf.Metric) {
	g.AddFields(m.Name(), m.Fields(), m.Tags(), m.Time())
}

// AddError implements telegraf.Accumulator.
func (g *gathered) AddError(err error) { g.failures = append(g.failures, err) }

// SetPrecision implements telegraf.Accumulator.
func (*gathered) SetPrecision(time.Duration) {}

// WithTracking implements telegraf.Accumulator; the ecs input does not track.
func (*gathered) WithTracking(int) telegraf.TrackingAccumulator { return nil }
