package config

import "ecsagent/agent/secret"

// endpointPrefix begins the variables AWS_ENDPOINT_URL_<SERVICE>.
const endpointPrefix = "AWS_ENDPOINT_URL_"

func sdkSettings() []Setting {
	rows := []Setting{
		{
			Name: "HTTP_PROXY", Aliases: []string{"http_proxy"}, Redact: redactUserinfo,
			Text:  "Proxy for plain HTTP, and for AWS calls when `HTTPS_PROXY` is unset.",
			value: as(text, func(c *Config) *string { return &c.Proxy.HTTP }), verify: verifyProxy(func(c *Config) string { return c.Proxy.HTTP }),
		},
		{
			Name: "HTTPS_PROXY", Aliases: []string{"https_proxy"}, Redact: redactUserinfo,
			Text:  "Proxy for AWS calls and websockets.",
			value: as(text, func(c *Config) *string { return &c.Proxy.HTTPS }), verify: verifyProxy(func(c *Config) string { return c.Proxy.HTTPS }),
		},
		{
			Name: "NO_PROXY", Aliases: []string{"no_proxy"},
			Text:  "Addresses, networks and domains that are reached without a proxy. Should hold `169.254.169.254,169.254.170.2`.",
			value: as(text, func(c *Config) *string { return &c.Proxy.No }),
		},
		{
			Name: "AWS_ACCESS_KEY_ID", Redact: redactAll, Text: "Instance credentials: access key id.",
			value: as(secretText, func(c *Config) *secret.String { return &c.AWS.AccessKeyID }),
		},
		{
			Name: "AWS_SECRET_ACCESS_KEY", Redact: redactAll, Text: "Instance credentials: secret key.",
			value: as(secretText, func(c *Config) *secret.String { return &c.AWS.SecretAccessKey }),
		},
		{
			Name: "AWS_SESSION_TOKEN", Redact: redactAll, Text: "Instance credentials: session token.",
			value: as(secretText, func(c *Config) *secret.String { return &c.AWS.SessionToken }),
		},
	}
	type plain struct {
		name, what string
		at         func(*Config) *string
	}
	for _, p := range []plain{
		{"AWS_PROFILE", "Profile in the shared credentials and configuration files.", func(c *Config) *string { return &c.AWS.Profile }},
		{"AWS_SHARED_CREDENTIALS_FILE", "Shared credentials file.", func(c *Config) *string { return &c.AWS.SharedCredentialsFile }},
		{"AWS_CONFIG_FILE", "Shared configuration file.", func(c *Config) *string { return &c.AWS.ConfigFile }},
		{"AWS_ROLE_ARN", "Role assumed with `AWS_WEB_IDENTITY_TOKEN_FILE`.", func(c *Config) *string { return &c.AWS.RoleARN }},
		{"AWS_WEB_IDENTITY_TOKEN_FILE", "Token file for `AWS_ROLE_ARN`.", func(c *Config) *string { return &c.AWS.WebIdentityTokenFile }},
		{"AWS_ENDPOINT_URL", "Endpoint of all AWS services; `ECS_BACKEND_HOST` wins for ECS.", func(c *Config) *string { return &c.AWS.EndpointURL }},
		{"AWS_EC2_METADATA_SERVICE_ENDPOINT", "Endpoint of the instance metadata service.", func(c *Config) *string { return &c.AWS.MetadataEndpoint }},
		{"AWS_EC2_METADATA_SERVICE_ENDPOINT_MODE", "`IPv4` or `IPv6`.", func(c *Config) *string { return &c.AWS.MetadataEndpointMode }},
		{"AWS_RETRY_MODE", "`standard` or `adaptive`.", func(c *Config) *string { return &c.AWS.RetryMode }},
		{"AWS_CA_BUNDLE", "Certificates, PEM, trusted for AWS calls in place of the host's.", func(c *Config) *string { return &c.AWS.CABundle }},
		{"SSL_CERT_FILE", "Certificates, PEM, trusted in place of the host's.", func(c *Config) *string { return &c.AWS.SSLCertFile }},
		{"SSL_CERT_DIR", "Directory of trusted certificates.", func(c *Config) *string { return &c.AWS.SSLCertDir }},
	} {
		rows = append(rows, Setting{Name: p.name, Text: p.what, Redact: redactUserinfo, value: as(text, p.at)})
	}
	rows = append(rows,
		Setting{
			Name: endpointPrefix + "<SERVICE>", Text: "Endpoint of one AWS service, such as `AWS_ENDPOINT_URL_ECS`.", Redact: redactUserinfo,
			value: discard(),
		},
		Setting{
			Name: "AWS_USE_FIPS_ENDPOINT", Text: "FIPS endpoints.",
			value: as(boolean, func(c *Config) *bool { return &c.AWS.UseFIPSEndpoint }),
		},
		Setting{
			Name: "AWS_USE_DUALSTACK_ENDPOINT", Text: "Dual-stack endpoints.",
			value: as(boolean, func(c *Config) *bool { return &c.AWS.UseDualstackEndpoint }),
		},
		Setting{
			Name: "AWS_EC2_METADATA_DISABLED", Text: "The instance metadata service is not asked.",
			value: as(boolean, func(c *Config) *bool { return &c.AWS.MetadataDisabled }),
		},
		Setting{
			Name: "AWS_EC2_METADATA_V1_DISABLED", Text: "No fall-back from IMDSv2 to IMDSv1.",
			value: as(boolean, func(c *Config) *bool { return &c.AWS.MetadataV1Disabled }),
		},
		Setting{
			Name: "AWS_MAX_ATTEMPTS", Text: "Attempts per AWS call where the agent sets none.",
			value: as(integer(1, 1000), func(c *Config) *int { return &c.AWS.MaxAttempts }),
		},
		Setting{
			Name: "REQUEST_METHOD", Text: "A sign of CGI: when set, requests that would use `HTTP_PROXY` fail.",
			value: discard(), verify: verifyRequestMethod,
		},
	)
	for i := range rows {
		rows[i].Passthrough = true
	}
	for _, name := range []string{"ProgramData", "ProgramFiles", "PATH"} {
		rows = append(rows, Setting{Name: name, Foreign: true, Passthrough: true, value: discard()})
	}
	return rows
}

func initSettings() []Setting {
	return []Setting{
		both("false", Setting{
			Name: "ECS_SKIP_LOCALHOST_TRAFFIC_FILTER", ReadBy: "ecs-init",
			Text:  "The rule that keeps other hosts from loopback addresses is neither added nor removed.",
			value: as(boolean, func(c *Config) *bool { return &c.SkipLocalhostTrafficFilter }),
		}),
		both("false", Setting{
			Name: "ECS_ALLOW_OFFHOST_INTROSPECTION_ACCESS", ReadBy: "ecs-init",
			Text:  "The rules that keep other hosts from the introspection server are not added.",
			value: as(boolean, func(c *Config) *bool { return &c.AllowOffhostIntrospection }),
		}),
	}
}

// discard accepts any text and keeps none of it.
func discard() codec { return as(text, func(*Config) *string { return new(string) }) }

const noContainer = "the agent is no container, or one that `ecs-init` makes as it must be"

func inertSettings() []Setting {
	var rows []Setting
	for _, r := range []struct{ name, text, why string }{
		{"AWS_REGION", "Region for other programs.", "`AWS_DEFAULT_REGION` is the variable that is read"},
		{"ECS_LOG_OPTS", "Log options of the agent's container.", noContainer},
		{"ECS_AGENT_LABELS", "Labels of the agent's container.", noContainer},
		{"ECS_AGENT_RUN_PRIVILEGED", "Privilege of the agent's container.", noContainer},
		{"ECS_AGENT_APPARMOR_PROFILE", "AppArmor profile of the agent's container.", noContainer},
		{"ECS_AGENT_PID_NAMESPACE_HOST", "PID namespace of the agent's container.", noContainer},
		{"ECS_INIT_DOCKER_LOG_FILE_SIZE", "Log file size of the agent's container.", noContainer},
		{"ECS_INIT_DOCKER_LOG_FILE_NUM", "Log file count of the agent's container.", noContainer},
		{"ECS_OFFHOST_INTROSPECTION_INTERFACE_NAME", "Interface the introspection server was protected on.", "all interfaces but loopback and the Docker bridge are protected"},
		{"ECS_POLL_METRICS_WAIT_DURATION", "A misspelling found in documents.", "`ECS_POLLING_METRICS_WAIT_DURATION` is the variable that is read"},
		{"CF_UNIX_DOMAIN_SOCKET_DIR", "Setting of the credentials-fetcher daemon.", "the credentials-fetcher daemon reads it, the agent does not"},
	} {
		rows = append(rows, Setting{Name: r.name, Text: r.text, NoEffect: r.why, value: discard()})
	}
	rows = append(rows, testSettings()...)
	for _, name := range []string{
		// Set by agents for task containers and CNI plugins.
		"ECS_CONTAINER_METADATA_URI", "ECS_CONTAINER_METADATA_URI_V4", "ECS_CONTAINER_METADATA_FILE",
		"ECS_AGENT_URI", "ECS_CONTAINER_INSTANCE_ARN", "ECS_CNI_LOGLEVEL", "ECS_CNI_LOG_FILE",
		"VPC_CNI_LOG_LEVEL", "VPC_CNI_LOG_FILE",
		// Read by builds and test suites.
		"ECS_SKIP_ENGINE_INTEG_TEST", "REGISTRY_IMAGE_NAME", "REGISTRY_IMAGE_NAME_WITH_DIGEST",
		"ECS_RELEASE", "ECS_UNKNOWN_VERSION",
		"ZZZ_I_KNOW_SETTING_TEST_VALUES_IN_PRODUCTION_IS_NOT_SUPPORTED",
	} {
		rows = append(rows, Setting{Name: name, Foreign: true, Hidden: true, value: discard()})
	}
	return rows
}

// testSettings are the switches for tests (docs/spec/03 section 1.10.11).
func testSettings() []Setting {
	return []Setting{
		{
			// docs/spec/05 section 7.2.
			Name: "ECS_TEST_ENI_LINKS", Hidden: true, On: onLinux,
			value: as(text, func(c *Config) *string { return &c.TestENILinks }),
		},
		{
			Name: "ZZZ_SKIP_DOMAIN_JOIN_CHECK_NOT_SUPPORTED_IN_PRODUCTION", Hidden: true,
			value: as(boolean, func(c *Config) *bool { return &c.SkipDomainJoinCheck }),
		},
		{
			Name: "ZZZ_SKIP_DOMAIN_LESS_CHECK_NOT_SUPPORTED_IN_PRODUCTION", Hidden: true, On: onLinux,
			value: as(boolean, func(c *Config) *bool { return &c.SkipDomainlessCheck }),
		},
		{
			Name: "ZZZ_SKIP_CREDENTIALS_FETCHER_INVOCATION_CHECK_NOT_SUPPORTED_IN_PRODUCTION", Hidden: true, On: onLinux,
			value: as(boolean, func(c *Config) *bool { return &c.SkipCredentialsFetcherInvocationCheck }),
		},
		{
			Name: "ZZZ_SKIP_WINDOWS_SERVER_VERSION_CHECK_NOT_SUPPORTED_IN_PRODUCTION", Hidden: true, On: onWindows,
			value: as(boolean, func(c *Config) *bool { return &c.SkipWindowsServerVersionCheck }),
		},
	}
}
