package main

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"time"
)

// The services that hold secrets answer after so long, as in the same region.
const serviceDelay = 20 * time.Millisecond

// secretsOfEach is how many secrets a task has of each of the two services.
const secretsOfEach = 10

// secrets measures launches of a task with twenty secrets against launches of the same
// task without, turn and turn about. Each task has a role of its own, so that nothing is
// shared between them.
func (b *bench) secrets() error {
	var calls atomic.Int64
	services := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		calls.Add(1)
		timer := time.NewTimer(serviceDelay)
		defer timer.Stop()
		select {
		case <-timer.C:
		case <-r.Context().Done():
			return
		}
		answerSecrets(w, r)
	}))
	defer services.Close()
	r, err := b.newRig(false)
	if err != nil {
		return err
	}
	r.Stack.Options.Agent = append(r.Stack.Options.Agent, "AWS_ENDPOINT_URL_SSM="+services.URL, "AWS_ENDPOINT_URL_SECRETS_MANAGER="+services.URL)
	if err := r.start(b.ctx); err != nil {
		return err
	}
	if _, _, err := b.agentRound(r, 2); err != nil {
		return err
	}
	var without, with []time.Duration
	for range b.rounds {
		r.edit = nil
		plain, _, err := b.agentRound(r, 1)
		if err != nil {
			return err
		}
		r.edit = addSecrets
		secret, _, err := b.agentRound(r, 1)
		if err != nil {
			return fmt.Errorf("with secrets: %w", err)
		}
		without, with = append(without, plain), append(with, secret)
	}
	floor, took := ms(median(without)), ms(median(with))
	b.table.add(row{
		what: fmt.Sprintf("one task with %d secrets of two services that answer after %v (floor: the same agent and task, without)", 2*secretsOfEach, serviceDelay),
		unit: "ms", floor: floor, agent: took, goal: "≤ floor + 35 ms", met: took-floor <= 35,
	})
	perTask := float64(calls.Load()) / float64(b.rounds)
	b.table.add(row{what: "calls for these secrets", agent: perTask, goal: "≤ 2", met: perTask <= 2})
	return r.close()
}

// addSecrets gives secrets to a task, and a role that no other task has.
func addSecrets(task map[string]any) {
	arn := task["arn"].(string)
	id := arn[strings.LastIndexByte(arn, '/')+1:]
	task["executionRoleCredentials"] = map[string]any{
		"credentialsId": "execution-" + id, "roleArn": "arn:aws:iam::000000000000:role/" + id,
		"accessKeyId": "AKIDEXECUTION", "secretAccessKey": "none", "sessionToken": "none",
		"expiration": time.Now().Add(time.Hour).UTC().Format(time.RFC3339),
	}
	var list []any
	for i := range secretsOfEach {
		name := fmt.Sprint("s", i)
		for provider, from := range map[string]string{"ssm": "/" + name, "asm": secretARN(name)} {
			list = append(list, map[string]any{
				"name": strings.ToUpper(provider + name), "valueFrom": from, "region": "us-west-2", "provider": provider,
				"type": "ENVIRONMENT_VARIABLE", "target": "CONTAINER",
			})
		}
	}
	task["containers"].([]any)[0].(map[string]any)["secrets"] = list
}

func secretARN(name string) string {
	return "arn:aws:secretsmanager:us-west-2:000000000000:secret:" + name + "-AbCdEf"
}

// answerSecrets plays GetParameters and BatchGetSecretValue.
func answerSecrets(w http.ResponseWriter, r *http.Request) {
	var in struct{ Names, SecretIdList []string } //nolint:revive // names of the API
	if err := json.NewDecoder(r.Body).Decode(&in); err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	parameters, values := []any{}, []any{}
	for _, name := range in.Names {
		parameters = append(parameters, map[string]any{"Name": name, "Value": "value"})
	}
	for _, id := range in.SecretIdList {
		values = append(values, map[string]any{"ARN": id, "SecretString": "value"})
	}
	_ = json.NewEncoder(w).Encode(map[string]any{"Parameters": parameters, "SecretValues": values}) // the agent tells when it got none
}
