// Package api holds the shapes of the public Amazon ECS API (JSON 1.1) that the
// local ECS serves: requests, responses, resources and errors, with the member
// names and the JSON types of the wire (docs/spec/01 section 1.1).
package api
