package awsenv

import "regexp"

// Partition is a group of regions with its own names (docs/spec/03 section 7.1).
type Partition struct {
	Name            string
	DNSSuffix       string
	DualStackSuffix string
	DualStack       bool // whether dual-stack endpoints exist
	// Known is false for a region that no partition claims; the names are then
	// those of the partition "aws".
	Known bool

	pattern *regexp.Regexp
}

var partitions = []Partition{
	{Name: "aws", DNSSuffix: "amazonaws.com", DualStackSuffix: "api.aws", DualStack: true,
		pattern: regexp.MustCompile(`^(us|eu|ap|sa|ca|me|af|il|mx)-\w+-\d+$`)},
	{Name: "aws-cn", DNSSuffix: "amazonaws.com.cn", DualStackSuffix: "api.amazonwebservices.com.cn", DualStack: true,
		pattern: regexp.MustCompile(`^cn-\w+-\d+$`)},
	{Name: "aws-us-gov", DNSSuffix: "amazonaws.com", DualStackSuffix: "api.aws", DualStack: true,
		pattern: regexp.MustCompile(`^us-gov-\w+-\d+$`)},
	{Name: "aws-iso", DNSSuffix: "c2s.ic.gov", DualStackSuffix: "c2s.ic.gov",
		pattern: regexp.MustCompile(`^us-iso-\w+-\d+$`)},
	{Name: "aws-iso-b", DNSSuffix: "sc2s.sgov.gov", DualStackSuffix: "sc2s.sgov.gov",
		pattern: regexp.MustCompile(`^us-isob-\w+-\d+$`)},
	{Name: "aws-iso-e", DNSSuffix: "cloud.adc-e.uk", DualStackSuffix: "cloud.adc-e.uk",
		pattern: regexp.MustCompile(`^eu-isoe-\w+-\d+$`)},
	{Name: "aws-iso-f", DNSSuffix: "csp.hci.ic.gov", DualStackSuffix: "csp.hci.ic.gov",
		pattern: regexp.MustCompile(`^us-isof-\w+-\d+$`)},
	{Name: "aws-eusc", DNSSuffix: "amazonaws.eu", DualStackSuffix: "amazonaws.eu",
		pattern: regexp.MustCompile(`^eusc-(de)-\w+-\d+$`)},
}

// PartitionOf returns the partition of a region.
func PartitionOf(region string) Partition {
	for _, p := range partitions {
		if p.pattern.MatchString(region) {
			p.Known = true
			return p
		}
	}
	return partitions[0]
}
