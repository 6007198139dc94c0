package registration

import "strings"

// DefaultCluster is used, and created when missing, when no cluster is configured.
const DefaultCluster = "default"

// ClusterName returns the name in a cluster's name or ARN; empty stands for the
// default cluster.
func ClusterName(cluster string) string {
	cluster = strings.TrimSpace(cluster)
	if strings.HasPrefix(cluster, "arn:") {
		if i := strings.Index(cluster, ":cluster/"); i >= 0 {
			cluster = cluster[i+len(":cluster/"):]
		}
	}
	if cluster == "" {
		return DefaultCluster
	}
	return cluster
}

// SameCluster reports whether two names or ARNs mean the same cluster. Two ARNs
// must agree in region and account as well.
func SameCluster(a, b string) bool {
	a, b = strings.TrimSpace(a), strings.TrimSpace(b)
	if strings.HasPrefix(a, "arn:") && strings.HasPrefix(b, "arn:") {
		return a == b
	}
	return ClusterName(a) == ClusterName(b)
}
