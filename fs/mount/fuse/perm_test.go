//go:build linux

package fuse

import "testing"

// TestXattrRules: names, namespaces, flags and sizes, as setxattr(2) and xattr(7) have them.
func TestXattrRules(t *testing.T) {
	script(`
		root create f 644
		root get f user.a               -> ENODATA
		root list f                     -> .
		root set f user.a hello
		root get f user.a               -> "hello"
		root set f user.a x new         -> EEXIST
		root set f user.b x old         -> ENODATA
		root set f user.b x new
		root set f user.b yy old
		root list f                     -> user.a user.b .
		root remove f user.b
		root remove f user.b            -> ENODATA
		root set f user. x              -> EINVAL
		root get f user.                -> EINVAL
		root set f nowhere.a x          -> ENOTSUP
		root get f nowhere.a            -> ENOTSUP
		root remove f nowhere.a         -> ENOTSUP
		root set f system.a x           -> ENOTSUP
		root set f trusted.a 1
		root set f security.a 2
		root list f                     -> security.a trusted.a user.a .
		alice list f                    -> security.a user.a .
		alice get f trusted.a           -> ENODATA
		alice set f trusted.a 1         -> EPERM
		alice get f security.a          -> "2"
		alice set f security.a 1        -> EPERM
		alice get f user.a              -> "hello"
		alice set f user.a 1            -> EACCES
		alice remove f user.a           -> EACCES
		root chmod f 600
		alice get f user.a              -> EACCES
		root unlink f
		root mkdir d 755
		root set d user.a 1
		root get d user.a               -> "1"
		root mkdir sticky 1777
		root chmod sticky 1777
		alice set sticky user.a 1       -> EPERM
		root set sticky user.a 1
		root link l f
		root lset l user.a 1            -> EPERM
		root lget l user.a              -> ENODATA
		root lset l trusted.a 1
		root lget l trusted.a           -> "1"
		root fifo p 644
		root set p user.a 1             -> EPERM
		root get p user.a               -> ENODATA
		root set p trusted.a 1
		root acl l                      -> ENOENT
	`).both(t)
}

// TestACLRules: POSIX ACLs, and what they have to do with modes.
func TestACLRules(t *testing.T) {
	script(`
		alice create f 644              -> EACCES
		root chmod . 777
		alice create f 640
		alice acl f                     -> ENODATA
		alice acl f u::rw-,g::r--,o::r--
		alice acl f                     -> ENODATA
		alice stat f                    -> 644 1001 1001
		alice acl f u::rw-,u:1002:rw-,g::---,m::rw-,o::---
		alice acl f                     -> u::rw-,u:1002:rw-,g::---,m::rw-,o::---
		alice stat f                    -> 660 1001 1001
		alice list f                    -> system.posix_acl_access .
		bob may f rw
		bob write f
		carol may f r                   -> EACCES
		carol read f                    -> EACCES
		bob acl f u::rwx,g::rwx,o::rwx  -> EPERM
		bob chmod f 777                 -> EPERM
		alice chmod f 640
		alice acl f                     -> u::rw-,u:1002:rw-,g::---,m::r--,o::---
		bob read f
		bob write f                     -> EACCES
		alice acl f u::rw-,g::r--,g:500:rw-,m::rw-,o::---
		bob write f
		carol write f                   -> EACCES
		alice acl f u::---,u:1001:rwx,g::---,m::rwx,o::---
		alice read f                    -> EACCES     # the owner's entry counts, not his name's
		alice acl f none
		alice stat f                    -> 70 1001 1001
		alice acl f none
		alice list f                    -> .
		alice default f u::rwx,g::rwx,o::rwx -> EACCES
		alice default f none
		alice set f system.posix_acl_access x -> EINVAL
		root link l f
		alice fifo p 600
		alice acl p u::rw-,u:1002:rw-,g::---,m::rw-,o::---
		bob may p rw
	`).both(t)
}

// TestDefaultACLRules: what is made in a directory with a default ACL.
func TestDefaultACLRules(t *testing.T) {
	script(`
		root mkdir d 755
		root default d u::rwx,u:1002:rwx,g::r-x,m::rwx,o::---
		root stat d                     -> 755 0 0
		root list d                     -> system.posix_acl_default .
		root umask 77
		root create d/f 666
		root stat d/f                   -> 660 0 0
		root acl d/f                    -> u::rw-,u:1002:rwx,g::r-x,m::rw-,o::---
		bob may d/f rw
		carol may d/f r                 -> EACCES
		root create d/g 600
		root stat d/g                   -> 600 0 0
		bob may d/g r                   -> EACCES
		root mkdir d/sub 777
		root stat d/sub                 -> 770 0 0
		root acl d/sub                  -> u::rwx,u:1002:rwx,g::r-x,m::rwx,o::---
		root default d/sub              -> u::rwx,u:1002:rwx,g::r-x,m::rwx,o::---
		bob create d/sub/his 666
		bob stat d/sub/his              -> 660 1002 1002
		carol create d/sub/hers 666     -> EACCES
		root fifo d/p 666
		root stat d/p                   -> 660 0 0
		root tmpfile d 666              -> 660
		root tmpfile . 666              -> 600
		root link d/l f
		root stat d/l                   -> 777 0 0
		root list d/l                   -> system.posix_acl_access .    # of what it leads to
		root default d u::rwx,g::r-x,o::r-x
		root create d/h 666
		root stat d/h                   -> 644 0 0
		root list d/h                   -> .
		root default d none
		root create d/i 666
		root stat d/i                   -> 600 0 0
	`).both(t)
}

// TestPrivilegesEnd: setuid, setgid and capabilities end when somebody writes, cuts or gives away a file.
func TestPrivilegesEnd(t *testing.T) {
	script(`
		root chmod . 777
		root umask 0
		alice create f 6777
		alice stat f                    -> 6777 1001 1001
		root write f
		alice stat f                    -> 6777 1001 1001  # root may
		bob write f
		alice stat f                    -> 777 1001 1001
		alice chmod f 6777
		alice append f
		alice stat f                    -> 777 1001 1001
		alice chmod f 6777
		alice truncate f 1
		alice stat f                    -> 777 1001 1001
		alice chmod f 6777
		alice cut f
		alice stat f                    -> 777 1001 1001
		alice chmod f 6767                                 # no execution by the group: not setgid but locking
		alice write f
		alice stat f                    -> 2767 1001 1001
		root chmod f 6777
		root chown f 1002 1002
		root stat f                     -> 777 1002 1002
		bob chmod f 6777
		bob chown f 1002 500
		bob stat f                      -> 777 1002 500
		bob chown f 1001 500            -> EPERM
		bob chown f 1002 1001           -> EPERM
		carol chmod f 777               -> EPERM
		carol chown f 1003 1003         -> EPERM
		root mkdir d 777
		root chmod d 6777
		root stat d                     -> 6777 0 0
		root chown d 1001 1001
		root stat d                     -> 6777 1001 1001  # directories keep them
		root create cap 755
		root setcap cap x
		root chmod cap 777
		root list cap                   -> security.capability .
		root write cap
		root list cap                   -> .
		root setcap cap x
		alice append cap
		root list cap                   -> .
		root setcap cap x
		root append cap
		root list cap                   -> .
		root setcap cap x
		alice truncate cap 0
		root list cap                   -> .
		root setcap cap x
		alice cut cap
		root list cap                   -> .
		root setcap cap x
		root chown cap 1001 1001
		root list cap                   -> .
		alice setcap cap x              -> EPERM
	`).both(t)
}

// TestGroups: setgid directories, supplementary groups, and who may keep setgid.
func TestGroups(t *testing.T) {
	script(`
		root umask 0
		root mkdir shared 777
		root chown shared 0 500
		root chmod shared 2777
		root stat shared                -> 2777 0 500
		alice create shared/f 664
		alice stat shared/f             -> 664 1001 500
		alice mkdir shared/d 775
		alice stat shared/d             -> 2775 1001 500
		bob may shared/f rw                                # by a supplementary group
		carol may shared/f w            -> EACCES
		alice create shared/s 2775
		alice stat shared/s             -> 775 1001 500    # alice is not in that group
		bob create shared/t 2775
		bob stat shared/t               -> 2775 1002 500
		alice chmod shared/f 2775
		alice stat shared/f             -> 775 1001 500
		root chmod shared/f 2775
		alice acl shared/f u::rwx,u:1003:rwx,g::rwx,m::rwx,o::---
		alice stat shared/f             -> 770 1001 500
		bob acl shared/t u::rwx,u:1003:rwx,g::rwx,m::rwx,o::---
		bob stat shared/t               -> 2770 1002 500
		root default shared u::rwx,g::rwx,o::rwx
		root stat shared                -> 2777 0 500
	`).both(t)
}

// TestSticky: in a sticky directory names belong to their owners.
func TestSticky(t *testing.T) {
	script(`
		root umask 0
		root mkdir tmp 1777
		alice create tmp/a 666
		alice create tmp/b 666
		alice mkdir tmp/d 777
		bob write tmp/a
		bob unlink tmp/a                -> EPERM
		bob rename tmp/a tmp/x          -> EPERM
		bob rmdir tmp/d                 -> EPERM
		bob create tmp/mine 666
		bob rename tmp/mine tmp/a       -> EPERM           # over hers
		alice unlink tmp/a
		alice rename tmp/b tmp/c
		root unlink tmp/c
		root chown tmp 1003 1003
		root chmod tmp 1777
		carol unlink tmp/mine                              # hers is the directory
		alice mkdir tmp/d/e 700
		bob read tmp/d/e                -> EACCES
		bob create tmp/d/e/f 600        -> EACCES
	`).both(t)
}
