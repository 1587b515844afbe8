// Package meta holds what the drive means: inodes, names and maps of files. Every change is an Op; Part, behind the
// log in cluster/state, applies ops deterministically, so that the same ops in the same order make the same state on
// every peer.
//
// Reads never change anything and always say of which log index they are (a View; an Image offers more of the same to
// the loops that repair, reap and free). Everything that must follow a change (kernel caches, freeing of blocks, repair,
// events) follows the Changes that applying yields.
//
// Costs on paper, in keys of the map: a create writes 4 (inode, directory, dentry, counters), a commit of one extent 6
// (inode, extent, bucket, counters, and 2 while it is volatile), a lookup reads 3, a read of a map is one short scan. A
// record of a file's map is some 26 bytes and 20 a replica. A Clone writes a record for each it names, and a count a replica of each of their
// extents. DESIGN.md has the decisions.
package meta

import (
	"context"
	"math"

	"dfs/blockstore"
	"dfs/cluster"
	"dfs/cluster/placement"
	"dfs/fs/extent"
	"dfs/fs/lock"
)

// Ino numbers an inode. The top 8 bits are the metadata shard (0 today), so that more logs can come without a
// change of format.
type Ino uint64

// Root is the inode of the drive's root directory.
const Root Ino = 1

// Shard returns the metadata shard the inode belongs to.
func (i Ino) Shard() uint8 { return uint8(i >> 56) }

// Limits of names and files.
const (
	NameMax   = 255            // bytes in a name
	TargetMax = 4095           // bytes in a symlink's target
	SizeMax   = int64(1) << 56 // bytes in a file; beyond is fault.TooBig
	LinkMax   = 65000

	XattrNameMax  = 255     // bytes in an extended attribute's name
	XattrValueMax = 1 << 16 // bytes in its value
	XattrListMax  = 1 << 16 // bytes that the names of one inode's take, each with a zero byte
	XattrSumMax   = 1 << 20 // bytes of their values: every peer keeps them all
)

// Type is what an inode is. The numbers are stored and travel.
type Type uint8

const (
	File Type = 1 + iota
	Dir
	Symlink
	Fifo
	Socket
	CharDev
	BlockDev
)

// Time is UTC nanoseconds since 1970.
type Time int64

// TimeAt returns the time that is sec seconds and nsec nanoseconds after 1970. What is beyond Time, in 1677 and 2262, becomes its first
// or its last, as with any Linux file system.
func TimeAt(sec, nsec int64) Time {
	const most = math.MaxInt64/int64(1e9) - 1
	switch {
	case sec > most:
		return math.MaxInt64
	case sec < -most:
		return math.MinInt64
	}
	return Time(sec*1e9 + nsec)
}

// Inode is the attributes of a file.
type Inode struct {
	Ino      Ino
	Type     Type
	Mode     uint32 // permission bits, setuid, setgid, sticky: 07777
	UID, GID uint32
	Nlink    uint32
	Size     int64  // bytes of a file, entries of a directory, bytes of a symlink's target
	Blocks   uint64 // 512-byte blocks held, shared ones too: holes are not counted
	Atime    Time
	Mtime    Time // of a directory: strictly increases with every change of its names
	Ctime    Time
	Btime    Time
	Rdev     uint32
	TruncGen uint64         // counts truncations; a Commit built before one is re-based
	Changed  uint64         // log index of the last change of these attributes (the commit stamp)
	Written  uint64         // log index of the last change of the file's bytes
	Writer   uint64         // session that last changed the file's bytes
	Grant    uint64         // session that made it and has it to itself; 0 none
	Parent   Ino            // of a directory; of a file that was made without a name and may get its first one, where it was made
	Target   string         // of a symlink
	Wish     placement.Wish // what new extents of this file, or new entries of this directory, get
	Xattrs   uint32         // bytes that the names of its extended attributes take in a list; 0: it has none
	Special  Special        // which of those it has that mean something to us
	Flags    Flags

	doomed uint64 // blocks of records that truncations have yet to drop
	cuts   uint8  // truncations whose extents are not all dropped yet
	xbytes uint32 // of the values of its extended attributes
	folded bool   // of a directory: its names are keyed by their folds
}

// Flags are attributes that Windows programs set and see. Nothing here obeys them. The numbers are stored and travel.
type Flags uint8

const (
	Hidden Flags = 1 << iota
	System
	Archive
	ReadOnly
)

// Dentry is one entry of a directory, with its inode's attributes as of the same index.
type Dentry struct {
	Name   string
	Inode  Inode
	Cursor Cursor // continues a listing after this entry
}

// Cursor is a place in a listing. The zero value is its start. It stays valid while the directory changes: an
// entry that is there throughout is seen exactly once. Cursors of entries are at least 256 and below 1<<62: the
// fronts have room for "." and "..", and a signed 64-bit offset holds them.
type Cursor uint64

// View answers questions about the state as it was after one log index. Not safe for concurrent use. Close it.
type View interface {
	Index() uint64
	Stat(ino Ino) (Inode, error)                // fault.NotExist
	Lookup(dir Ino, name string) (Inode, error) // fault.NotExist, fault.NotDir, fault.NameTooLong
	// LookupFold is Lookup where case does not matter, and how the directory spells the name: as asked if it has that, else the
	// first that has the same Fold. Errors are Lookup's. It costs one short scan more, in a directory of any size; only
	// directories from before there were folds are read from end to end.
	LookupFold(dir Ino, name string) (Inode, string, error)
	List(dir Ino, after Cursor, max int) ([]Dentry, error) // fewer than max: the end. Without "." and ".."
	// Extents returns the pieces that overlap [off, off+n), whole. Mind their Tail. None lies beyond the file's
	// last block; bytes of that block at and after Size read as zeros whatever they are.
	Extents(ino Ino, off, n int64) (extent.Map, error)
	Xattr(ino Ino, name string) ([]byte, error) // fault.NotExist
	Xattrs(ino Ino) ([]string, error)           // the names, sorted
	// Locks returns who holds what of the file, and who waits for it.
	Locks(ino Ino) (lock.Table, error)
	Usage() (Usage, error)
	Close()
}

// Usage is the drive in numbers.
type Usage struct {
	Inodes  uint64
	Blocks  uint64 // 512-byte blocks of file data, copies not counted; what files share counts for each
	Extents uint64 // of all files' maps
	// Below is what lies under its target number of copies, given the members there are.
	BelowExtents uint64
	BelowBlocks  uint64
}

// Store is metadata as the file system uses it: views of this peer's replica, and ops through the log.
type Store interface {
	// At returns the state after index; 0 means the newest applied.
	At(index uint64) (View, error)
	// Apply proposes op and returns once it is committed, applied here, and released: every other mount that
	// holds a lease has taken it in. The errors of the op itself come back with their kind.
	// fault.CutOff, fault.Timeout: the outcome is unknown to the caller, and the op may still happen.
	Apply(ctx context.Context, op Op) (Result, error)
}

// Result is what an op answers. Inode is the subject's attributes after the op, where there is one subject.
type Result struct {
	Index uint64
	Inode Inode
	More  bool // of the bounded ops (EndGrant Reap Trim Stable Confirm Punch EndLocks): there is more to do, repeat it. Lock and Unlock say more
}

// Op is one change. Its fields are all it depends on besides the state.
type Op interface {
	op() byte // the op's number in the encoding; append-only
	append(b []byte) []byte
}

// Format makes the root directory of a new drive. fault.Exist if there is one.
type Format struct {
	Mode     uint32
	UID, GID uint32
	Time     Time
}

// Create makes an inode and names it. With Grant the creator's session holds the new inode until EndGrant or a
// Commit with EndGrant: its attributes, and a file's bytes or a directory's names, are the creator's alone until then. Where
// the layout says commit=close a directory is nobody's alone. Ino is a number from Reserve that the inode is to have; 0 takes the next.
// A File called Nameless gets no name: it is an orphan from the start, reaped once its grant is over and no mount holds it, unless Link
// has named it.
// fault.Exist, NotExist (the directory; a removed one too), NotDir, NameTooLong, Invalid ("", ".", "..", "/").
type Create struct {
	Dir      Ino
	Name     string
	Type     Type
	Mode     uint32 // setgid directories: the machine applies their inheritance to GID and Mode
	UID, GID uint32
	Rdev     uint32
	Target   string // of a symlink
	Time     Time
	Grant    bool
	Ino      Ino
	Umask    uint32 // what Mode loses, unless the directory has a default ACL, which decides then
}

// SetXattr sets an extended attribute. Its namespace is user (of files and directories), trusted, security, or it is one of the two ACLs
// (Linux's form; see fs/acl). An access ACL sets the mode; one that says no more than that is not kept.
// fault.Stale, NameTooLong, Invalid (the name, or an ACL), Unsupported (the namespace, ACLs of symlinks), Refused (user attributes of
// what has none, reserved names), Permission (a default ACL of what is no directory), TooBig (the value),
// NoSpace (too many), Exist and NotExist by Flags.
type SetXattr struct {
	Ino        Ino
	Name       string
	Value      []byte
	Flags      uint32 // XattrCreate or XattrReplace, as setxattr(2) has them
	KillSetgid bool   // who sets an access ACL may not keep the file's setgid bit
	Time       Time
}

// Flags of SetXattr.
const (
	XattrCreate  = 1
	XattrReplace = 2
)

// RemoveXattr removes an extended attribute. An ACL need not be there. fault.Stale, NotExist; of names, those of SetXattr.
type RemoveXattr struct {
	Ino  Ino
	Name string
	Time Time
}

// Link names an existing inode once more, or for the first time what was made without a name; what has lost its names stays without. fault.Exist, NotExist, IsDir (of a directory), TooManyLinks.
type Link struct {
	Ino  Ino
	Dir  Ino
	Name string
	Time Time
}

// Unlink removes the name of a file. The inode becomes an orphan with its last name, and lives until Reap. Ino is what
// the name must mean; 0 anything.
// fault.NotExist, IsDir.
type Unlink struct {
	Dir  Ino
	Name string
	Time Time
	Ino  Ino
}

// Rmdir removes an empty directory. Ino as with Unlink. fault.NotExist, NotDir, NotEmpty.
type Rmdir struct {
	Dir  Ino
	Name string
	Time Time
	Ino  Ino
}

// Rename flags, as renameat2(2) has them.
const (
	RenameNoReplace = 1
	RenameExchange  = 2
)

// Rename moves a name, replacing what the new one named. The rules of rename(2) hold: files replace files, empty
// directories replace directories, two names of one inode are left alone, a directory never moves below itself. Ino is what
// the old name must mean, Over what the new one must; 0 anything, Nothing nothing.
// fault.NotExist, Exist (NoReplace), NotDir, IsDir, NotEmpty, Loop; Conflict (Over).
type Rename struct {
	OldDir  Ino
	OldName string
	NewDir  Ino
	NewName string
	Flags   uint32
	Time    Time
	Ino     Ino
	Over    Ino
}

// Nameless is the name of what Create makes without a name. No entry can be called so.
const Nameless = "/"

// Nothing is no inode, where 0 would be any.
const Nothing = ^Ino(0)

// Bits of SetAttr.Mask.
const (
	SetMode = 1 << iota
	SetUID
	SetGID
	SetSize
	SetAtime
	SetMtime
	SetCtime
	SetWish
	SetFlags
	SetBtime
)

// SetAttr changes attributes. A new Size truncates or extends (with a hole) and raises TruncGen when it shrinks.
// Extents beyond the new end are dropped by at most a bounded number an op; the rest is invisible at once and
// dropped by Trim. A cut inside a block leaves a Tail. Ctime is set to Time unless given, Mtime too where the size
// is. A change of owner or group takes setuid and setgid from what is no directory, unless SetMode is given too. It takes
// the capabilities of a program as well, and so does a size. An access ACL follows the mode.
// fault.Stale (the inode is gone), IsDir and Invalid (size of what has none), TooBig, Busy (too many truncations
// wait for Trim).
type SetAttr struct {
	Ino          Ino
	Mask         uint32
	Mode         uint32
	UID, GID     uint32
	Size         int64
	Atime, Mtime Time
	Ctime        Time
	Wish         placement.Wish
	Time         Time
	Flags        Flags
	Btime        Time
}

// Accessed says when inodes were last read: the atime of Inos[i] becomes Times[i] if that is later. Nothing else changes; what is gone, or
// granted to another session, is skipped. At most ListMax inodes.
type Accessed struct {
	Inos  []Ino
	Times []Time
}

// Commit is the only way that written data becomes visible: extents, size and times of one flush together.
// It merges: Extents replace what lies under them, size grows to the larger of what it is and End, so that
// writers of disjoint ranges never fail each other. Edges are the extents (whole records) from which the ragged edge blocks of
// Extents were completed; if the file holds something else there now, or TruncGen differs, or (with Append) Size
// is no longer AppendAt, the op changes nothing and is fault.Conflict: read again and redo.
// fault.Stale: the inode is gone. An orphan is committed to like any file. fault.TooBig: more than CommitExtents, or
// more records under them than one op may touch; commit in parts.
//
// Until a Stable op says so the extents are volatile, and what they replaced is not freed. With Synced the
// writer asserts that all replicas of Extents are synced already.
//
// Nothing beyond the last block of the size may be in Extents. A session that no longer holds the grant commits
// like any other.
type Commit struct {
	Ino      Ino
	Edges    []Edge
	TruncGen uint64
	Extents  []extent.Extent // disjoint, sorted
	End      int64           // byte after the last one written; 0 leaves the size alone
	Append   bool
	AppendAt int64
	Attrs    SetAttr // Mask 0: none. Rides along; Ino and SetSize are not allowed in it
	Mtime    Time    // strictly increases with each Commit, by a nanosecond if it must; 0 leaves it
	EndGrant bool
	Synced   bool
	Time     Time
}

// Edge is what a ragged block was completed from: the block at Off came from Span (Count 1), or from a hole if
// Span is zero.
type Edge struct {
	Off  int64
	Span blockstore.Span
}

// EndGrant gives up grants: the files were closed with nothing left to commit, or their holder is gone.
// Inodes that Session no longer holds are skipped. With no Inos it ends all grants of Session (bounded: repeat while
// Result.More).
type EndGrant struct {
	Session uint64
	Inos    []Ino
}

// Reap drops orphans that no mount holds, at most a bounded number of extents an op; the leader repeats it while
// Result.More. What is no orphan is left alone.
type Reap struct{ Inos []Ino }

// Trim goes on dropping the extents a truncation left behind, a bounded number an op (Result.More).
type Trim struct{ Ino Ino }

// Stable says which commits are safe from a power cut: peer Marks[i].Peer has synced everything it was given for
// commits up to Marks[i].Index. Peers in Absent are not waited for, but one replica at least must be synced. What
// stable commits replaced becomes freed. Bounded (Result.More).
type Stable struct {
	Marks  []Mark
	Absent []cluster.PeerID
}

// Mark is a peer's word that commits up to Index are on its disk.
type Mark struct {
	Peer  cluster.PeerID
	Index uint64
}

// Replace swaps records of a file's map for others that hold the same bytes: a replica more or less (repair), or
// fewer, larger extents (defragmentation). Times stay. If the map no longer holds exactly Old, fault.Conflict.
// New covers the same blocks, with the same tails, and is synced; what it does not hold any more is freed at once.
type Replace struct {
	Ino Ino
	Old []extent.Extent
	New []extent.Extent
}

// Confirm says that a peer's store has dropped what was freed up to an index: the machine forgets the list. Bounded
// (Result.More).
type Confirm struct {
	Peer  cluster.PeerID
	Index uint64
}

// Reserve sets inode numbers aside for Creates that name theirs: Result.Inode.Ino is the first of Count. Those that are not
// used are never used.
type Reserve struct{ Count uint64 }

// Batch is ops that a mount has carried out already, on inodes that are its own (see fs/delegate): each is applied by itself, in
// order, and one that fails leaves the others alone; FailuresOf tells of those. Where all of it touched nothing but inodes granted to the
// session, no kernel but its own can know anything of them (Change.Local). A batch may come late, when the grants are over: an op on
// bytes that another session has written since is fault.Conflict.
// For is the session that began to carry them out; Upto, the number that it gave the last of them, is kept with it, so that
// no op is applied twice whatever becomes of the session, and in whichever batches (the ops' numbers have no gaps); 0 forgets it. Peer, of the first batch, says whose session it is.
type Batch struct {
	For  uint64
	Upto uint64
	Ops  []Op
	Peer cluster.PeerID
}

// Bounds of ops. They are part of the format.
const (
	BatchMax      = 1024 // ops in a Batch
	ReserveMax    = 1 << 20
	CommitExtents = 8192 // extents in a Commit or Replace
	ListMax       = 1024 // inodes in an EndGrant or Reap, peers in a Stable
	DropMax       = 1024 // extents, spans' lists or grants that one bounded op drops
	CutsMax       = 16   // truncations of one file that wait for Trim
)

// Change is what one applied log entry did. Everything that follows the log follows these; after a snapshot was
// installed there is no stream to follow, and followers are told Reset(index) instead.
type Change struct {
	Index    uint64
	Session  uint64          // who asked; 0 where an entry holds ops of several sessions
	Attrs    []Ino           // attributes changed (parents included)
	Data     []Data          // bytes changed
	Names    []Name          // names that now mean something else, or nothing
	Orphaned []Ino           // lost their last name
	Gone     []Ino           // no longer exist
	Granted  []Ino           // grants begun
	Ended    []Ino           // grants ended
	Freed    []Freed         // blocks nobody names any more
	Added    []extent.Extent // records new in some map (placement, usage, sync marks)
	Locked   []Ino           // locks taken, given up or waited for
	Woken    []Woken         // of them: granted to who waited
	Members  bool            // the set of members or their facts changed
	Local    bool            // a Batch on inodes that were Session's alone
	Refused  bool            // an op of the entry failed: its answer may tell of any earlier change
}

// Data says that bytes of a file changed. Merged: something of another session's lay in between, or an append put them where
// the writer's kernel did not know, so that even the writer's own cache is wrong.
type Data struct {
	Ino    Ino
	Merged bool
}

// Name is one name that changed. Child is what it named before, or names now if it named nothing before.
type Name struct {
	Dir   Ino
	Name  string
	Child Ino
}

// Freed is blocks to be dropped by the peers that hold them.
type Freed struct {
	Span  blockstore.Span
	Peers []cluster.PeerID

	shared bool // of a piece that waits: its blocks are counted
}
