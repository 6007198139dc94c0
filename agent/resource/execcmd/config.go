package execcmd

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"

	"ecsagent/agent/task"
)

// defaultSessions is how many sessions one container may have at once.
const defaultSessions = 2

// sessionLimit is that of the agent's properties. What is no number, or none that can be
// meant, is the default: the SSM agent would take 0 for no limit at all.
func sessionLimit(m *task.ManagedAgent) int {
	n, err := strconv.Atoi(m.Properties["sessionLimit"])
	if err != nil || n <= 0 {
		return defaultSessions
	}
	return n
}

// agentConfig is the SSM agent's configuration.
type agentConfig struct {
	Mgs struct {
		StopTimeoutMillis   int
		SessionWorkersLimit int
	}
	Agent struct {
		ContainerMode        bool
		UseDualStackEndpoint bool
	}
}

func configText(sessions int, dualStack bool) []byte {
	var c agentConfig
	c.Mgs.StopTimeoutMillis, c.Mgs.SessionWorkersLimit = 20000, sessions
	c.Agent.ContainerMode, c.Agent.UseDualStackEndpoint = true, dualStack
	text, _ := json.Marshal(c) // numbers and booleans
	return text
}

// logText is the configuration of the SSM agent's log, in the words of the library seelog.
func logText(osType string) []byte {
	folder, size, rolls, errorRolls := "/var/log/amazon/ssm/", 40_000_000, 1, 1
	if osType == windows {
		size, rolls, errorRolls = 30_000_000, 5, 5
		folder = `C:\ProgramData\Amazon\SSM\Logs\`
	}
	return fmt.Appendf(nil, `<seelog type="adaptive" mininterval="2000000" maxinterval="100000000" critmsgcount="500" minlevel="info">
    <outputs formatid="fmtinfo">
        <rollingfile type="size" filename="%[1]samazon-ssm-agent.log" maxsize="%[2]d" maxrolls="%[3]d"/>
        <filter levels="error,critical" formatid="fmterror">
            <rollingfile type="size" filename="%[1]serrors.log" maxsize="10000000" maxrolls="%[4]d"/>
        </filter>
    </outputs>
    <formats>
        <format id="fmterror" format="%%Date %%Time %%LEVEL [%%FuncShort @ %%File.%%Line] %%Msg%%n"/>
        <format id="fmtinfo" format="%%Date %%Time %%LEVEL %%Msg%%n"/>
    </formats>
</seelog>
`, folder, size, rolls, errorRolls)
}

// hash names a file by what is in it.
func hash(text []byte) string {
	sum := sha256.Sum256(text)
	return base64.URLEncoding.EncodeToString(sum[:])
}

// put writes a file whose name tells what is in it, unless it is there already.
func put(path string, text []byte) error {
	switch have, err := os.ReadFile(path); {
	case err == nil && hash(have) == hash(text):
		return nil
	case err != nil && !errors.Is(err, fs.ErrNotExist):
		// Docker makes a directory of a file that is missing when it is to be mounted.
		if info, statErr := os.Lstat(path); statErr != nil || !info.IsDir() {
			return err
		}
		if err := os.Remove(path); err != nil {
			return err
		}
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return err
	}
	draft, err := os.CreateTemp(filepath.Dir(path), ".new-")
	if err != nil {
		return err
	}
	_, err = draft.Write(text)
	if err == nil {
		err = draft.Chmod(0o644)
	}
	if err == nil {
		err = draft.Sync()
	}
	if err = errors.Join(err, draft.Close()); err == nil {
		err = os.Rename(draft.Name(), path)
	}
	if err != nil {
		_ = os.Remove(draft.Name())
	}
	return err
}
