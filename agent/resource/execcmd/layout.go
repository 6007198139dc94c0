package execcmd

import (
	"path"
	"path/filepath"

	"ecsagent/agent/task"
)

// layout is what one container gets, and where it is on the host and in the container.
type layout struct {
	os, dir, hostLog string
	task, folder     string // of the logs
	id               string // chosen for the container
	version          string // folder of the programs
	config, logging  []byte
}

// Where things are in a Windows container, and the plugins on its host.
const (
	windowsAgent   = `C:\Program Files\Amazon\SSM`
	windowsData    = `C:\ProgramData\Amazon\SSM`
	windowsPlugins = windowsAgent + `\Plugins`
)

// configFile and logFile are on the host. On Windows, where single files cannot be mounted,
// both are in a folder that is named by both.
func (l *layout) configFile() string {
	if l.os == windows {
		return filepath.Join(l.configDir(), "amazon-ssm-agent.json")
	}
	return filepath.Join(l.dir, configFolder, "amazon-ssm-agent-"+hash(l.config)+".json")
}

func (l *layout) logFile() string {
	if l.os == windows {
		return filepath.Join(l.configDir(), "seelog.xml")
	}
	return filepath.Join(l.dir, configFolder, "seelog-"+hash(l.logging)+".xml")
}

func (l *layout) configDir() string {
	both := append(append([]byte(nil), l.config...), l.logging...)
	return filepath.Join(l.dir, configFolder, hash(both))
}

// home is the agent's folder in the container.
func (l *layout) home() string { return "/ecs-execute-command-" + l.id }

func (l *layout) binds() []string {
	logs := filepath.Join(l.hostLog, l.task, l.folder)
	if l.os == windows {
		return []string{
			l.version + ":" + windowsAgent + ":ro",
			l.configDir() + ":" + windowsAgent + `\configuration:ro`,
			logs + ":" + windowsData,
			windowsPlugins + ":" + windowsPlugins + ":ro",
		}
	}
	var binds []string
	for _, name := range programs {
		binds = append(binds, filepath.Join(l.version, name)+":"+path.Join(l.home(), name)+":ro")
	}
	return append(binds,
		l.configFile()+":"+path.Join(l.home(), "configuration", "amazon-ssm-agent.json")+":ro",
		l.logFile()+":"+path.Join(l.home(), "configuration", "seelog.xml")+":ro",
		filepath.Join(l.dir, certsFolder, bundle)+":"+path.Join(l.home(), "certs", "amazon-ssm-agent.crt")+":ro",
		logs+":/var/log/amazon/ssm")
}

func (l *layout) setup() task.AgentSetup {
	if l.os == windows {
		return task.AgentSetup{Command: []string{windowsAgent + `\amazon-ssm-agent.exe`}, User: `NT AUTHORITY\SYSTEM`}
	}
	return task.AgentSetup{Command: []string{path.Join(l.home(), programs[0])}, User: "0"}
}
