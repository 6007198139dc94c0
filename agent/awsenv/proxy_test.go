package awsenv

import (
	"net/http"
	"net/url"
	"testing"
)

func TestProxy(t *testing.T) {
	type env map[string]string
	both := env{"HTTP_PROXY": "http://plain:1", "HTTPS_PROXY": "http://secure:2"}
	with := func(base env, name, value string) env {
		out := env{name: value}
		for k, v := range base {
			out[k] = v
		}
		return out
	}
	tests := []struct {
		name string
		env  env
		url  string
		want string // proxy, "" for none, "error"
	}{
		{"nothing set", env{}, "https://ecs.us-west-2.amazonaws.com", ""},
		{"https", both, "https://ecs.us-west-2.amazonaws.com", "http://secure:2"},
		{"http", both, "http://ecs.us-west-2.amazonaws.com", "http://plain:1"},
		{"wss", both, "wss://ecs-a-1.us-west-2.amazonaws.com/ws", "http://secure:2"},
		{"ws", both, "ws://ecs-a-1.us-west-2.amazonaws.com/ws", "http://plain:1"},
		{"https falls back to HTTP_PROXY", env{"HTTP_PROXY": "http://plain:1"}, "https://a.example", "http://plain:1"},
		{"wss falls back to HTTP_PROXY", env{"HTTP_PROXY": "http://plain:1"}, "wss://a.example", "http://plain:1"},
		{"http does not use HTTPS_PROXY", env{"HTTPS_PROXY": "http://secure:2"}, "http://a.example", ""},
		{"lower case", env{"https_proxy": "http://lower:3"}, "https://a.example", "http://lower:3"},
		{"upper case first", env{"https_proxy": "http://lower:3", "HTTPS_PROXY": "http://upper:4"}, "https://a.example", "http://upper:4"},
		{"no scheme means http", env{"HTTP_PROXY": "proxy.example:3128"}, "https://a.example", "http://proxy.example:3128"},
		{"socks5", env{"HTTPS_PROXY": "socks5://s:1080"}, "https://a.example", "socks5://s:1080"},
		{"localhost", both, "https://localhost:8080", ""},
		{"loopback", both, "http://127.8.9.1:51678", ""},
		{"loopback 6", both, "https://[::1]:8080", ""},
		{"instance metadata by default", both, "http://169.254.169.254/latest", ""},
		{"task metadata by default", both, "http://169.254.170.2/v2", ""},
		{"docker endpoint by default", both, "http://docker.example:2375/", ""},
		{"defaults join no_proxy", with(both, "no_proxy", "b.example"), "http://169.254.169.254/latest", ""},
		{"no_proxy still counts", with(both, "no_proxy", "b.example"), "https://b.example", ""},
		{"NO_PROXY replaces the defaults", with(both, "NO_PROXY", "b.example"), "http://169.254.169.254/latest", "http://plain:1"},
		{"star", with(both, "NO_PROXY", "*"), "https://a.example", ""},
		{"ip", with(both, "NO_PROXY", "10.0.0.1"), "https://10.0.0.1", ""},
		{"cidr", with(both, "NO_PROXY", "x,10.0.0.0/8"), "https://10.9.9.9", ""},
		{"domain itself", with(both, "NO_PROXY", "a.example"), "https://a.example", ""},
		{"subdomain", with(both, "NO_PROXY", "a.example"), "https://b.a.example", ""},
		{"dot domain, subdomain", with(both, "NO_PROXY", ".a.example"), "https://b.a.example", ""},
		{"dot domain, not itself", with(both, "NO_PROXY", ".a.example"), "https://a.example", "http://secure:2"},
		{"star domain", with(both, "NO_PROXY", "*.a.example"), "https://b.a.example", ""},
		{"port matches", with(both, "NO_PROXY", "a.example:443"), "https://a.example", ""},
		{"port differs", with(both, "NO_PROXY", "a.example:444"), "https://a.example", "http://secure:2"},
		{"port of wss", with(both, "NO_PROXY", "a.example:443"), "wss://a.example/ws", ""},
		{"cgi refuses HTTP_PROXY", with(both, "REQUEST_METHOD", "GET"), "http://a.example", "error"},
		{"cgi refuses the fallback", env{"HTTP_PROXY": "http://p:1", "REQUEST_METHOD": "GET"}, "https://a.example", "error"},
		{"cgi allows HTTPS_PROXY", with(both, "REQUEST_METHOD", "GET"), "https://a.example", "http://secure:2"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			u, err := url.Parse(tt.url)
			if err != nil {
				t.Fatal(err)
			}
			p := NewProxy(func(name string) string { return tt.env[name] }, "tcp://docker.example:2375")
			got := ""
			switch proxy, err := p.ForRequest(&http.Request{URL: u}); {
			case err != nil:
				got = "error"
			case proxy != nil:
				got = proxy.String()
			}
			if got != tt.want {
				t.Errorf("proxy %q, want %q", got, tt.want)
			}
			if u.String() != tt.url {
				t.Errorf("the request's URL became %s", u)
			}
		})
	}
}
