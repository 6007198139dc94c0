package plugin

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"time"
)

// Logger appends lines to a file, "<UTC RFC3339> [LEVEL] message" (docs/spec/05 section
// 4.1). It opens the file for each line, because most calls write one. A log that cannot
// be written is not worth failing a task for.
type Logger struct {
	path  string
	level level
	now   func() time.Time
}

type level int

const (
	trace level = iota
	debugging
	info
	warn
	failure
	critical
	off
)

var levels = map[string]level{"trace": trace, "debug": debugging, "info": info, "warn": warn,
	"error": failure, "critical": critical, "off": off}

// keptLogs is how many full hours are kept besides the current one.
const keptLogs = 24

// Log is the plugin's logger, as the environment configures it.
func Log(p Plugin) *Logger {
	l := &Logger{level: info, now: time.Now}
	fileVariable, levelVariable := "ECS_CNI_LOG_FILE", "ECS_CNI_LOGLEVEL"
	if p.Family == VPC {
		fileVariable, levelVariable = "VPC_CNI_LOG_FILE", "VPC_CNI_LOG_LEVEL"
	}
	l.path = os.Getenv(fileVariable)
	if l.path == "" {
		l.path = defaultLog(runtime.GOOS, p.Name, os.Getenv)
	}
	if v, ok := levels[strings.ToLower(os.Getenv(levelVariable))]; ok {
		l.level = v
	}
	return l
}

// defaultLog is where a plugin logs that was not told; empty: nowhere.
func defaultLog(goos, plugin string, getenv func(string) string) string {
	switch goos {
	case "linux":
		return defaultLogs[plugin]
	case "windows":
		if data := getenv("ProgramData"); data != "" {
			return data + `\Amazon\ECS\log\cni\` + plugin + ".log"
		}
	}
	return ""
}

var defaultLogs = map[string]string{
	"ecs-bridge":         "/var/log/ecs/ecs-cni-bridge-plugin.log",
	"ecs-ipam":           "/var/log/ecs/ecs-cni-ipam-plugin.log",
	"ecs-eni":            "/var/log/ecs/ecs-cni-eni-plugin.log",
	"aws-appmesh":        "/var/log/ecs/aws-appmesh.log",
	"ecs-serviceconnect": "/var/log/ecs/ecs-serviceconnect.log",
	"vpc-eni":            "/var/log/ecs/vpc-branch-eni.log",
	"vpc-branch-eni":     "/var/log/ecs/vpc-branch-eni.log",
}

// Infof writes a line of level INFO.
func (l *Logger) Infof(format string, args ...any) { l.write(info, "INFO", format, args) }

// Errorf writes a line of level ERROR.
func (l *Logger) Errorf(format string, args ...any) { l.write(failure, "ERROR", format, args) }

func (l *Logger) write(at level, name, format string, args []any) {
	if l.path == "" || at < l.level {
		return
	}
	now := l.now().UTC()
	l.roll(now)
	f, err := os.OpenFile(l.path, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o644)
	if os.IsNotExist(err) && os.MkdirAll(filepath.Dir(l.path), 0o755) == nil {
		f, err = os.OpenFile(l.path, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o644)
	}
	if err != nil {
		return
	}
	defer f.Close()
	message := strings.ReplaceAll(strings.TrimSpace(fmt.Sprintf(format, args...)), "\n", "\n\t")
	_, _ = fmt.Fprintf(f, "%s [%s] %s\n", now.Format(time.RFC3339), name, message)
}

// roll renames the file when it was last written in another hour, and forgets the
// oldest. Two processes that roll at once name the same file: one of them finds it gone.
func (l *Logger) roll(now time.Time) {
	info, err := os.Stat(l.path)
	if err != nil {
		return
	}
	const hour = "2006-01-02-15"
	written := info.ModTime().UTC().Format(hour)
	if written == now.Format(hour) {
		return
	}
	if os.Rename(l.path, l.path+"."+written) != nil {
		return
	}
	old, err := fs.Glob(os.DirFS(filepath.Dir(l.path)), filepath.Base(l.path)+".????-??-??-??")
	if err != nil || len(old) <= keptLogs {
		return
	}
	slices.Sort(old)
	for _, name := range old[:len(old)-keptLogs] {
		_ = os.Remove(filepath.Join(filepath.Dir(l.path), name))
	}
}
