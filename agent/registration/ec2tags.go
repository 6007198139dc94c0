package registration

import (
	"context"
	"encoding/xml"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"strconv"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"go.uber.org/zap"

	"ecsagent/agent/awsenv"
	"ecsagent/agent/ecsapi"
)

const (
	ec2APIVersion = "2016-11-15"
	tagAttempts   = 5
	tagPage       = 50
	tagPages      = 10 // an instance has at most some dozens of tags
)

// TagOptions is where the EC2 instance's tags are read.
type TagOptions struct {
	Region      string
	Endpoint    string // base URL of EC2, from awsenv.Endpoint
	Credentials aws.CredentialsProvider
	HTTPClient  *http.Client
	UserAgent   string
	InstanceID  func(context.Context) (string, error)
	Log         *zap.Logger
}

// InstanceTags returns a function for Options.InstanceTags that calls DescribeTags
// (docs/spec/01 section 1.4.5). Tags whose key or value begins with "aws:" are left
// out.
func InstanceTags(o TagOptions) func(context.Context) (map[string]string, error) {
	caller := &awsenv.Caller{
		Service: "ec2", Region: o.Region, Endpoint: o.Endpoint, Credentials: o.Credentials, Client: o.HTTPClient,
		UserAgent: o.UserAgent, Attempts: awsenv.AttemptsFrom(os.Getenv, tagAttempts), Log: o.Log,
	}
	return func(ctx context.Context) (map[string]string, error) {
		id, err := o.InstanceID(ctx)
		if err != nil {
			return nil, fmt.Errorf("find the instance id: %w", err)
		}
		tags := make(map[string]string)
		token := ""
		for range tagPages {
			page, err := describeTags(ctx, caller, id, token)
			if err != nil {
				return nil, err
			}
			for _, t := range page.Tags {
				if !reservedTag(t.Key) && !reservedTag(t.Value) {
					tags[t.Key] = t.Value
				}
			}
			if token = page.NextToken; token == "" {
				return tags, nil
			}
		}
		return nil, errors.New("describe the tags of the instance: too many pages")
	}
}

type tagPageReply struct {
	Tags []struct {
		Key   string `xml:"key"`
		Value string `xml:"value"`
	} `xml:"tagSet>item"`
	NextToken string `xml:"nextToken"`
}

func describeTags(ctx context.Context, caller *awsenv.Caller, instanceID, token string) (*tagPageReply, error) {
	form := url.Values{
		"Action": {"DescribeTags"}, "Version": {ec2APIVersion}, "MaxResults": {strconv.Itoa(tagPage)},
		"Filter.1.Name": {"resource-id"}, "Filter.1.Value.1": {instanceID},
		"Filter.2.Name": {"resource-type"}, "Filter.2.Value.1": {"instance"},
	}
	if token != "" {
		form.Set("NextToken", token)
	}
	reply := new(tagPageReply)
	err := caller.Do(ctx, awsenv.Call{
		Operation: "DescribeTags",
		Header:    http.Header{"Content-Type": {"application/x-www-form-urlencoded; charset=utf-8"}},
		Body:      []byte(form.Encode()),
		Decode: func(status int, _ http.Header, body []byte) error {
			if status/100 != 2 {
				return decodeEC2Error(status, body)
			}
			*reply = tagPageReply{}
			if err := xml.Unmarshal(body, reply); err != nil {
				return fmt.Errorf("decode the reply: %w", err)
			}
			return nil
		},
	})
	return reply, err
}

// decodeEC2Error reads a refusal of the Query protocol.
func decodeEC2Error(status int, body []byte) *ecsapi.Error {
	var reply struct {
		Code      string `xml:"Errors>Error>Code"`
		Message   string `xml:"Errors>Error>Message"`
		RequestID string `xml:"RequestID"`
	}
	if err := xml.Unmarshal(body, &reply); err != nil || reply.Code == "" {
		reply.Code = "UnknownError"
	}
	return &ecsapi.Error{Code: reply.Code, Message: reply.Message, HTTPStatus: status, RequestID: reply.RequestID}
}

func reservedTag(text string) bool { return len(text) >= 4 && strings.EqualFold(text[:4], "aws:") }
