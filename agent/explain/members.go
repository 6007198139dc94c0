package explain

import (
	"encoding/json"
	"fmt"
	"reflect"
	"strings"

	"ecsagent/agent/runtime"
)

// members is the body of a create call with the members that are set. Those that
// Docker takes for absent are left out: zero values, and empty lists and maps. A
// pointer that is not nil and an entry point that is not null are always set, even to
// nothing.
func members(r runtime.CreateRequest) (map[string]any, error) {
	body, err := structMembers(reflect.ValueOf(*r.Config))
	if err != nil {
		return nil, fmt.Errorf("show config: %w", err)
	}
	host, err := structMembers(reflect.ValueOf(*r.HostConfig))
	if err != nil {
		return nil, fmt.Errorf("show host config: %w", err)
	}
	if r.Config.Entrypoint != nil {
		body["Entrypoint"] = append([]string{}, r.Config.Entrypoint...)
	}
	body["HostConfig"] = host
	return body, nil
}

func structMembers(v reflect.Value) (map[string]any, error) {
	out := make(map[string]any)
	for i := range v.NumField() {
		field, value := v.Type().Field(i), v.Field(i)
		if !field.IsExported() || isAbsent(value) {
			continue
		}
		name, _, _ := strings.Cut(field.Tag.Get("json"), ",")
		if name == "-" {
			continue
		}
		shown, err := show(value)
		if err != nil {
			return nil, fmt.Errorf("member %s: %w", field.Name, err)
		}
		if inner, ok := shown.(map[string]any); ok && value.Kind() == reflect.Struct {
			if field.Anonymous && name == "" {
				for k, m := range inner {
					out[k] = m
				}
				continue
			}
			if len(inner) == 0 {
				continue
			}
		}
		if name == "" {
			name = field.Name
		}
		out[name] = shown
	}
	return out, nil
}

func isAbsent(v reflect.Value) bool {
	switch v.Kind() {
	case reflect.Slice, reflect.Map:
		return v.Len() == 0
	}
	return v.IsZero()
}

// show turns a value into what stands in JSON for it. Entries of lists and maps are
// all kept.
func show(v reflect.Value) (any, error) {
	if _, ok := v.Interface().(json.Marshaler); ok {
		raw, err := json.Marshal(v.Interface())
		return json.RawMessage(raw), err
	}
	switch v.Kind() {
	case reflect.Pointer, reflect.Interface:
		if v.IsNil() {
			return nil, nil
		}
		return show(v.Elem())
	case reflect.Struct:
		return structMembers(v)
	case reflect.Slice, reflect.Array:
		if v.Type().Elem().Kind() == reflect.Uint8 {
			return v.Interface(), nil
		}
		list := make([]any, v.Len())
		for i := range list {
			var err error
			if list[i], err = show(v.Index(i)); err != nil {
				return nil, err
			}
		}
		return list, nil
	case reflect.Map:
		out := make(map[string]any, v.Len())
		for _, k := range v.MapKeys() {
			var err error
			if out[fmt.Sprint(k.Interface())], err = show(v.MapIndex(k)); err != nil {
				return nil, err
			}
		}
		return out, nil
	}
	return v.Interface(), nil
}
