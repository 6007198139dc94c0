package acs

import (
	"context"
	"fmt"
	"net/url"

	"ecsagent/agent/acs/wire"
	"ecsagent/agent/credentials"
	"ecsagent/agent/failpoint"
	"ecsagent/agent/task"
	"ecsagent/agent/uplink"
)

// writeBuffer is in bytes.
const writeBuffer = 32768

// connect finds the endpoint and opens a connection to it.
func (s *Session) connect(ctx context.Context) (*link, error) {
	endpoint, err := s.discover(ctx)
	if err != nil {
		return nil, err
	}
	if err := failpoint.Before("acs", "connect"); err != nil {
		return nil, err
	}
	l, err := s.dial(ctx, endpoint)
	if ctx.Err() == nil {
		s.opts.Dialed(endpoint, err)
	}
	if err != nil {
		return nil, fmt.Errorf("connect to %s: %w", endpoint, err)
	}
	if err := failpoint.After("acs", "connect"); err != nil {
		_ = l.conn.Close()
		return nil, err
	}
	return l, nil
}

func (s *Session) discover(ctx context.Context) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, discoverTimeout)
	defer cancel()
	endpoint, err := s.opts.Discover(ctx)
	if err != nil {
		return "", fmt.Errorf("discover ACS endpoint: %w", err)
	}
	return endpoint, nil
}

func (s *Session) dial(ctx context.Context, endpoint string) (*link, error) {
	target, err := uplink.URL(endpoint, s.query())
	if err != nil {
		return nil, err
	}
	conn, err := s.dialer.Open(ctx, target)
	if err != nil {
		return nil, err
	}
	conn.SetReadLimit(wire.MaxFrame)
	return newLink(s, conn.Conn, conn.Raw), nil
}

// query says who calls (docs/spec/01 section 2.1).
func (s *Session) query() url.Values {
	q := url.Values{
		"agentHash":            {s.opts.AgentHash},
		"agentVersion":         {s.opts.AgentVersion},
		"clusterArn":           {s.opts.Cluster},
		"containerInstanceArn": {s.opts.InstanceARN},
		"protocolVersion":      {"2"},
		"seqNum":               {"1"},
		"sendCredentials":      {fmt.Sprint(s.needCredentials())},
	}
	if v := s.opts.DockerVersion(); v != "" {
		q.Set("dockerVersion", "DockerVersion: "+v)
	}
	return q
}

// needCredentials reports whether ECS has to send the credentials of all tasks.
// Beyond what docs/spec/01 section 2.1 asks for, it is also true while a task that
// should run lacks its credentials: the first connection may have ended before they
// came, and ECS would not send them again by itself.
func (s *Session) needCredentials() bool {
	if !s.heard.Load() {
		return true
	}
	for _, t := range s.opts.Engine.Snapshots() {
		if t.State.Desired != task.Running {
			continue
		}
		if s.lacks(t.ARN, credentials.Application, t.CredentialsID) || s.lacks(t.ARN, credentials.Execution, t.ExecutionCredentialsID) {
			return true
		}
	}
	return false
}

func (s *Session) lacks(arn string, role credentials.Role, id string) bool {
	_, ok := s.opts.Roles.ForTask(arn, role)
	return id != "" && !ok
}
