package s3

import (
	"fmt"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws/arn"
)

// ParseARN reads the ARN of an object, of any partition.
func ParseARN(value string) (bucket, key string, err error) {
	a, err := arn.Parse(value)
	if err == nil && a.Partition != "" && a.Service == service && a.Region == "" && a.AccountID == "" {
		var ok bool
		bucket, key, ok = strings.Cut(a.Resource, "/")
		if ok && bucket != "" && key != "" && !strings.ContainsAny(bucket, `:@?#%\`) {
			return bucket, key, nil
		}
	}
	return "", "", fmt.Errorf("invalid s3 arn: %s", value)
}
