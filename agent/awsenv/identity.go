package awsenv

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
)

// Paths of the instance metadata service that the agent reads.
const (
	pathUserData    = "user-data"
	pathDocument    = "dynamic/instance-identity/document"
	pathSignature   = "dynamic/instance-identity/signature"
	pathInstanceID  = "meta-data/instance-id"
	pathRegion      = "meta-data/placement/region"
	pathZoneID      = "meta-data/placement/availability-zone-id"
	pathMAC         = "meta-data/mac"
	pathMACs        = "meta-data/network/interfaces/macs/"
	pathOutpostARN  = "meta-data/outpost-arn"
	pathLifecycle   = "meta-data/autoscaling/target-lifecycle-state"
	pathSpotAction  = "meta-data/spot/instance-action"
	pathLocalIPv4   = "meta-data/local-ipv4"
	pathPublicIPv4  = "meta-data/public-ipv4"
	pathPrimaryIPv6 = "meta-data/ipv6"
)

// Identity is what the instance identity document says.
type Identity struct {
	Region           string `json:"region"`
	AccountID        string `json:"accountId"`
	InstanceID       string `json:"instanceId"`
	InstanceType     string `json:"instanceType"`
	AvailabilityZone string `json:"availabilityZone"`
	ImageID          string `json:"imageId"`
	Architecture     string `json:"architecture"`
}

// VPC is where the primary network interface is. The ids are empty when the
// instance is in no VPC.
type VPC struct{ MAC, VPCID, SubnetID string }

// UserData returns the instance's user data; the answer is kept.
func (m *IMDS) UserData(ctx context.Context) (string, error) { return m.cached(ctx, pathUserData) }

// InstanceID returns the EC2 instance id; the answer is kept.
func (m *IMDS) InstanceID(ctx context.Context) (string, error) { return m.cached(ctx, pathInstanceID) }

// PlacementRegion returns the region from the placement data; the answer is kept.
func (m *IMDS) PlacementRegion(ctx context.Context) (string, error) { return m.cached(ctx, pathRegion) }

// AvailabilityZoneID returns the id of the zone; the answer is kept.
func (m *IMDS) AvailabilityZoneID(ctx context.Context) (string, error) {
	return m.cached(ctx, pathZoneID)
}

// IdentityDocument returns the text of the instance identity document.
func (m *IMDS) IdentityDocument(ctx context.Context) (string, error) { return m.Get(ctx, pathDocument) }

// IdentitySignature returns the signature of the instance identity document.
func (m *IMDS) IdentitySignature(ctx context.Context) (string, error) {
	return m.Get(ctx, pathSignature)
}

// OutpostARN returns the ARN of the outpost, or an error that is ErrNotFound.
func (m *IMDS) OutpostARN(ctx context.Context) (string, error) { return m.Get(ctx, pathOutpostARN) }

// TargetLifecycleState returns the state that Auto Scaling brings the instance to.
func (m *IMDS) TargetLifecycleState(ctx context.Context) (string, error) {
	return m.Get(ctx, pathLifecycle)
}

// SpotInstanceAction returns the notice of a spot interruption, or an error that
// is ErrNotFound while there is none.
func (m *IMDS) SpotInstanceAction(ctx context.Context) (string, error) {
	return m.Get(ctx, pathSpotAction)
}

// LocalIPv4 returns the private address of the instance.
func (m *IMDS) LocalIPv4(ctx context.Context) (string, error) { return m.Get(ctx, pathLocalIPv4) }

// PublicIPv4 returns the public address of the instance.
func (m *IMDS) PublicIPv4(ctx context.Context) (string, error) { return m.Get(ctx, pathPublicIPv4) }

// IPv6 returns the IPv6 address of the instance.
func (m *IMDS) IPv6(ctx context.Context) (string, error) { return m.Get(ctx, pathPrimaryIPv6) }

// Identity returns the parsed instance identity document; the document is kept.
func (m *IMDS) Identity(ctx context.Context) (Identity, error) {
	text, err := m.cached(ctx, pathDocument)
	if err != nil {
		return Identity{}, err
	}
	var id Identity
	if err := json.Unmarshal([]byte(text), &id); err != nil {
		return Identity{}, fmt.Errorf("read the instance identity document: %w", err)
	}
	return id, nil
}

// Region returns the region of the instance: from the placement data when the
// identity document is not to be used, else from the document (docs/spec/01
// section 1.2.3).
func (m *IMDS) Region(ctx context.Context, noDocument bool) (string, error) {
	if noDocument {
		return m.PlacementRegion(ctx)
	}
	id, err := m.Identity(ctx)
	if err != nil {
		return "", err
	}
	if id.Region == "" {
		return "", errors.New("read the instance identity document: it names no region")
	}
	return id.Region, nil
}

// VPC returns where the primary network interface is. An instance outside a VPC
// has no vpc-id, which is not an error.
func (m *IMDS) VPC(ctx context.Context) (VPC, error) {
	mac, err := m.cached(ctx, pathMAC)
	if err != nil {
		return VPC{}, err
	}
	v := VPC{MAC: strings.TrimSpace(mac)}
	v.VPCID, err = m.cached(ctx, pathMACs+v.MAC+"/vpc-id")
	if errors.Is(err, ErrNotFound) {
		return v, nil
	}
	if err != nil {
		return VPC{}, err
	}
	v.SubnetID, err = m.cached(ctx, pathMACs+v.MAC+"/subnet-id")
	if err != nil {
		return VPC{}, err
	}
	return v, nil
}
