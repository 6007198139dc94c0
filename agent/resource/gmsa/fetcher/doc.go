// Package fetcher speaks to credentials-fetcher, the daemon that gets and renews the Kerberos
// tickets of group managed service accounts on Linux: its service CredentialsFetcherService,
// gRPC over a unix socket (docs/spec/02 section 7.7).
//
// The five calls have flat messages of texts, so that what gRPC's own module would bring,
// some megabytes and its work at start, is not needed: net/http speaks HTTP/2 without TLS,
// protowire writes the fields.
package fetcher
