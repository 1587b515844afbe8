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
// Access is checked by the kernel, ACLs included (FUSE_POSIX_ACL); what becomes of modes, ACLs and privileges is decided in fs/meta. ACLs
// have no validity: the kernel asks for one that it does not have, uses it for access only while the attributes are valid, and forgets
// it with them, at INVAL_INODE and at every refresh. An answer that may not be kept is therefore followed by an INVAL_INODE. A
// program's capabilities it asks for before the first write after each refresh, which is one request for a new file. That cannot be
// helped: the protocol has no word for "has none". One thing differs from ext4: a setgid bit without execution by the group, which gives nobody
// anything, stays when a file's owner who is not in that group writes to it or gives it to another: we are not told the caller's groups.
//
// Only blocking lock waits obey INTERRUPT. Go's own scheduler sends signals to Go programs all the time, and a close that
// fails because of one would be a lie.
package fuse
