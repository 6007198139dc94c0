package main

import (
	"flag"
	"io"

	"ecsagent/agent/config"
)

// flags are the flags of the daemon (docs/spec/03 section 2.1).
type flags struct {
	config         config.Flags
	version        bool
	license        bool
	healthcheck    bool
	attributes     bool
	windowsService bool
}

func parseFlags(args []string, stderr io.Writer) (flags, error) {
	var f flags
	set := flag.NewFlagSet("ecs-agent", flag.ContinueOnError)
	set.SetOutput(stderr)
	set.BoolVar(&f.version, "version", false, "print which build this is and exit")
	set.BoolVar(&f.license, "license", false, "print the licences and exit")
	set.BoolVar(&f.healthcheck, "healthcheck", false, "exit with 0 when an agent runs on this host, else with 1")
	set.BoolVar(&f.attributes, "ecs-attributes", false, "print the attributes this host would register with and exit")
	set.BoolVar(&f.windowsService, "windows-service", false, "run under the Windows service controller")
	set.BoolVar(&f.config.AcceptInsecure, "k", false, "do not verify TLS certificates of ECS")
	set.BoolVar(&f.config.BlackholeIMDS, "blackhole-ec2-metadata", false, "make every call to instance metadata fail")
	set.StringVar(&f.config.LogLevel, "loglevel", "", "level of every log: debug, info, warn, error, crit, none")
	set.StringVar(&f.config.LogLevelDriver, "loglevel-driver", "", "level of the log on the console")
	set.StringVar(&f.config.LogLevelOnInstance, "loglevel-on-instance", "", "level of the log in the file")
	set.StringVar(&f.config.ConfigFile, "config", "", "file of KEY=VALUE settings (default /etc/ecs/ecs.config)")
	if err := set.Parse(args); err != nil {
		return f, err
	}
	if set.NArg() > 0 {
		_, _ = io.WriteString(stderr, "ecs-agent: unexpected argument "+set.Arg(0)+"\n")
		set.Usage()
		return f, flag.ErrHelp
	}
	return f, nil
}
