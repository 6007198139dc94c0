// Package awsenv is the agent's view of the AWS around it: region and partition,
// instance metadata and identity, credentials, and the means of calling a service
// (proxy, TLS, HTTP client, signed requests with retries).
//
// It follows docs/spec/01 sections 1.1, 1.2, 2.3 and 2.4 and docs/spec/03 chapter 7.
package awsenv
