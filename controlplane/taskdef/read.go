package taskdef

import (
	"bytes"
	"encoding/json"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/tailscale/hujson"

	"ecsagent/controlplane/api"
)

// MaxFile is the largest file that Read takes: a definition of the greatest size
// with room for comments.
const MaxFile = 256 << 10

// Finding is one thing wrong with a file.
type Finding struct {
	File    string
	Line    int // from 1
	Column  int // from 1, in bytes
	Field   string
	Message string
}

// String renders the finding as "file:line:column: field: message".
func (f Finding) String() string {
	where := fmt.Sprintf("%s:%d:%d: ", f.File, f.Line, f.Column)
	if f.Field == "" {
		return where + f.Message
	}
	return where + f.Field + ": " + f.Message
}

// Error is everything wrong with a file, in the order of the file.
type Error struct{ Findings []Finding }

// Error implements error, a line for each finding.
func (e *Error) Error() string {
	lines := make([]string, len(e.Findings))
	for i, f := range e.Findings {
		lines[i] = f.String()
	}
	return strings.Join(lines, "\n")
}

// readOnly are members of describe-task-definition's output that
// register-task-definition does not take.
var readOnly = []string{"taskDefinitionArn", "revision", "status", "requiresAttributes", "compatibilities",
	"registeredAt", "registeredBy", "deregisteredAt", "deleteRequestedAt"}

// Read reads the task definition in a file. The error, if any, is an *Error. name
// is the file's, for findings.
func Read(name string, data []byte) (*api.RegisterTaskDefinitionRequest, error) {
	f := &file{name: name, data: data}
	root, ok := f.parse()
	if !ok {
		return nil, f.err()
	}
	value, path, ok := f.unwrap(root)
	if !ok {
		return nil, f.err()
	}
	def, ok := f.decode(value)
	if !ok {
		return nil, f.err()
	}
	if path != "" {
		f.outerTags(root, def)
	}
	for _, p := range Validate(def) {
		f.add(f.locate(value, p.Field), p.Field, p.Message)
	}
	return def, f.err()
}

// file is a file being read.
type file struct {
	name     string
	data     []byte
	findings []Finding
}

func (f *file) add(offset int, field, message string) {
	offset = min(max(offset, 0), len(f.data))
	before := f.data[:offset]
	line := bytes.Count(before, []byte("\n")) + 1
	f.findings = append(f.findings, Finding{f.name, line, offset - bytes.LastIndexByte(before, '\n'), field, message})
}

func (f *file) err() error {
	if len(f.findings) == 0 {
		return nil
	}
	slices.SortStableFunc(f.findings, func(a, b Finding) int {
		if a.Line != b.Line {
			return a.Line - b.Line
		}
		return a.Column - b.Column
	})
	return &Error{f.findings}
}

var syntaxPlace = regexp.MustCompile(`^hujson: line (\d+), column (\d+): (.*)$`)

func (f *file) parse() (*hujson.Value, bool) {
	if len(f.data) > MaxFile {
		f.add(0, "", fmt.Sprintf("file has %d bytes: a task definition has at most %d", len(f.data), MaxFile))
		return nil, false
	}
	// A byte order mark is blank space to the parser and keeps offsets right.
	f.data = bytes.Clone(f.data)
	if bom := []byte("\xef\xbb\xbf"); bytes.HasPrefix(f.data, bom) {
		copy(f.data, "   ")
	}
	v, err := hujson.Parse(f.data)
	if err == nil {
		return &v, true
	}
	if m := syntaxPlace.FindStringSubmatch(err.Error()); m != nil {
		line, _ := strconv.Atoi(m[1])
		column, _ := strconv.Atoi(m[2])
		f.findings = append(f.findings, Finding{f.name, line, column, "", m[3]})
	} else {
		f.add(0, "", err.Error())
	}
	return nil, false
}

// unwrap returns the object with the definition: the file's own, or its member
// taskDefinition.
func (f *file) unwrap(root *hujson.Value) (value *hujson.Value, path string, ok bool) {
	if _, ok := root.Value.(*hujson.Object); !ok {
		f.add(root.StartOffset, "", "want a JSON object with a task definition")
		return nil, "", false
	}
	inner := root.Find("/taskDefinition")
	if inner == nil {
		return root, "", true
	}
	if _, ok := inner.Value.(*hujson.Object); !ok {
		f.add(inner.StartOffset, "taskDefinition", "want a JSON object with a task definition")
		return nil, "", false
	}
	return inner, "taskDefinition", true
}

// outerTags takes the tags that describe-task-definition puts beside the
// definition.
func (f *file) outerTags(root *hujson.Value, def *api.RegisterTaskDefinitionRequest) {
	tags := root.Find("/tags")
	if tags == nil || len(def.Tags) > 0 {
		return
	}
	if err := json.Unmarshal(standard(tags), &def.Tags); err != nil {
		f.add(tags.StartOffset, "tags", "want a list of objects with key and value")
	}
}

func (f *file) decode(value *hujson.Value) (*api.RegisterTaskDefinitionRequest, bool) {
	obj := value.Value.(*hujson.Object)
	obj.Members = slices.DeleteFunc(obj.Members, func(m hujson.ObjectMember) bool {
		return slices.Contains(readOnly, memberName(&m))
	})
	def := new(api.RegisterTaskDefinitionRequest)
	if !f.checkShape(value, def) {
		return nil, false
	}
	if err := json.Unmarshal(standard(value), def); err != nil {
		f.add(value.StartOffset, "", err.Error())
		return nil, false
	}
	return def, true
}

// standard returns the value as plain JSON.
func standard(v *hujson.Value) []byte {
	c := v.Clone()
	c.Standardize()
	return c.Pack()
}

// locate returns the offset of a field of the definition, or of the nearest thing
// around it that is in the file.
func (f *file) locate(v *hujson.Value, field string) int {
	offset := v.StartOffset
	pointer := ""
	for _, part := range strings.FieldsFunc(field, func(r rune) bool { return r == '.' || r == '[' || r == ']' }) {
		pointer += "/" + strings.NewReplacer("~", "~0", "/", "~1").Replace(part)
		found := v.Find(pointer)
		if found == nil {
			break
		}
		offset = found.StartOffset
	}
	return offset
}
