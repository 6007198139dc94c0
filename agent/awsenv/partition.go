package awsenv

import "strings"

// Partition is a group of regions with its own names (docs/spec/03 section 7.1).
type Partition struct {
	Name            string
	DNSSuffix       string
	DualStackSuffix string
	DualStack       bool // whether dual-stack endpoints exist
	// Known is false for a region that no partition claims; the names are then
	// those of the partition "aws".
	Known bool

	prefixes []string // of its regions, which go on with a word and a number
}

var partitions = []Partition{
	{Name: "aws", DNSSuffix: "amazonaws.com", DualStackSuffix: "api.aws", DualStack: true,
		prefixes: []string{"us", "eu", "ap", "sa", "ca", "me", "af", "il", "mx"}},
	{Name: "aws-cn", DNSSuffix: "amazonaws.com.cn", DualStackSuffix: "api.amazonwebservices.com.cn", DualStack: true,
		prefixes: []string{"cn"}},
	{Name: "aws-us-gov", DNSSuffix: "amazonaws.com", DualStackSuffix: "api.aws", DualStack: true,
		prefixes: []string{"us-gov"}},
	{Name: "aws-iso", DNSSuffix: "c2s.ic.gov", DualStackSuffix: "c2s.ic.gov",
		prefixes: []string{"us-iso"}},
	{Name: "aws-iso-b", DNSSuffix: "sc2s.sgov.gov", DualStackSuffix: "sc2s.sgov.gov",
		prefixes: []string{"us-isob"}},
	{Name: "aws-iso-e", DNSSuffix: "cloud.adc-e.uk", DualStackSuffix: "cloud.adc-e.uk",
		prefixes: []string{"eu-isoe"}},
	{Name: "aws-iso-f", DNSSuffix: "csp.hci.ic.gov", DualStackSuffix: "csp.hci.ic.gov",
		prefixes: []string{"us-isof"}},
	{Name: "aws-eusc", DNSSuffix: "amazonaws.eu", DualStackSuffix: "amazonaws.eu",
		prefixes: []string{"eusc-de"}},
}

// PartitionOf returns the partition of a region.
func PartitionOf(region string) Partition {
	for _, p := range partitions {
		if p.claims(region) {
			p.Known = true
			return p
		}
	}
	return partitions[0]
}

// claims reports whether the region is one of the partition's.
func (p *Partition) claims(region string) bool {
	for _, prefix := range p.prefixes {
		rest, ok := strings.CutPrefix(region, prefix+"-")
		word, number, _ := strings.Cut(rest, "-")
		if ok && word != "" && number != "" && strings.Trim(word, wordCharacters) == "" && strings.Trim(number, digits) == "" {
			return true
		}
	}
	return false
}

const (
	digits         = "0123456789"
	wordCharacters = digits + "_abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
)
