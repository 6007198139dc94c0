// Package gmsa lets containers run as group managed service accounts, which credential specs
// describe (docs/spec/02 section 7.7).
//
// On Windows it puts the specs where Docker reads them. For hosts that are in no domain the
// spec leads Windows to a plug-in that fetches the account's credentials with those of the
// task's execution role, which stand in the registry for as long as the task lives.
//
// On Linux the daemon credentials-fetcher makes Kerberos tickets of the specs and keeps them
// fresh, under a lease that lives as long as the task. For hosts that are in no domain it
// takes the rights of a user whose name and password are in Secrets Manager.
package gmsa
