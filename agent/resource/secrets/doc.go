// Package secrets fetches values from SSM Parameter Store and Secrets Manager that
// containers have as variables or as options of their log driver (docs/spec/02 sections
// 7.3 and 7.4).
//
// A task asks each service once for each region and for each batch that the service
// takes, and tasks of one role that come within a moment share the answers. Values are in
// memory only, until the containers that need them run.
package secrets
