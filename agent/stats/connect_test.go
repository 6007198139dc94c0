package stats

import (
	"encoding/json"
	"math"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

const connectText = `# HELP requests how many
# TYPE requests counter
requests{Direction="egress",TargetDiscoveryName="orders \"new\""} 7
requests{Direction="ingress",ServiceName="shop"} 3 1395066363000
# TYPE memory gauge
memory 1.5
# TYPE odd gauge
odd NaN
# TYPE latency histogram
latency_bucket{ServiceName="shop",Direction="ingress",le="0.5"} 0
latency_bucket{ServiceName="shop",Direction="ingress",le="1"} 4
latency_bucket{ServiceName="shop",Direction="ingress",le="2.5"} 4
latency_bucket{ServiceName="shop",Direction="ingress",le="10"} 6
latency_bucket{ServiceName="shop",Direction="ingress",le="+Inf"} 9
latency_sum{ServiceName="shop",Direction="ingress"} 22
latency_count{ServiceName="shop",Direction="ingress"} 9
# TYPE quiet histogram
quiet_bucket{le="1"} 0
quiet_bucket{le="+Inf"} 0
# TYPE parts summary
parts{quantile="0.5"} 4
nobody 5
`

func TestReadConnect(t *testing.T) {
	got, err := ReadConnect(strings.NewReader(connectText))
	want := []ConnectGroup{
		{Metrics: []ConnectMetric{{"memory", []float64{1.5}, []int64{1}}}},
		{Type: "2", Dimensions: []Dimension{{"TargetDiscoveryName", `orders "new"`}}, Metrics: []ConnectMetric{{"requests", []float64{7}, []int64{1}}}},
		{Type: "1", Dimensions: []Dimension{{"ServiceName", "shop"}}, Metrics: []ConnectMetric{
			{"latency", []float64{1, 10}, []int64{4, 2}}, {"requests", []float64{3}, []int64{1}},
		}},
	}
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	for bad, cause := range map[string]string{
		"requests":                             "line 1 of the metrics: ",
		"# TYPE a counter\na{x=\"y\" 1":        "label",
		"# TYPE a counter\na{x=y} 1":           `want labels such as {name="value"}`,
		"# TYPE a counter\na one":              `value "one" of a: want a number`,
		"# TYPE a counter\na{x=\"y\"}":         "want a number",
		"# TYPE a histogram\na_bucket{} 1":     `label le of a_bucket is ""`,
		"a " + strings.Repeat("1", 1<<20) + "": "read metrics",
	} {
		if _, err := ReadConnect(strings.NewReader(bad)); err == nil || !strings.Contains(err.Error(), cause) {
			t.Errorf("%.40q: %v; want %q", bad, err, cause)
		}
	}
}

// Whatever a proxy writes, what is made of it can be sent.
func FuzzReadConnect(f *testing.F) {
	f.Add(connectText)
	f.Add("# TYPE a histogram\na_bucket{le=\"1\"} 1e300\na_bucket{le=\"-Inf\"} 3\n")
	f.Add("# TYPE a gauge\na{b=\"\\\\\\n\", c=\"d\",} -1\n")
	f.Fuzz(func(t *testing.T, text string) {
		groups, err := ReadConnect(strings.NewReader(text))
		if err != nil {
			return
		}
		if _, err := json.Marshal(groups); err != nil {
			t.Fatal(err)
		}
		for _, g := range groups {
			if len(g.Metrics) == 0 {
				t.Errorf("a group without metrics: %+v", g)
			}
			for _, m := range g.Metrics {
				if len(m.Values) == 0 || len(m.Values) != len(m.Counts) {
					t.Errorf("metric %+v", m)
				}
				for i, n := range m.Counts {
					if n <= 0 || math.IsInf(m.Values[i], 0) || i > 0 && m.Values[i] <= m.Values[i-1] {
						t.Errorf("metric %+v", m)
					}
				}
			}
		}
	})
}
