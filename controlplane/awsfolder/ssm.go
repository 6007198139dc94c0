package awsfolder

import (
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"io/fs"
	"strings"
)

const (
	maxParameter  = 8 << 10 // the longest value of an advanced parameter
	maxParameters = 10      // of one GetParameters
)

// parameterName is a name as SSM takes it, in its parts.
type parameterName struct {
	path     string // without the first slash
	selector string // a version or label
	region   string // of an ARN; empty: that of the request
}

func parseParameterName(name string) (parameterName, bool) {
	var p parameterName
	if parts := strings.SplitN(name, ":", 6); len(parts) == 6 && parts[0] == "arn" {
		rest, ok := strings.CutPrefix(parts[5], "parameter/")
		if parts[2] != "ssm" || !ok {
			return p, false
		}
		p.region, name = parts[3], rest
	}
	p.path, p.selector, _ = strings.Cut(strings.TrimPrefix(name, "/"), ":")
	return p, p.path != ""
}

// parameter finds one; fs.ErrNotExist when there is none.
func (s *Services) parameter(q *request, name string, decrypted bool) (map[string]any, error) {
	p, ok := parseParameterName(name)
	if !ok || p.region != "" && p.region != q.region {
		return nil, fs.ErrNotExist
	}
	base, file := s.in(q.region, "ssm"), p.path
	if p.selector != "" {
		base, file = s.in(q.region, "ssm-versions"), p.path+"/"+p.selector
	}
	f, err := s.read(base, file, maxParameter)
	if err != nil {
		return nil, err
	}
	shown := p.path
	if strings.Contains(shown, "/") || strings.HasPrefix(name, "/") {
		shown = "/" + shown
	}
	reply := map[string]any{
		"Name": shown, "ARN": "arn:aws:ssm:" + q.region + ":" + s.account + ":parameter/" + p.path, "Type": "SecureString", "DataType": "text",
		"Value": f.text, "Version": 1, "LastModifiedDate": float64(f.changed.UnixMilli()) / 1000,
	}
	if p.selector != "" {
		reply["Selector"] = ":" + p.selector
	}
	if !decrypted {
		sum := sha256.Sum256([]byte(p.path))
		reply["Value"] = "encrypted:" + base64.StdEncoding.EncodeToString(sum[:])
	}
	return reply, nil
}

func (s *Services) getParameters(q *request) (any, error) {
	var in struct {
		Names          []string
		WithDecryption bool
	}
	if err := q.decode(&in); err != nil {
		return nil, err
	}
	if n := len(in.Names); n == 0 || n > maxParameters {
		return nil, refuse("ValidationException", "1 validation error detected: Value at 'names' failed to satisfy constraint: Member must have length between 1 and %d; it has %d.", maxParameters, n)
	}
	found, invalid, seen := []any{}, []string{}, make(map[string]bool)
	for _, name := range in.Names {
		if p, ok := parseParameterName(name); ok && seen[p.path] {
			return nil, refuse("ValidationException", "The request names parameter %s twice.", p.path)
		} else if ok {
			seen[p.path] = true
		}
		p, err := s.parameter(q, name, in.WithDecryption)
		switch {
		case errors.Is(err, fs.ErrNotExist):
			invalid = append(invalid, name)
		case err != nil:
			return nil, s.unreadable(name, err)
		default:
			found = append(found, p)
		}
	}
	return map[string]any{"Parameters": found, "InvalidParameters": invalid}, nil
}

func (s *Services) getParameter(q *request) (any, error) {
	var in struct {
		Name           string
		WithDecryption bool
	}
	if err := q.decode(&in); err != nil {
		return nil, err
	}
	p, err := s.parameter(q, in.Name, in.WithDecryption)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, refuse("ParameterNotFound", "Parameter %s not found.", in.Name)
	case err != nil:
		return nil, s.unreadable(in.Name, err)
	}
	return map[string]any{"Parameter": p}, nil
}
