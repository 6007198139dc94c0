package cli

import (
	"context"
	"fmt"
	"net/http"
	"time"

	"github.com/spf13/cobra"

	"ecsagent/controlplane/telemetry"
)

func (a *app) statsCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use: "stats", Short: "Show what tasks use, as their agents told it",
		Long: `Stats shows the latest metrics that agents published: every 20 seconds each tells
of the samples since the last time. CPU is in percent of the whole host, memory without
what the kernel can drop of its cache; both are the mean of the samples, with the
highest in brackets. Network is in bytes a second, disk in bytes since the container
was made.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return a.stats(cmd.Context()) },
	}
	a.outputFlag(cmd)
	return cmd
}

func (a *app) stats(ctx context.Context) error {
	c := a.connect()
	defer c.Close()
	var out struct {
		Instances []telemetry.Instance `json:"instances"`
	}
	if err := c.Local(ctx, http.MethodGet, "stats", &out); err != nil {
		return err
	}
	if a.output == "json" {
		return a.json(out)
	}
	t := table{{"TASK", "DEFINITION", "CONTAINER", "CPU %", "MEMORY MIB", "NET IN", "NET OUT", "DISK READ", "DISK WRITTEN", "RESTARTS", "AGE"}}
	for i := range out.Instances {
		for j := range out.Instances[i].Tasks {
			t = append(t, usageRows(&out.Instances[i].Tasks[j], time.Now())...)
		}
	}
	if len(t) > 1 {
		t.print(a.Out)
		return nil
	}
	switch {
	case len(out.Instances) == 0:
		a.printf("No agent has published metrics yet.\n")
	case out.Instances[0].Idle:
		a.printf("Nothing runs, say the agents.\n")
	default:
		a.printf("Nothing was measured yet; agents tell every 20 seconds.\n")
	}
	return nil
}

// usageRows renders a task as one row for each container.
func usageRows(task *telemetry.TaskUsage, now time.Time) [][]string {
	head := []string{short(task.ARN), task.Family + ":" + task.Version}
	var rows [][]string
	for i := range task.Containers {
		c := &task.Containers[i]
		row := append(head, c.Name, mean(c.CPU, "%.2f"), mean(c.Memory, "%.0f"))
		in, out := "", ""
		if c.Network != nil {
			in, out = average(c.Network.RxRate, "%.0f"), average(c.Network.TxRate, "%.0f")
		}
		read, written, restarts := "", "", ""
		if c.Storage != nil {
			read, written = highest(c.Storage.Read), highest(c.Storage.Write)
		}
		if c.Restart != nil && c.Restart.Count != nil {
			restarts = fmt.Sprint(*c.Restart.Count)
		}
		rows = append(rows, append(row, in, out, read, written, restarts, age(now.Sub(task.At))))
		head = []string{"", ""}
	}
	return rows
}

// average renders the mean of a set; nothing for one without samples.
func average(s *telemetry.Set, format string) string {
	if s == nil || s.Sum == nil || s.Count == nil || *s.Count == 0 {
		return ""
	}
	return fmt.Sprintf(format, *s.Sum/float64(*s.Count))
}

// mean renders the mean of a set and its highest value.
func mean(s *telemetry.Set, format string) string {
	text := average(s, format)
	if text == "" || s.Max == nil {
		return text
	}
	return text + " (" + fmt.Sprintf(format, *s.Max) + ")"
}

func highest(s *telemetry.LongSet) string {
	if s == nil || s.Max == nil {
		return ""
	}
	return fmt.Sprint(*s.Max)
}
