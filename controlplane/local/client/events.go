package client

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"

	"ecsagent/controlplane/api"
)

// maxEvent bounds one line of the event stream.
const maxEvent = 4 << 20

// Event says that a task or a container instance has changed, and shows it as it
// was after the change.
type Event struct {
	Kind     string                 `json:"kind"` // task or instance
	ARN      string                 `json:"arn"`
	Task     *api.Task              `json:"task,omitempty"`
	Instance *api.ContainerInstance `json:"instance,omitempty"`
}

// Events is the stream of changes of a local ECS.
type Events struct {
	body    io.ReadCloser
	scanner *bufio.Scanner
}

// Watch opens the stream. What changes after it has returned is in the stream, so
// that a caller who reads the state now and then waits misses nothing.
func (c *Client) Watch(ctx context.Context) (*Events, error) {
	req, err := c.localRequest(ctx, http.MethodGet, "events")
	if err != nil {
		return nil, err
	}
	resp, err := c.http.Do(req)
	if err != nil {
		if errors.Is(ctx.Err(), context.Canceled) {
			return nil, ctx.Err()
		}
		return nil, &Unreachable{Endpoint: c.endpoint, Err: err}
	}
	if resp.StatusCode != http.StatusOK {
		resp.Body.Close()
		return nil, fmt.Errorf("watch events: %w", &api.Error{Code: http.StatusText(resp.StatusCode), Status: resp.StatusCode,
			Message: fmt.Sprintf("%s answers HTTP %d: it is not an ecs-local server", c.endpoint, resp.StatusCode)})
	}
	scanner := bufio.NewScanner(resp.Body)
	scanner.Buffer(nil, maxEvent)
	return &Events{body: resp.Body, scanner: scanner}, nil
}

// Next waits for an event; the stream's context ends the wait.
func (e *Events) Next() (Event, error) {
	for e.scanner.Scan() {
		if len(e.scanner.Bytes()) == 0 { // keeps the connection alive
			continue
		}
		var ev Event
		if err := json.Unmarshal(e.scanner.Bytes(), &ev); err != nil {
			return Event{}, fmt.Errorf("read event: %w", err)
		}
		return ev, nil
	}
	if err := e.scanner.Err(); err != nil {
		return Event{}, fmt.Errorf("read events: %w", err)
	}
	return Event{}, fmt.Errorf("read events: the server has ended the stream: %w", io.EOF)
}

// Close ends the stream.
func (e *Events) Close() error { return e.body.Close() }
