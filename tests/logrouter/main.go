// Logrouter stands in for Fluent Bit in a FireLens container: it reads the configuration
// where Fluent Bit would, listens where that says, and prints the configuration, the
// variables that it names and every record that comes.
package main

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/signal"
	"regexp"
	"strings"
	"syscall"

	"ecsagent/tests/logrouter/forward"
)

const configFile = "/fluent-bit/etc/fluent-bit.conf"

var variable = regexp.MustCompile(`\$\{([^}]+)\}`)

func main() {
	ended := make(chan os.Signal, 1)
	signal.Notify(ended, syscall.SIGTERM, os.Interrupt)
	if err := run(os.Stdout); err != nil {
		panic(err) // the container's exit code tells that it is not at work
	}
	<-ended
}

// run listens, and returns once it does.
func run(out io.Writer) error {
	config, err := read(out, configFile)
	if err != nil {
		return err
	}
	settings := make(map[string]string) // the last one of a name counts, until a port completes an input
	for line := range strings.Lines(config) {
		for _, m := range variable.FindAllStringSubmatch(line, -1) {
			fmt.Fprintf(out, "variable %s=%s\n", m[1], os.Getenv(m[1]))
		}
		line = strings.TrimSpace(line)
		name, value, _ := strings.Cut(line, " ")
		settings[name] = value
		switch name {
		case "[INPUT]":
			clear(settings)
		case "@INCLUDE":
			if _, err := read(out, value); err != nil {
				return err
			}
		case "unix_path":
			err = listen(out, "unix", value)
		case "Port":
			if settings["Name"] == "forward" {
				err = listen(out, "tcp", net.JoinHostPort(settings["Listen"], value))
			}
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// read reads a file and prints it.
func read(out io.Writer, file string) (string, error) {
	text, err := os.ReadFile(file)
	if err != nil {
		return "", err
	}
	for line := range strings.Lines(string(text)) {
		fmt.Fprintf(out, "%s: %s\n", file, strings.TrimSuffix(line, "\n"))
	}
	return string(text), nil
}

func listen(out io.Writer, network, address string) error {
	l, err := net.Listen(network, address)
	if err != nil {
		return err
	}
	fmt.Fprintf(out, "listening on %s %s\n", network, address)
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				fmt.Fprintf(out, "accept on %s: %v\n", address, err)
				return
			}
			go serve(out, network, conn)
		}
	}()
	return nil
}

// serve prints the records of a connection.
func serve(out io.Writer, network string, conn net.Conn) {
	defer conn.Close()
	r := bufio.NewReader(conn)
	for {
		record, err := forward.Read(r)
		if errors.Is(err, io.EOF) {
			return
		}
		if err != nil {
			fmt.Fprintf(out, "broken connection on %s: %v\n", network, err)
			return
		}
		fmt.Fprintf(out, "record on %s %s: %s\n", network, record.Tag, record.Log)
	}
}
