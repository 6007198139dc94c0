package local

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"path/filepath"
	"sync"
	"time"

	"go.uber.org/zap"

	"ecsagent/controlplane/agentlink"
	"ecsagent/controlplane/awsfolder"
	"ecsagent/controlplane/disks"
	"ecsagent/controlplane/service"
	"ecsagent/controlplane/session"
	"ecsagent/controlplane/session/broker"
	"ecsagent/controlplane/vpc"
)

// DefaultListen is where the local ECS serves when nothing else is said. The port
// is outside the ranges from which systems and engines take ephemeral ports, and
// none of the agent's own.
const DefaultListen = "127.0.0.1:4580"

// shutdownWait bounds the end of requests in flight.
const shutdownWait = 5 * time.Second

// Options make a Server. The zero value serves on a free port of loopback, in
// memory.
type Options struct {
	Listen  string // host:port; port 0 takes a free one; empty is 127.0.0.1:0
	DataDir string // keeps the state; empty means memory only
	Region  string
	Account string
	// IMDS serves instance metadata as well, for agents that are not in external mode.
	IMDS bool
	// Volumes, if given, is the folder in which EBS volumes for tasks are made.
	Volumes string
	// VPC, if given, makes interfaces for tasks of network mode awsvpc. Its metadata and
	// log come from here.
	VPC *vpc.Options
	// Services is a folder from which other services of AWS are served too (package
	// awsfolder); empty: they are not.
	Services string
	// AgentUpdate is the file of an update that UpdateContainerAgent puts on instances;
	// empty: there is none.
	AgentUpdate string
	// Exec is the folder of ECS Exec, in which package session has installed the agent for
	// containers; empty: there is no ECS Exec.
	Exec    string
	Version string // for the status endpoint
	Log     *zap.Logger
	// Keys, Cadence and FramedRefusals go to the hub (package agentlink).
	Keys           map[string]string
	Cadence        agentlink.Cadence
	FramedRefusals bool
	// Service has further options of the service; DataDir, Region, AccountID and Log
	// come from above.
	Service service.Options
}

// Server is a running local ECS.
type Server struct {
	service  *service.Service
	hub      *agentlink.Hub
	services *awsfolder.Services // nil: not served
	vpc      *vpc.VPC            // nil: there is none
	sessions *broker.Broker      // nil: there is no ECS Exec
	imds     *metadata           // nil: not served
	http     *http.Server
	url      string
	log      *zap.Logger
	options  Options

	stopping context.Context // ends when Close begins
	stop     context.CancelFunc
	asked    chan struct{} // closed by the shutdown endpoint
	askOnce  sync.Once
	served   chan struct{} // closed when the listener has ended
	serveErr error         // valid once served is closed
	close    func() error  // runs once

	mu        sync.Mutex
	lingering []net.Conn            // of clients that wait for the end
	unasked   map[net.Conn]struct{} // connections without a request so far; nil once Close has begun
}

// Start serves until Close. The context bounds only the start.
func Start(ctx context.Context, o Options) (*Server, error) {
	if o.Log == nil {
		o.Log = zap.NewNop()
	}
	if o.Listen == "" {
		o.Listen = "127.0.0.1:0"
	}
	listener, err := new(net.ListenConfig).Listen(ctx, "tcp", o.Listen)
	if err != nil {
		return nil, fmt.Errorf("listen on %s: %w", o.Listen, err)
	}
	s := &Server{options: o, log: o.Log, url: "http://" + reachable(listener.Addr()), asked: make(chan struct{}), served: make(chan struct{}), unasked: make(map[net.Conn]struct{})}
	if err := s.compose(ctx); err != nil {
		return nil, errors.Join(err, listener.Close())
	}
	s.stopping, s.stop = context.WithCancel(context.WithoutCancel(ctx))
	s.close = sync.OnceValue(s.shut)
	s.http = &http.Server{
		Handler: s.handler(), ReadHeaderTimeout: 30 * time.Second, IdleTimeout: 2 * time.Minute,
		ErrorLog:    zap.NewStdLog(o.Log.Named("http")),
		BaseContext: func(net.Listener) context.Context { return s.stopping },
		ConnState:   s.connState,
	}
	go func() {
		defer close(s.served)
		if err := s.http.Serve(listener); !errors.Is(err, http.ErrServerClosed) {
			s.serveErr = fmt.Errorf("serve on %s: %w", o.Listen, err)
			s.ask()
		}
	}()
	o.Log.Info("serving", zap.String("url", s.url))
	return s, nil
}

// compose makes the service and the hub and connects them.
func (s *Server) compose(ctx context.Context) (err error) {
	o := s.options
	so := o.Service
	so.DataDir, so.Region, so.AccountID, so.Log = o.DataDir, o.Region, o.Account, o.Log
	if o.IMDS {
		s.imds = newMetadata(o.Region, o.Account)
	}
	if o.VPC != nil {
		vo := *o.VPC
		vo.Log = o.Log
		if s.imds != nil {
			vo.Metadata = s.imds
		}
		if s.vpc, err = vpc.Open(ctx, vo); err != nil {
			return err
		}
		so.VPC = s.vpc
		defer func() {
			if err != nil {
				err = errors.Join(err, s.vpc.Close())
			}
		}()
	}
	var volumes *disks.Disks
	if o.Volumes != "" {
		if volumes, err = disks.Open(o.Volumes); err != nil {
			return err
		}
		so.Disks = volumes
	}
	if o.AgentUpdate != "" {
		so.Update = s.agentUpdate
	}
	if o.Exec != "" {
		_, _, logs := session.Folders(o.Exec)
		s.sessions = broker.New(broker.Options{Dir: logs, Log: o.Log})
		so.Sessions = s.sessions
	}
	svc, err := service.New(so)
	if err != nil {
		return fmt.Errorf("start service: %w", err)
	}
	if s.vpc != nil {
		// What an earlier process left for tasks that are not known any more.
		if err := s.vpc.Keep(svc.Interfaces()); err != nil {
			return errors.Join(err, svc.Close())
		}
	}
	if volumes != nil { // likewise
		if err := volumes.Keep(svc.Volumes()); err != nil {
			return errors.Join(err, svc.Close())
		}
	}
	if o.Services != "" {
		account := o.Account
		if account == "" {
			account = service.DefaultAccountID
		}
		if s.services, err = awsfolder.Open(awsfolder.Options{Dir: o.Services, Region: svc.Region(), Account: account, Log: o.Log}); err != nil {
			return errors.Join(err, svc.Close())
		}
	}
	// In memory, the time makes the numbers rise over restarts, for agents that
	// remember the last one.
	var seqs agentlink.Sequences = agentlink.NewMemorySequences(time.Now().UnixMilli())
	if o.DataDir != "" {
		if seqs, err = openSequences(filepath.Join(o.DataDir, "sequences.json")); err != nil {
			return errors.Join(err, svc.Close())
		}
	}
	if o.Cadence.Credentials == 0 && so.CredentialsLife > 0 {
		o.Cadence.Credentials = service.CredentialsLook(so.CredentialsLife)
	}
	s.service = svc
	s.hub = agentlink.NewHub(agentlink.Options{
		Backend: svc, Log: o.Log, Sequences: seqs, Keys: o.Keys, Cadence: o.Cadence, FramedRefusals: o.FramedRefusals,
	})
	svc.SetDispatcher(s.hub)
	return nil
}

// URL is the server's address as http://host:port, reachable from this machine.
func (s *Server) URL() string { return s.url }

// Service returns the service behind the API.
func (s *Server) Service() *service.Service { return s.service }

// Hub returns the agents' side.
func (s *Server) Hub() *agentlink.Hub { return s.hub }

// Done is closed when a client has asked for the end, or the listener has failed.
// The owner then calls Close.
func (s *Server) Done() <-chan struct{} { return s.asked }

func (s *Server) ask() { s.askOnce.Do(func() { close(s.asked) }) }

// Close ends everything and waits for it. Agents are told that the service is
// going away; containers are left alone. It may be called more than once.
func (s *Server) Close() error { return s.close() }

func (s *Server) shut() error {
	s.stop() // ends event streams
	s.dropUnasked()
	s.hub.Close()
	if s.sessions != nil {
		s.sessions.Close()
	}
	ctx, cancel := context.WithTimeout(context.Background(), shutdownWait)
	defer cancel()
	err := s.http.Shutdown(ctx)
	if err != nil {
		err = errors.Join(fmt.Errorf("end requests in flight: %w", err), s.http.Close())
	}
	<-s.served
	err = errors.Join(err, s.serveErr, s.service.Close())
	if s.services != nil {
		err = errors.Join(err, s.services.Close())
	}
	if s.vpc != nil {
		err = errors.Join(err, s.vpc.Close())
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, c := range s.lingering {
		_ = c.Close() // its closing is the message
	}
	s.log.Info("ended")
	return err
}

// connState keeps the connections on which nothing was asked yet.
func (s *Server) connState(conn net.Conn, state http.ConnState) {
	s.mu.Lock()
	ending := s.unasked == nil
	if state != http.StateNew {
		delete(s.unasked, conn)
	} else if !ending {
		s.unasked[conn] = struct{}{}
	}
	s.mu.Unlock()
	if ending && state == http.StateNew {
		_ = conn.Close() // nothing was asked, so nothing is lost
	}
}

// dropUnasked closes the connections on which nothing was asked yet. http.Server's own
// Shutdown waits five seconds for a first request on them.
func (s *Server) dropUnasked() {
	s.mu.Lock()
	unasked := s.unasked
	s.unasked = nil
	s.mu.Unlock()
	for conn := range unasked {
		_ = conn.Close() // as above
	}
}

// reachable is the address to connect to from this machine.
func reachable(addr net.Addr) string {
	host, port, err := net.SplitHostPort(addr.String())
	if err != nil {
		return addr.String()
	}
	if ip := net.ParseIP(host); ip != nil && ip.IsUnspecified() {
		host = "127.0.0.1"
	}
	return net.JoinHostPort(host, port)
}
