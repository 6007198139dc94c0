package registration

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/zap"

	"ecsagent/agent/awsenv/awsenvtest"
	"ecsagent/agent/ecsapi"
)

const (
	firstPage = `<?xml version="1.0"?><DescribeTagsResponse xmlns="http://ec2.amazonaws.com/doc/2016-11-15/"><requestId>r</requestId><tagSet>
<item><resourceId>i-1</resourceId><resourceType>instance</resourceType><key>Name</key><value>web &amp; co</value></item>
<item><key>aws:autoscaling:groupName</key><value>g</value></item><item><key>from</key><value>AWS:cloudformation</value></item>
</tagSet><nextToken>more</nextToken></DescribeTagsResponse>`
	lastPage = `<DescribeTagsResponse><tagSet><item><key>empty</key><value/></item></tagSet></DescribeTagsResponse>`
	refusal  = `<Response><Errors><Error><Code>UnauthorizedOperation</Code><Message>You may not.</Message></Error></Errors><RequestID>r-1</RequestID></Response>`
)

func tagReader(t *testing.T, handler http.HandlerFunc) func(context.Context) (map[string]string, error) {
	t.Helper()
	server := httptest.NewServer(handler)
	t.Cleanup(server.Close)
	client := &http.Client{Transport: &http.Transport{}}
	t.Cleanup(client.CloseIdleConnections)
	return InstanceTags(TagOptions{
		Region: "us-west-2", Endpoint: server.URL, Credentials: awsenvtest.Credentials("tok"), HTTPClient: client,
		InstanceID: func(context.Context) (string, error) { return "i-1", nil }, Log: zap.NewNop(),
	})
}

func TestInstanceTags(t *testing.T) {
	var bodies []string
	tags, err := tagReader(t, func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		if err := awsenvtest.VerifySigV4(r, body, "us-west-2", "ec2"); err != nil {
			t.Error(err)
		}
		bodies = append(bodies, string(body))
		page := firstPage
		if len(bodies) > 1 {
			page = lastPage
		}
		_, _ = io.WriteString(w, page)
	})(t.Context())
	if diff := cmp.Diff(map[string]string{"Name": "web & co", "empty": ""}, tags); diff != "" || err != nil {
		t.Errorf("tags (-want +got)\n%s%v", diff, err)
	}
	const form = "Action=DescribeTags&Filter.1.Name=resource-id&Filter.1.Value.1=i-1&Filter.2.Name=resource-type&Filter.2.Value.1=instance&MaxResults=50"
	if diff := cmp.Diff([]string{form + "&Version=2016-11-15", form + "&NextToken=more&Version=2016-11-15"}, bodies); diff != "" {
		t.Errorf("requests (-want +got)\n%s", diff)
	}
}

func TestInstanceTagsRefused(t *testing.T) {
	calls := 0
	read := tagReader(t, func(w http.ResponseWriter, _ *http.Request) {
		calls++
		w.WriteHeader(http.StatusForbidden)
		_, _ = io.WriteString(w, refusal)
	})
	_, err := read(t.Context())
	var e *ecsapi.Error
	if !errors.As(err, &e) || e.Code != "UnauthorizedOperation" || e.Message != "You may not." || e.RequestID != "r-1" || calls != 1 {
		t.Errorf("%v after %d calls", err, calls)
	}
}

func TestInstanceTagsOfAnEndlessList(t *testing.T) {
	calls := 0
	_, err := tagReader(t, func(w http.ResponseWriter, _ *http.Request) { calls++; _, _ = io.WriteString(w, firstPage) })(t.Context())
	if err == nil || calls != tagPages {
		t.Errorf("%v after %d calls", err, calls)
	}
}

func TestInstanceTagsWithoutInstance(t *testing.T) {
	read := InstanceTags(TagOptions{Log: zap.NewNop(), InstanceID: func(context.Context) (string, error) { return "", errors.New("no IMDS") }})
	if _, err := read(t.Context()); err == nil || !strings.Contains(err.Error(), "find the instance id: no IMDS") {
		t.Errorf("error %v", err)
	}
}

func FuzzEC2Error(f *testing.F) {
	f.Add([]byte(refusal))
	f.Add([]byte("<html>"))
	f.Add([]byte(""))
	f.Fuzz(func(t *testing.T, body []byte) {
		if e := decodeEC2Error(400, body); e.Code == "" {
			t.Error("no code")
		}
	})
}
