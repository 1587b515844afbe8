//go:build linux && cgo && fuse3

package winfsp

// refused is where to look when libfuse refuses a mount.
const refused = "see standard error, where libfuse says why"
