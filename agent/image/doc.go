// Package image gets images to the host: it resolves digests, logs in to
// registries, pulls, and cleans up (docs/spec/02 chapter 5).
//
// However many tasks want an image at the same time, it is asked for and pulled
// once; a task that gives up waiting does not disturb the others, and the last one
// to give up ends the pull.
package image
