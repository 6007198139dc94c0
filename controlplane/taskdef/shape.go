package taskdef

import (
	"cmp"
	"encoding/json"
	"fmt"
	"reflect"
	"slices"
	"strings"

	"github.com/agnivade/levenshtein"
	"github.com/tailscale/hujson"
)

// checkShape compares a value with the type it will be decoded into: unknown and
// repeated members, and values of the wrong type. It reports whether the value
// can be decoded; unknown members alone do not prevent that.
func (f *file) checkShape(v *hujson.Value, into any) bool {
	return f.shape(v, reflect.TypeOf(into), "")
}

func (f *file) shape(v *hujson.Value, t reflect.Type, path string) bool {
	for t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	if v.Value.Kind() == 'n' && !strings.HasSuffix(path, "]") {
		return true // null stands for absent
	}
	switch t.Kind() {
	case reflect.Struct:
		if obj, ok := v.Value.(*hujson.Object); ok {
			return f.members(obj, t, path)
		}
		return f.wrong(v, path, "an object")
	case reflect.Map:
		obj, ok := v.Value.(*hujson.Object)
		if !ok {
			return f.wrong(v, path, "an object")
		}
		good := true
		for i := range obj.Members {
			m := &obj.Members[i]
			good = f.shape(&m.Value, t.Elem(), path+"."+memberName(m)) && good
		}
		return good
	case reflect.Slice:
		arr, ok := v.Value.(*hujson.Array)
		if !ok {
			return f.wrong(v, path, "a list")
		}
		good := true
		for i := range arr.Elements {
			good = f.shape(&arr.Elements[i], t.Elem(), fmt.Sprintf("%s[%d]", path, i)) && good
		}
		return good
	}
	return f.scalar(v, t, path)
}

func (f *file) scalar(v *hujson.Value, t reflect.Type, path string) bool {
	want := ""
	switch t.Kind() {
	case reflect.String:
		if v.Value.Kind() != '"' {
			want = "a string"
		}
	case reflect.Bool:
		if k := v.Value.Kind(); k != 't' && k != 'f' {
			want = "true or false"
		}
	default:
		if v.Value.Kind() != '0' || json.Unmarshal(standard(v), reflect.New(t).Interface()) != nil {
			want = "a whole number"
		}
	}
	return want == "" || f.wrong(v, path, want)
}

func (f *file) wrong(v *hujson.Value, path, want string) bool {
	f.add(v.StartOffset, strings.TrimPrefix(path, "."), "want "+want)
	return false
}

func (f *file) members(obj *hujson.Object, t reflect.Type, path string) bool {
	fields := jsonFields(t)
	seen := map[string]bool{}
	good := true
	for i := range obj.Members {
		m := &obj.Members[i]
		name := memberName(m)
		at := strings.TrimPrefix(path+"."+name, ".")
		if seen[name] {
			f.add(m.Name.StartOffset, at, "given more than once")
			good = false
		}
		seen[name] = true
		field, ok := fields[name]
		if !ok {
			f.add(m.Name.StartOffset, at, "unknown member"+suggest(name, fields))
			continue
		}
		good = f.shape(&m.Value, field, path+"."+name) && good
	}
	return good
}

// jsonFields returns the members of a struct type by their names on the wire.
func jsonFields(t reflect.Type) map[string]reflect.Type {
	fields := make(map[string]reflect.Type, t.NumField())
	for i := range t.NumField() {
		name, _, _ := strings.Cut(t.Field(i).Tag.Get("json"), ",")
		fields[name] = t.Field(i).Type
	}
	return fields
}

// suggest names the member that was likely meant.
func suggest(name string, fields map[string]reflect.Type) string {
	if len(name) > 64 {
		return ""
	}
	type candidate struct {
		name     string
		distance int
	}
	var near []candidate
	for n := range fields {
		if d := levenshtein.ComputeDistance(strings.ToLower(name), strings.ToLower(n)); d <= max(2, len(n)/4) {
			near = append(near, candidate{n, d})
		}
	}
	if len(near) == 0 {
		return ""
	}
	best := slices.MinFunc(near, func(a, b candidate) int {
		return cmp.Or(cmp.Compare(a.distance, b.distance), cmp.Compare(a.name, b.name))
	})
	return "; did you mean " + best.name + "?"
}

func memberName(m *hujson.ObjectMember) string {
	if l, ok := m.Name.Value.(hujson.Literal); ok {
		return l.String()
	}
	return ""
}
