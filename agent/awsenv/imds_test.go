package awsenv_test

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/zap"

	"ecsagent/agent/awsenv"
	"ecsagent/agent/awsenv/awsenvtest"
)

const document = `{"accountId":"111122223333","region":"eu-west-1","instanceId":"i-0abc","availabilityZone":"eu-west-1b","instanceType":"m5.large"}`

func TestIMDSReadsAndKeeps(t *testing.T) {
	fake := awsenvtest.NewIMDS(t, map[string]string{
		"user-data":                                    "#!/bin/sh",
		"dynamic/instance-identity/document":           document,
		"dynamic/instance-identity/signature":          "MEUC",
		"meta-data/instance-id":                        "i-0abc",
		"meta-data/placement/region":                   "eu-west-1",
		"meta-data/placement/availability-zone-id":     "euw1-az2",
		"meta-data/outpost-arn":                        "arn:aws:outposts:eu-west-1:1:outpost/op-1",
		"meta-data/autoscaling/target-lifecycle-state": "InService",
		"meta-data/spot/instance-action":               `{"action":"stop"}`,
		"meta-data/local-ipv4":                         "10.0.0.5",
		"meta-data/public-ipv4":                        "203.0.113.5",
		"meta-data/ipv6":                               "2001:db8::5",
	})
	m := awsenv.NewIMDS(zap.NewNop())
	tests := []struct {
		path string
		get  func(context.Context) (string, error)
		want string
		kept bool
	}{
		{"user-data", m.UserData, "#!/bin/sh", true},
		{"meta-data/instance-id", m.InstanceID, "i-0abc", true},
		{"meta-data/placement/region", m.PlacementRegion, "eu-west-1", true},
		{"meta-data/placement/availability-zone-id", m.AvailabilityZoneID, "euw1-az2", true},
		{"dynamic/instance-identity/document", m.IdentityDocument, document, false},
		{"dynamic/instance-identity/signature", m.IdentitySignature, "MEUC", false},
		{"meta-data/outpost-arn", m.OutpostARN, "arn:aws:outposts:eu-west-1:1:outpost/op-1", false},
		{"meta-data/autoscaling/target-lifecycle-state", m.TargetLifecycleState, "InService", false},
		{"meta-data/spot/instance-action", m.SpotInstanceAction, `{"action":"stop"}`, false},
		{"meta-data/local-ipv4", m.LocalIPv4, "10.0.0.5", false},
		{"meta-data/public-ipv4", m.PublicIPv4, "203.0.113.5", false},
		{"meta-data/ipv6", m.IPv6, "2001:db8::5", false},
	}
	for _, tt := range tests {
		for range 2 {
			if got, err := tt.get(t.Context()); got != tt.want || err != nil {
				t.Errorf("%s: %q, %v; want %q", tt.path, got, err, tt.want)
			}
		}
		want := 2
		if tt.kept {
			want = 1
		}
		if got := fake.Asked(tt.path); got != want {
			t.Errorf("%s was asked for %d times, want %d", tt.path, got, want)
		}
	}
	for _, noDocument := range []bool{false, true} {
		if region, err := m.Region(t.Context(), noDocument); region != "eu-west-1" || err != nil {
			t.Errorf("region %q, %v", region, err)
		}
	}
	if id, err := m.Identity(t.Context()); id.AccountID != "111122223333" || id.AvailabilityZone != "eu-west-1b" || err != nil {
		t.Errorf("identity %+v, %v", id, err)
	}
}

func TestIMDSErrors(t *testing.T) {
	fake := awsenvtest.NewIMDS(t, nil)
	m := awsenv.NewIMDS(zap.NewNop())
	if _, err := m.OutpostARN(t.Context()); !errors.Is(err, awsenv.ErrNotFound) || !strings.Contains(err.Error(), "outpost-arn") {
		t.Errorf("missing path: %v", err)
	}
	fake.Fail("meta-data/instance-id", http.StatusForbidden)
	if _, err := m.InstanceID(t.Context()); awsenv.StatusCode(err) != http.StatusForbidden {
		t.Errorf("refused path: %v", err)
	}
	fake.Set("meta-data/instance-id", "i-1")
	if id, err := m.InstanceID(t.Context()); id != "i-1" || err != nil {
		t.Errorf("a failure was kept: %q, %v", id, err)
	}
	fake.Set("dynamic/instance-identity/document", "{}")
	if _, err := m.Region(t.Context(), false); err == nil || !strings.Contains(err.Error(), "names no region") {
		t.Errorf("document without region: %v", err)
	}
	if _, err := m.Get(t.Context(), "other/thing"); err == nil {
		t.Error("unknown kind of path accepted")
	}
}

func TestIMDSFindsTheVPC(t *testing.T) {
	const macs = "meta-data/network/interfaces/macs/0a:1b/"
	fake := awsenvtest.NewIMDS(t, map[string]string{"meta-data/mac": "0a:1b", macs + "vpc-id": "vpc-1", macs + "subnet-id": "subnet-1"})
	got, err := awsenv.NewIMDS(zap.NewNop()).VPC(t.Context())
	if want := (awsenv.VPC{MAC: "0a:1b", VPCID: "vpc-1", SubnetID: "subnet-1"}); got != want || err != nil {
		t.Errorf("%+v, %v; want %+v", got, err, want)
	}
	fake.Fail(macs+"vpc-id", http.StatusNotFound)
	got, err = awsenv.NewIMDS(zap.NewNop()).VPC(t.Context())
	if want := (awsenv.VPC{MAC: "0a:1b"}); got != want || err != nil {
		t.Errorf("outside a VPC: %+v, %v; want %+v", got, err, want)
	}
	fake.Fail(macs+"subnet-id", http.StatusForbidden)
	if got, err = awsenv.NewIMDS(zap.NewNop()).VPC(t.Context()); err == nil {
		t.Errorf("refused subnet: %+v", got)
	}
}

func TestBlackholedIMDS(t *testing.T) {
	m := awsenv.BlackholedIMDS()
	if _, err := m.InstanceID(t.Context()); !errors.Is(err, awsenv.ErrBlackholed) || !m.Blackholed() {
		t.Errorf("error %v", err)
	}
	calls := 0
	_, err := m.Retry(t.Context(), func(ctx context.Context) (string, error) { calls++; return m.InstanceID(ctx) })
	if !errors.Is(err, awsenv.ErrBlackholed) || calls != 1 {
		t.Errorf("error %v after %d tries", err, calls)
	}
}

func TestIMDSRetry(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := awsenv.NewIMDS(zap.NewNop())
		calls := 0
		get := func(context.Context) (string, error) {
			if calls++; calls < 3 {
				return "", errors.New("not yet")
			}
			return "i-1", nil
		}
		start := time.Now()
		if v, err := m.Retry(t.Context(), get); v != "i-1" || err != nil {
			t.Errorf("%q, %v", v, err)
		}
		if d := time.Since(start); d < 2300*time.Millisecond || d > 2760*time.Millisecond {
			t.Errorf("waited %v, want 1 s and 1.3 s with a jitter of a fifth", d)
		}
		calls = -100
		if _, err := m.Retry(t.Context(), get); err == nil || calls != -95 {
			t.Errorf("error %v after %d tries, want 5", err, calls+100)
		}
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if _, err := m.Retry(ctx, func(context.Context) (string, error) { return "", errors.New("no") }); !errors.Is(err, context.Canceled) {
			t.Errorf("error %v after cancelling", err)
		}
	})
}
