// Package winfsp will show a drive on Windows through WinFsp: an adapter from paths to the inodes of fs/vfs, and the only
// importer of cgofuse. Nothing is in it yet; until then a peer on Windows serves the others with --no-mount.
package winfsp
