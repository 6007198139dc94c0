package awsenv

import (
	"strings"
	"testing"
)

func TestPartitionOf(t *testing.T) {
	for region, want := range map[string]string{
		"us-west-2": "aws amazonaws.com", "mx-central-1": "aws amazonaws.com", "il-central-1": "aws amazonaws.com",
		"cn-north-1": "aws-cn amazonaws.com.cn", "us-gov-east-1": "aws-us-gov amazonaws.com",
		"us-iso-east-1": "aws-iso c2s.ic.gov", "us-isob-east-1": "aws-iso-b sc2s.sgov.gov",
		"eu-isoe-west-1": "aws-iso-e cloud.adc-e.uk", "us-isof-south-1": "aws-iso-f csp.hci.ic.gov",
		"eusc-de-east-1": "aws-eusc amazonaws.eu",
	} {
		p := PartitionOf(region)
		if got := p.Name + " " + p.DNSSuffix; got != want || !p.Known {
			t.Errorf("%s: %s (known %v), want %s", region, got, p.Known, want)
		}
	}
	for _, region := range []string{"moon-base-1", "", "us", "us-east", "us-east-", "us--1", "us-east-1a", "us-a b-1", "us-east-1-2", "xus-east-1", "us-é-1"} {
		if p := PartitionOf(region); p.Known || p.DNSSuffix != "amazonaws.com" {
			t.Errorf("unknown region %q: %+v", region, p)
		}
	}
}

func TestEndpoint(t *testing.T) {
	tests := []struct {
		name     string
		region   string
		override string
		ipv6Only bool
		env      map[string]string
		want     string
	}{
		{name: "regional", region: "us-west-2", want: "https://ecs.us-west-2.amazonaws.com"},
		{name: "china", region: "cn-north-1", want: "https://ecs.cn-north-1.amazonaws.com.cn"},
		{name: "ipv6 only", region: "us-west-2", ipv6Only: true, want: "https://ecs.us-west-2.api.aws"},
		{name: "ipv6 only, no dual stack", region: "us-iso-east-1", ipv6Only: true, want: "https://ecs.us-iso-east-1.c2s.ic.gov"},
		{name: "dual stack by environment", region: "us-west-2", env: map[string]string{"AWS_USE_DUALSTACK_ENDPOINT": "true"}, want: "https://ecs.us-west-2.api.aws"},
		{name: "fips", region: "us-west-2", env: map[string]string{"AWS_USE_FIPS_ENDPOINT": "TRUE"}, want: "https://ecs-fips.us-west-2.amazonaws.com"},
		{name: "override without scheme", override: "ecs.example:8443", ipv6Only: true, want: "https://ecs.example:8443"},
		{name: "override with scheme beats environment", override: "http://127.0.0.1:1234", env: map[string]string{"AWS_ENDPOINT_URL_ECS": "http://other"}, want: "http://127.0.0.1:1234"},
		{name: "service variable first", env: map[string]string{"AWS_ENDPOINT_URL_ECS": "http://a", "AWS_ENDPOINT_URL": "http://b"}, want: "http://a"},
		{name: "general variable", env: map[string]string{"AWS_ENDPOINT_URL": "http://b/path"}, want: "http://b/path"},
		{name: "variables ignored", region: "us-west-2", env: map[string]string{"AWS_ENDPOINT_URL": "http://b", "AWS_IGNORE_CONFIGURED_ENDPOINT_URLS": "true"}, want: "https://ecs.us-west-2.amazonaws.com"},
		{name: "no region", want: "error: find the endpoint of ecs"},
		{name: "bad variable", env: map[string]string{"AWS_ENDPOINT_URL": "localhost:80"}, want: "error: read AWS_ENDPOINT_URL"},
		{name: "bad override", override: "http://", want: "error: read endpoint override"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got, err := Endpoint(EndpointOptions{
				Service: "ecs", Region: tt.region, Override: tt.override, IPv6Only: tt.ipv6Only,
				Getenv: func(name string) string { return tt.env[name] },
			})
			if err != nil {
				got = "error: " + err.Error()
			}
			if got != tt.want && (err == nil || !strings.HasPrefix(got, tt.want)) {
				t.Errorf("got %s, want %s", got, tt.want)
			}
		})
	}
}
