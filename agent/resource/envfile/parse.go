package envfile

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"strings"

	"ecsagent/agent/resource/objects"
)

// parseObject reads the ARN of an object, of any partition.
func parseObject(value string) (objects.Object, error) {
	o, err := objects.Parse(value)
	if err != nil {
		return o, fmt.Errorf("unable to parse bucket and key from s3 ARN specified in environmentFile %s, error: %w", value, err)
	}
	return o, nil
}

// parse reads the variables of a file, one a line: what is before the first "=" is the
// name, all that follows the value, as it is. Lines that begin with "#", or have no name
// or no "=", are skipped; of two lines with one name the last counts.
func parse(text []byte) (map[string]string, error) {
	variables := make(map[string]string)
	lines := bufio.NewScanner(bytes.NewReader(text))
	number := 0
	for lines.Scan() {
		number++
		line := lines.Text()
		name, value, ok := strings.Cut(line, "=")
		if ok && name != "" && line[0] != '#' {
			variables[name] = value
		}
	}
	if err := lines.Err(); errors.Is(err, bufio.ErrTooLong) {
		return nil, fmt.Errorf("line %d is longer than %d bytes", number+1, bufio.MaxScanTokenSize-1)
	}
	return variables, lines.Err()
}
