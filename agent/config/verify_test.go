package config

import (
	"strings"
	"testing"
)

func TestVerifyCluster(t *testing.T) {
	const arn = "arn:aws:ecs:us-east-1:111122223333:cluster/"
	longest := strings.Repeat("a", 255)
	for name, good := range map[string]bool{
		"prod": true, "A_b-9": true, longest: true, arn + "prod": true, arn + longest: true,
		"arn:aws-cn:ecs:cn-north-1:111122223333:cluster/x": true,
		"": false, longest + "a": false, arn + longest + "a": false, arn: false, arn + "a/b": false, arn + "a\n": false,
		"a b": false, "a\n": false, "é": false, "arn": true, "arn:": false,
		"arn:aws:ecs:us-east-1:11112222333:cluster/x": false, "arn:aws:ecs:us-east-1:111122223333:task/x": false,
	} {
		if complaints := verifyCluster(&Config{Cluster: name}); (len(complaints) == 0) != good {
			t.Errorf("%q: %v", name, complaints)
		}
	}
}
