package meta

import (
	"dfs/blockstore"
	"dfs/cluster/fault"
	"dfs/net/wire"
)

// Punch makes a hole of the whole blocks in [Off, Off+N): they read as zeros and are nobody's any more. The size stays. At
// most DropMax records go at once, the first ones first: repeat it while Result.More. What is freed is so at once, as with a truncation:
// there is no new version that could be lost. A hole beyond the end is no error.
// fault.Stale, IsDir; Invalid: no file, or not whole blocks; TooBig.
type Punch struct {
	Ino    Ino
	Off, N int64
	Mtime  Time // strictly increases, as with a Commit; 0 leaves it
	Time   Time
}

func (Punch) op() byte { return 22 }

func (o Punch) append(b []byte) []byte {
	return appendInts(wire.AppendUint(b, uint64(o.Ino)), o.Off, o.N, int64(o.Mtime), int64(o.Time))
}

func readPunch(d *wire.Reader) Punch {
	return Punch{Ino: Ino(d.Uint()), Off: d.Int(), N: d.Int(), Mtime: Time(d.Int()), Time: Time(d.Int())}
}

func (a *apply) punch(op Punch) (Result, error) {
	n, err := a.file(op.Ino)
	if err != nil {
		return Result{}, err
	}
	a.subject = n
	if err := checkRange("punch", n, op.Off, op.N); err != nil {
		return Result{}, err
	}
	if op.N%blockstore.Size != 0 {
		return Result{}, fault.New("punch", fault.Invalid, "%d bytes", op.N)
	}
	cs, err := loadCuts(a.tx, &n.Inode)
	if err != nil {
		return Result{}, err
	}
	under, more, err := a.firstOverlapping(n, op.Off, op.Off+op.N, DropMax)
	if err != nil {
		return Result{}, err
	}
	gone, err := a.carve(n, cs, under, op.Off, op.Off+op.N)
	if err != nil {
		return Result{}, err
	}
	if err := a.letAllGo(gone); err != nil {
		return Result{}, err
	}
	if len(gone) > 0 {
		a.wrote(n, false)
	}
	a.dated(n, op.Mtime, op.Time)
	return Result{More: more}, nil
}

// checkRange refuses what is no range of a file's blocks.
func checkRange(what string, n *node, off, size int64) error {
	switch {
	case n.Type == Dir:
		return fault.New(what, fault.IsDir, "inode %d", n.Ino)
	case n.Type != File:
		return fault.New(what, fault.Invalid, "inode %d is no file", n.Ino)
	case off < 0 || off%blockstore.Size != 0 || size <= 0:
		return fault.New(what, fault.Invalid, "%d bytes at %d", size, off)
	case off > SizeMax-size:
		return fault.New(what, fault.TooBig, "%d bytes at %d", size, off)
	}
	return nil
}

// dated notes when n's bytes were changed.
func (a *apply) dated(n *node, mtime, now Time) {
	if mtime != 0 {
		n.Mtime = max(n.Mtime+1, mtime) // by a new mtime a kernel that missed a notify knows its pages are old
	}
	n.Ctime = max(n.Ctime, now)
	a.touch(n)
}
