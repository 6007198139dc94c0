// Package gmsa lets containers of Windows run as group managed service accounts: it puts
// their credential specs where Docker reads them (docs/spec/02 section 7.7).
//
// For hosts that are in no domain the spec leads Windows to a plug-in that fetches the
// account's credentials with those of the task's execution role, which stand in the
// registry for as long as the task lives.
package gmsa
