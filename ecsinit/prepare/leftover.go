package prepare

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"time"

	"ecsagent/agent/hostpath"
	"ecsagent/ecsinit/step"
)

const (
	// officialName is the container of the official agent, which wants the same ports.
	officialName  = "ecs-agent"
	officialImage = "amazon-ecs-agent"
	// grace is how long it has to save its state, in seconds.
	grace     = 10
	askLimit  = 5 * time.Second
	stopLimit = askLimit + grace*time.Second
)

// removeOfficial removes the container of the official agent. Docker that does not
// answer yet runs none: this is looked at again before every start.
func removeOfficial(endpoint string) step.Step {
	var found []string
	return step.Step{
		Name: "other agents", Optional: true,
		Plan: func(ctx context.Context) (plan []string, err error) {
			found, err = official(ctx, endpoint)
			if err != nil {
				return nil, fmt.Errorf("ask Docker for a container %q: %w", officialName, err)
			}
			for _, id := range found {
				plan = append(plan, "stop and remove the official agent's container "+id[:min(12, len(id))])
			}
			return plan, nil
		},
		Do: func(ctx context.Context) error {
			for _, id := range found {
				if err := remove(ctx, endpoint, id); err != nil {
					return fmt.Errorf("remove the official agent's container %s: %w", id, err)
				}
			}
			return nil
		},
	}
}

// official lists the containers of that name whose image is the official agent's.
func official(ctx context.Context, endpoint string) (ids []string, err error) {
	ctx, cancel := context.WithTimeout(ctx, askLimit)
	defer cancel()
	body, err := hostpath.Ask(ctx, endpoint, http.MethodGet, "/containers/json?all=1&filters="+url.QueryEscape(`{"name":["^/`+officialName+`$"]}`))
	if err != nil {
		return nil, err
	}
	var containers []struct {
		ID    string `json:"Id"`
		Image string
		Names []string
	}
	if err := json.Unmarshal(body, &containers); err != nil {
		return nil, fmt.Errorf("its list of containers: %w", err)
	}
	for _, c := range containers {
		name, _, _ := strings.Cut(c.Image[strings.LastIndex(c.Image, "/")+1:], ":")
		if name, _, _ = strings.Cut(name, "@"); name == officialImage {
			ids = append(ids, c.ID)
		}
	}
	return ids, nil
}

func remove(ctx context.Context, endpoint, id string) error {
	ctx, cancel := context.WithTimeout(ctx, stopLimit)
	defer cancel()
	if _, err := hostpath.Ask(ctx, endpoint, http.MethodPost, fmt.Sprintf("/containers/%s/stop?t=%d", id, grace)); err != nil && !gone(err) {
		return err
	}
	if _, err := hostpath.Ask(ctx, endpoint, http.MethodDelete, "/containers/"+id+"?force=1"); err != nil && !gone(err) {
		return err
	}
	return nil
}

// gone reports whether an answer says that there is nothing to do any more.
func gone(err error) bool {
	answer := (*hostpath.AnswerError)(nil)
	return errors.As(err, &answer) && (answer.Code == http.StatusNotFound || answer.Code == http.StatusNotModified)
}
