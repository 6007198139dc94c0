package main

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/open-telemetry/opentelemetry-collector-contrib/receiver/awsecscontainermetricsreceiver"
	"go.opentelemetry.io/collector/component"
	"go.opentelemetry.io/collector/consumer"
	"go.opentelemetry.io/collector/pdata/pcommon"
	"go.opentelemetry.io/collector/pdata/pmetric"
	otelreceiver "go.opentelemetry.io/collector/receiver"
	"go.opentelemetry.io/contrib/detectors/aws/ecs"
	metricnoop "go.opentelemetry.io/otel/metric/noop"
	tracenoop "go.opentelemetry.io/otel/trace/noop"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
)

// receiver collects with OpenTelemetry's awsecscontainermetrics receiver.
func receiver(ctx context.Context, all *accounts, every time.Duration) error {
	factory := awsecscontainermetricsreceiver.NewFactory()
	settings := otelreceiver.Settings{ID: component.NewID(factory.Type()), TelemetrySettings: component.TelemetrySettings{
		// Its errors go nowhere but into its log.
		Logger:         zap.New(complaints{zapcore.WarnLevel, all}),
		TracerProvider: tracenoop.NewTracerProvider(), MeterProvider: metricnoop.NewMeterProvider(), Resource: pcommon.NewResource(),
	}}
	config := factory.CreateDefaultConfig()
	config.(*awsecscontainermetricsreceiver.Config).CollectionInterval = every
	now := picture{Containers: map[string]*container{}}
	sink, err := consumer.NewMetrics(func(_ context.Context, metrics pmetric.Metrics) error {
		if collect(metrics, &now) { // the task comes last
			all.saw("receiver", now)
			now = picture{Containers: map[string]*container{}}
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("make a consumer: %w", err)
	}
	r, err := factory.CreateMetrics(ctx, settings, config, sink)
	if err != nil {
		return fmt.Errorf("make the receiver: %w", err)
	}
	if err := r.Start(ctx, nil); err != nil {
		return fmt.Errorf("start the receiver: %w", err)
	}
	<-ctx.Done()
	return r.Shutdown(context.WithoutCancel(ctx))
}

// collect adds metrics to a picture and reports whether they were the task's.
func collect(metrics pmetric.Metrics, p *picture) (task bool) {
	for _, rm := range metrics.ResourceMetrics().All() {
		about := map[string]string{}
		for k, v := range rm.Resource().Attributes().All() {
			about[k] = v.AsString()
		}
		p.Cluster, p.TaskARN = about["aws.ecs.cluster.name"], about["aws.ecs.task.arn"]
		p.Family, p.Revision = about["aws.ecs.task.family"], about["aws.ecs.task.revision"]
		values := map[string]float64{}
		for _, scope := range rm.ScopeMetrics().All() {
			for _, m := range scope.Metrics().All() {
				values[m.Name()] = value(m)
			}
		}
		if _, task = values["ecs.task.memory.usage"]; task {
			p.CPU, p.Memory = values["ecs.task.cpu.reserved"], values["ecs.task.memory.reserved"]
			p.Attributes = about
			continue
		}
		p.Containers[about["container.name"]] = &container{
			ID: about["container.id"], Status: about["aws.ecs.container.know_status"], // their spelling
			CPU: values["container.cpu.reserved"], Memory: values["container.memory.reserved"],
			CPUTime: values["container.cpu.usage.total"], MemoryInUse: values["container.memory.usage"],
			MemoryAtMost: values["container.memory.usage.limit"], NetworkPasses: values["container.network.io.usage.rx_bytes"],
			Seconds: values["container.duration"],
		}
	}
	return task
}

// value is the value of a metric with one data point.
func value(m pmetric.Metric) float64 {
	var points pmetric.NumberDataPointSlice
	switch m.Type() {
	case pmetric.MetricTypeGauge:
		points = m.Gauge().DataPoints()
	case pmetric.MetricTypeSum:
		points = m.Sum().DataPoints()
	default:
		return 0
	}
	if points.At(0).ValueType() == pmetric.NumberDataPointValueTypeInt {
		return float64(points.At(0).IntValue())
	}
	return points.At(0).DoubleValue()
}

// complaints is a zapcore.Core that takes warnings and errors for failures.
type complaints struct {
	zapcore.LevelEnabler
	all *accounts
}

// With implements zapcore.Core.
func (c complaints) With([]zapcore.Field) zapcore.Core { return c }

// Check implements zapcore.Core.
func (c complaints) Check(e zapcore.Entry, to *zapcore.CheckedEntry) *zapcore.CheckedEntry {
	if c.Enabled(e.Level) {
		return to.AddCore(e, c)
	}
	return to
}

// Write implements zapcore.Core.
func (c complaints) Write(e zapcore.Entry, fields []zapcore.Field) error {
	text := []string{e.Message}
	encoder := zapcore.NewMapObjectEncoder()
	for _, f := range fields {
		f.AddTo(encoder)
	}
	for k, v := range encoder.Fields {
		text = append(text, fmt.Sprintf("%s=%v", k, v))
	}
	c.all.failed("receiver", strings.Join(text, " "))
	return nil
}

// Sync implements zapcore.Core.
func (complaints) Sync() error { return nil }

// detector detects with OpenTelemetry's resource detector for ECS.
func detector(ctx context.Context, all *accounts, every time.Duration) error {
	d := ecs.NewResourceDetector()
	repeat(ctx, every, func() {
		found, err := d.Detect(context.WithoutCancel(ctx))
		if err != nil {
			all.failed("detector", err.Error())
			return
		}
		p := picture{Attributes: map[string]string{}}
		for _, a := range found.Attributes() {
			p.Attributes[string(a.Key)] = a.Value.String()
		}
		p.Cluster, p.TaskARN = p.Attributes["aws.ecs.cluster.arn"], p.Attributes["aws.ecs.task.arn"]
		p.Family, p.Revision = p.Attributes["aws.ecs.task.family"], p.Attributes["aws.ecs.task.revision"]
		all.saw("detector", p)
	})
	return nil
}
