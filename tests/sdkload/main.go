// Sdkload gets credentials as applications do, through the AWS SDK's default chain, a
// fresh one each time, and counts how that goes. It is a program of its own so that
// nothing but its environment tells the SDK where credentials are.
package main

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"sync"
	"time"

	"github.com/aws/aws-sdk-go-v2/config"
)

// report is printed at the end.
type report struct {
	Fetches  int
	Failures []string
	Keys     []string // access keys in the order in which they were first seen
	Source   string
	Slowest  time.Duration
}

func main() {
	every := flag.Duration("every", 100*time.Millisecond, "time between fetches")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	var mu sync.Mutex
	var r report
	seen := make(map[string]bool)
	fetch := func() {
		begin := time.Now()
		// A fetch that is under way is finished: whoever asked wants it.
		limit, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Minute)
		defer cancel()
		cfg, err := config.LoadDefaultConfig(limit, config.WithRegion("us-west-2"))
		var key, source string
		if err == nil {
			got, retrieved := cfg.Credentials.Retrieve(limit)
			key, source, err = got.AccessKeyID, got.Source, retrieved
		}
		mu.Lock()
		defer mu.Unlock()
		r.Fetches++
		r.Slowest = max(r.Slowest, time.Since(begin))
		if err != nil {
			r.Failures = append(r.Failures, time.Now().Format(time.StampMilli)+" "+err.Error())
			return
		}
		r.Source = source
		if !seen[key] {
			seen[key] = true
			r.Keys = append(r.Keys, key)
		}
	}
	var group sync.WaitGroup
	tick := time.NewTicker(*every)
	defer tick.Stop()
	for ctx.Err() == nil {
		group.Go(fetch)
		select {
		case <-ctx.Done():
		case <-tick.C:
		}
	}
	group.Wait()
	if err := json.NewEncoder(os.Stdout).Encode(r); err != nil {
		fmt.Fprintln(os.Stderr, err) // and who waits for the report has none
	}
}
