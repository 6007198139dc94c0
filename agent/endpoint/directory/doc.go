// Package directory knows the tasks as the endpoints look for them: by the ids in
// their URLs and by the addresses of who asks (docs/spec/04 section 3.2).
//
// The engine feeds it with pictures of tasks; readers take no lock. Ids are bearer's
// secrets: they are found by a keyed hash and compared in constant time.
package directory
