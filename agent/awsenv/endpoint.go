package awsenv

import (
	"fmt"
	"net/url"
	"strings"
)

// EndpointOptions says how the endpoint of a service is found (docs/spec/01
// section 1.1, docs/spec/03 section 7.2).
type EndpointOptions struct {
	Service string // first label of the host, such as "ecs"
	// Variable is the name by which AWS_ENDPOINT_URL_<VARIABLE> calls the service; empty:
	// Service in capitals.
	Variable string
	Region   string
	// Override is used as it is, with https:// in front when it has no scheme.
	Override string
	// IPv6Only selects the dual-stack endpoint.
	IPv6Only bool
	// Getenv looks up AWS_ENDPOINT_URL_<VARIABLE>, AWS_ENDPOINT_URL,
	// AWS_IGNORE_CONFIGURED_ENDPOINT_URLS, AWS_USE_DUALSTACK_ENDPOINT and
	// AWS_USE_FIPS_ENDPOINT; usually os.Getenv.
	Getenv func(string) string
}

// Endpoint returns the base URL of a service.
func Endpoint(o EndpointOptions) (string, error) {
	if o.Override != "" {
		if !strings.HasPrefix(o.Override, "http://") && !strings.HasPrefix(o.Override, "https://") {
			o.Override = "https://" + o.Override
		}
		return checkEndpoint("endpoint override", o.Override)
	}
	if o.Variable == "" {
		o.Variable = strings.ToUpper(o.Service)
	}
	if !isTrue(o.Getenv("AWS_IGNORE_CONFIGURED_ENDPOINT_URLS")) {
		for _, name := range []string{"AWS_ENDPOINT_URL_" + o.Variable, "AWS_ENDPOINT_URL"} {
			if v := o.Getenv(name); v != "" {
				return checkEndpoint(name, v)
			}
		}
	}
	if o.Region == "" {
		return "", fmt.Errorf("find the endpoint of %s: the region is not known", o.Service)
	}
	p := PartitionOf(o.Region)
	suffix := p.DNSSuffix
	if p.DualStack && (o.IPv6Only || isTrue(o.Getenv("AWS_USE_DUALSTACK_ENDPOINT"))) {
		suffix = p.DualStackSuffix
	}
	host := o.Service
	if isTrue(o.Getenv("AWS_USE_FIPS_ENDPOINT")) {
		host += "-fips"
	}
	return "https://" + host + "." + o.Region + "." + suffix, nil
}

func checkEndpoint(source, endpoint string) (string, error) {
	u, err := url.Parse(endpoint)
	if err != nil {
		return "", fmt.Errorf("read %s: %w", source, err)
	}
	if u.Host == "" || u.Scheme != "http" && u.Scheme != "https" {
		return "", fmt.Errorf("read %s %q: want an http or https URL", source, endpoint)
	}
	return endpoint, nil
}

func isTrue(v string) bool { return strings.EqualFold(v, "true") }
