package main

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"maps"
	"os"
	"os/signal"
	"slices"
	"sync"
	"syscall"
	"time"
)

// picture is what a client makes of the task in one round. What a client does not tell
// stays empty.
type picture struct {
	Cluster, TaskARN, Family, Revision string
	CPU, Memory                        float64 // the task's limits; of what unit is the client's affair
	Containers                         map[string]*container
	Attributes                         map[string]string // what else it tells
}

// container is a container in a picture; by its name, or its id where the client has none.
type container struct {
	ID, Status    string
	CPU, Memory   float64 // limits
	CPUTime       float64 // nanoseconds
	MemoryInUse   float64 // bytes
	MemoryAtMost  float64
	NetworkPasses float64 // bytes received
	Seconds       float64 // how long a container ran that has ended
}

// measured reports whether a container was seen at work.
func (p picture) measured(name string) bool {
	c := p.Containers[name]
	return c != nil && c.CPUTime > 0 && c.MemoryInUse > 0
}

// account is how a client fared.
type account struct {
	Rounds      int
	Failures    []string
	First, Last picture
	Measured    []string // containers that were seen at work
}

// accounts are those of all clients. Safe for concurrent use.
type accounts struct {
	mu      sync.Mutex
	of      map[string]*account
	changed chan struct{} // closed and replaced with each change
}

func newAccounts() *accounts {
	return &accounts{of: map[string]*account{}, changed: make(chan struct{})}
}

func (a *accounts) change(client string, how func(*account)) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.of[client] == nil {
		a.of[client] = new(account)
	}
	how(a.of[client])
	close(a.changed)
	a.changed = make(chan struct{})
}

// saw records a round that went well.
func (a *accounts) saw(client string, p picture) {
	a.change(client, func(of *account) {
		if of.Rounds++; of.Rounds == 1 {
			of.First = p
		}
		of.Last = p
		for name := range p.Containers {
			if p.measured(name) && !slices.Contains(of.Measured, name) {
				of.Measured = append(of.Measured, name)
			}
		}
	})
}

// failed records an error, or what a client complained of.
func (a *accounts) failed(client, what string) {
	a.change(client, func(of *account) { of.Failures = append(of.Failures, what) })
}

// await waits until all clients fulfil a condition, or ctx ends.
func (a *accounts) await(ctx context.Context, clients int, met func(account) bool) {
	for {
		a.mu.Lock()
		n := 0
		for _, of := range a.of {
			if met(*of) {
				n++
			}
		}
		changed := a.changed
		a.mu.Unlock()
		if n >= clients {
			return
		}
		select {
		case <-ctx.Done():
			return
		case <-changed:
		}
	}
}

// print prints the accounts as JSON: a client may still be at it.
func (a *accounts) print(to io.Writer) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	return json.NewEncoder(to).Encode(a.of)
}

func main() {
	every := flag.Duration("every", 250*time.Millisecond, "time between two rounds of a client")
	rounds := flag.Int("rounds", 4, "rounds of each client before -seen is made")
	seen := flag.String("seen", "", "file that is made then")
	until := flag.String("until", "", "container that each client that measures must have seen at work before the report")
	patience := flag.Duration("patience", time.Minute, "how long to wait for that")
	flag.Parse()
	if err := run(*every, *rounds, *seen, *until, *patience); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run(every time.Duration, rounds int, seen, until string, patience time.Duration) error {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	reading, done := context.WithTimeout(ctx, patience)
	defer done()
	all := newAccounts()
	clients := map[string]func(context.Context, *accounts, time.Duration) error{
		"telegraf": telegrafInput, "receiver": receiver, "detector": detector,
	}
	var group sync.WaitGroup
	for _, name := range slices.Sorted(maps.Keys(clients)) {
		group.Go(func() {
			if err := clients[name](reading, all, every); err != nil {
				all.failed(name, err.Error())
			}
		})
	}
	all.await(reading, len(clients), func(a account) bool { return a.Rounds >= rounds })
	if seen != "" {
		if err := os.WriteFile(seen, nil, 0o600); err != nil {
			return fmt.Errorf("tell that all clients have read: %w", err)
		}
	}
	// The detector tells nothing of other containers. A container is measured from the moment
	// on in which Docker makes its cgroup.
	all.await(reading, len(clients)-1, func(a account) bool {
		c := a.Last.Containers[until]
		return slices.Contains(a.Measured, until) && c != nil && c.Status == "RUNNING"
	})
	done()
	group.Wait()
	if err := all.print(os.Stdout); err != nil {
		return fmt.Errorf("print the report: %w", err)
	}
	<-ctx.Done() // it ends when the task does
	return nil
}

// repeat does something at once and then every so often, until ctx ends.
func repeat(ctx context.Context, every time.Duration, do func()) {
	tick := time.NewTicker(every)
	defer tick.Stop()
	for ctx.Err() == nil {
		do()
		select {
		case <-ctx.Done():
		case <-tick.C:
		}
	}
}
