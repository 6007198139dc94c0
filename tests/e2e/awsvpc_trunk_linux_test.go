package e2e

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"github.com/gorilla/websocket"
)

// instanceInterface tells the agent that the instance gets an interface, each time it is asked
// to, and counts how often the agent has confirmed that.
func (v *vpcEnv) instanceInterface(mac string) (announce func(), confirmations func() int) {
	v.t.Helper()
	const attachment = "arn:aws:ecs:us-west-2:000000000000:attachment/trunk"
	frame, err := json.Marshal(M{"type": "AttachInstanceNetworkInterfacesMessage", "message": M{
		"messageId": "trunk", "clusterArn": "arn:aws:ecs:us-west-2:000000000000:cluster/" + v.Cluster, "containerInstanceArn": v.instance().ARN,
		"waitTimeoutMs": 60000, "elasticNetworkInterfaces": []M{{
			"attachmentArn": attachment, "ec2Id": "eni-trunk", "macAddress": mac,
			"ipv4Addresses": []M{{"primary": true, "privateAddress": "10.99.0.9"}}, "subnetGatewayIpv4Address": "10.99.0.1/24",
		}},
	}})
	if err != nil {
		v.t.Fatal(err)
	}
	announce = func() {
		v.t.Helper()
		if n := v.plane.Inject("/ws", websocket.TextMessage, frame); n == 0 {
			v.t.Fatal("the agent has no connection for messages")
		}
	}
	return announce, func() (n int) {
		for _, s := range v.plane.Submissions("SubmitAttachmentStateChanges") {
			if strings.Contains(string(s.Body), attachment) && strings.Contains(string(s.Body), `"ATTACHED"`) {
				n++
			}
		}
		return n
	}
}

// The instance gets a trunk, and a task a branch of it: a VLAN device with the branch's
// MAC, in the task. A kernel without 802.1Q makes none, which is the task's reason; there a
// macvlan device on the trunk plays it, which has all but the tag.
func TestAWSVPCTrunk(t *testing.T) {
	v := inVPC(t, "ECS_ENABLE_HIGH_DENSITY_ENI=true", "ECS_AWSVPC_BLOCK_IMDS=true")
	if !v.hasAttribute("ecs.capability.task-eni-trunking") || !v.hasAttribute("ecs.capability.branch-cni-plugin-version") {
		t.Error("trunking is not advertised")
	}
	const trunk = "06:ec:ff:00:00:01"
	announce, confirmations := v.instanceInterface(trunk)
	announce()
	v.onHost("ip link add ecsxtrunk address " + trunk + " type veth peer name trunk netns " + v.space)
	v.inSpace("ip link set trunk master vpcbr up")
	v.eventually(patience, "the trunk to be confirmed", func() (bool, error) { return confirmations() > 0, nil })
	announce() // as ECS does until it has the confirmation
	v.Agent.Kill()
	v.restart()

	// A branch comes with its task alone.
	branch := func(eni M) string {
		b := strings.Split(eni["macAddress"].(string), ":")
		b[5] = "f" + b[5][1:]
		return strings.Join(b, ":")
	}
	v.payload(func(_, eni M) {
		eni["macAddress"] = branch(eni)
		eni["interfaceAssociationProtocol"] = "vlan"
		eni["interfaceVlanProperties"] = M{"vlanId": "42", "trunkInterfaceMacAddress": trunk}
	})
	kind := "vlan"
	first := v.launch(vpcDefinition(server("app", "branch")))
	if task, err := v.ECS.AwaitStatus(v.ctx, first, "RUNNING", "STOPPED"); err != nil {
		t.Fatal(err)
	} else if task.LastStatus == "STOPPED" {
		kind = "macvlan"
		contains(t, "reason", task.StoppedReason, "ContainerNetworkingError", `make VLAN 42 on trunk "ecsxtrunk": the kernel has no 802.1Q support (module 8021q)`)
		standIn, err := buildPlugins("ecs-cni-standin", "-tags", "vlanstandin")
		if err == nil {
			err = installed(v.ctx, standIn, v.plugins)
		}
		if err != nil {
			t.Fatal(err)
		}
		first = v.launch(vpcDefinition(server("app", "branch")))
	}
	task := v.awaits(first, "RUNNING")
	address, mac := task.Interface()
	own := branch(M{"macAddress": mac})
	links := v.inTask(task, "app", "ip -o link; ip -o addr; ip route")
	contains(t, "network of the task", links, "eth0@", own, "inet "+address+"/24", "default via "+v.network+".1 dev eth0", "169.254.170.2 via 169.254.172.1 dev ecs-eth0")
	contains(t, "device of the task", v.onHost(fmt.Sprintf("nsenter --net=/proc/%d/ns/net ip -d link show eth0", v.inspect(task, "app").State.Pid)), kind)
	if kind == "macvlan" {
		v.serves(task, "branch") // frames without a tag reach the subnet
	}
	if got := v.inTask(task, "app", "timeout 10 wget -qO- http://169.254.169.254/latest/meta-data/instance-id || echo blocked"); !strings.HasSuffix(got, "blocked") {
		t.Errorf("instance metadata in a task: %q", got)
	}
	contains(t, "the trunk", v.onHost("ip -o link show ecsxtrunk; ip -o addr show ecsxtrunk"), "UP", trunk)

	// The device is the task's alone, also when the agent is killed.
	v.Agent.Kill()
	v.restart()
	v.stop(task.TaskARN)
	contains(t, "the trunk afterwards", v.onHost("ip -o link show ecsxtrunk"), "UP", trunk)
	equal(t, "confirmations of the trunk", confirmations(), 1)
	v.onHost("ip link delete ecsxtrunk")
	v.nothingLeft()
}
