// Package fuse shows a drive through the Linux kernel's FUSE: it turns the kernel's requests into calls of vfs.FS, and
// the coherence rules' notifies into messages for the kernel. It decides nothing itself.
//
// It is built on go-fuse's raw interface with an inode table of its own, which is no more than a count: the kernel's number
// of an inode is the drive's, numbers are never reused, and so all that must be known is how many references the kernel
// holds. The table grows with what the kernel remembers and shrinks with its FORGETs.
//
// The mount is made here, not by go-fuse, so that a second descriptor of the device remains ours: notifies that
// go-fuse does not know go out on it (EXPIRE EPOCH), and it is close-on-exec like the first.
//
// What the kernel may keep is what vfs says, never longer: entries and attributes by their validity, pages until they are
// invalidated or the file is opened anew. Answers about what it knows already and takes without asking whether they are overtaken
// (LINK, SETATTR) carry attributes with validity 0.
//
// Only blocking lock waits obey INTERRUPT. Go's own scheduler sends signals to Go programs all the time, and a close that
// fails because of one would be a lie.
package fuse
