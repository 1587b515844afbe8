package vfs

import (
	"context"
	"errors"

	"dfs/cluster/fault"
	"dfs/fs/delegate/journal"
	"dfs/fs/meta"
	"dfs/net/wire"
)

// A file that was closed before it was flushed is in the journal, so that a daemon that dies loses nothing that was
// closed. A record (kept) says all that the node owed when it was closed; when a flush has carried it out, or a truncation
// made it moot, another (taken) takes it back and all before it of that file.

// Kinds of records in the journal, besides those of fs/delegate.
const (
	KindKept  = 16
	KindTaken = 17
)

const (
	keptMost = 512 << 10 // bytes of a file that are kept; one that owes more is flushed by its close
	keptRuns = 256
)

// kept is a record in the journal that counts.
type kept struct {
	id     uint64
	ticket journal.Ticket
}

// keepLocked puts what n owes in the journal, and reports whether it is there.
func (f *FS) keepLocked(n *node) bool {
	if n.keptAt.Equal(n.touched) && len(n.kept) > 0 {
		return true // nothing was written since
	}
	if len(n.tail) > 0 || n.dirty.cost > keptMost {
		return false
	}
	runs := n.dirty.all()
	if len(runs) > keptRuns {
		return false
	}
	id := f.late.kept.Add(1)
	head := wire.AppendUint(wire.AppendUint(nil, uint64(n.ino)), id)
	head = wire.AppendUint(head, f.session.Load())
	head = wire.AppendInt(wire.AppendInt(head, n.extend), int64(n.mtime))
	head = wire.AppendBytes(head, meta.Encode(n.pending))
	head = wire.AppendUint(head, uint64(len(runs)))
	parts := [][]byte{nil}
	for _, r := range runs {
		head = wire.AppendUint(wire.AppendInt(head, r.off), uint64(len(r.data)))
		parts = append(parts, r.data)
	}
	parts[0] = head
	t, err := f.o.Journal.Append(KindKept, parts...)
	if err != nil {
		return false // the close flushes, as without a journal
	}
	n.kept, n.keptAt = append(n.kept, kept{id, t}), n.touched
	return true
}

// takenLocked takes back n's records up to id.
func (f *FS) takenLocked(n *node, id uint64) {
	k := 0
	for k < len(n.kept) && n.kept[k].id <= id {
		k++
	}
	if k == 0 {
		return
	}
	t, err := f.o.Journal.Append(KindTaken, wire.AppendUint(wire.AppendUint(nil, uint64(n.ino)), id))
	if err != nil {
		// Bytes that are old by then must not come back after a crash.
		f.o.Log.Error("the journal is given up; closing a file waits for the log from now on", "err", err)
		f.o.Journal.Spoil()
		n.kept = nil
		return
	}
	for _, x := range n.kept[:k] {
		f.o.Journal.Done(x.ticket)
	}
	f.o.Journal.Done(t)
	n.kept = n.kept[k:]
}

func (n *node) lastKeptLocked() uint64 {
	if len(n.kept) == 0 {
		return 0
	}
	return n.kept[len(n.kept)-1].id
}

// rekeepLocked brings the journal up to date with a node that owes less than it did.
func (f *FS) rekeepLocked(n *node) {
	if len(n.kept) == 0 {
		return
	}
	last := n.lastKeptLocked()
	if n.owesLocked() {
		n.keptAt = n.touched.Add(-1)
		f.keepLocked(n)
	}
	f.takenLocked(n, last)
}

// TakenBack tells which of the records that earlier daemons left were taken back: a daemon may have left files of several sessions.
func TakenBack(lefts []journal.Left) (func(journal.Record) bool, error) {
	taken := map[meta.Ino]uint64{}
	for _, left := range lefts {
		for _, r := range left.Records {
			if r.Kind != KindTaken {
				continue
			}
			ino, id, err := readIDs(r)
			if err != nil {
				return nil, err
			}
			taken[ino] = max(taken[ino], id)
		}
	}
	return func(r journal.Record) bool {
		ino, id, err := readIDs(r)
		return err == nil && id <= taken[ino]
	}, nil
}

// Kept returns which file's bytes a record has; false if it is none of KindKept.
func (f *FS) Kept(r journal.Record) (meta.Ino, bool) {
	if r.Kind != KindKept {
		return 0, false
	}
	ino, _, err := readIDs(r)
	return ino, err == nil
}

// readIDs returns whose a record is, and its number, or that of the last one that it takes back.
func readIDs(r journal.Record) (ino meta.Ino, id uint64, err error) {
	d := wire.NewReader(r.Body)
	ino, id = meta.Ino(d.Uint()), d.Uint()
	return ino, id, d.Err()
}

// Redo carries out a KindKept record that a daemon with an earlier session left behind: the file's bytes are written and
// committed. What was changed by somebody else since is left as it is: fault.Conflict. fault.Stale: the file is gone.
func (f *FS) Redo(ctx context.Context, session uint64, body []byte) error {
	d := wire.NewReader(body)
	ino, _, writer := meta.Ino(d.Uint()), d.Uint(), d.Uint()
	extend, mtime := d.Int(), meta.Time(d.Int())
	op, err := meta.Decode(d.Bytes(1 << 16))
	if err != nil {
		return err
	}
	attrs, ok := op.(meta.SetAttr)
	if !ok {
		return fault.New("journal", fault.Corrupt, "a record with %T", op)
	}
	type place struct {
		off int64
		n   int
	}
	var places []place
	for range d.Count(keptRuns) {
		places = append(places, place{d.Int(), int(d.Uint32())})
	}
	var st meta.Inode
	err = f.newest(func(v meta.View) (err error) {
		st, err = v.Stat(ino)
		return err
	})
	if errors.Is(err, fault.NotExist) {
		return fault.Because("journal", fault.Stale, err)
	}
	if err != nil {
		return err
	}
	if st.Writer != 0 && st.Writer != session && st.Writer != writer && st.Writer != f.session.Load() {
		return fault.New("journal", fault.Conflict, "inode %d was written by another mount since", ino)
	}
	n := f.pin(ino)
	defer f.unpin(n)
	n.mu.Lock()
	for _, p := range places {
		f.putLocked(n, p.off, d.Fixed(p.n))
	}
	n.extend, n.mtime = max(n.extend, extend), mtime
	if attrs.Mask != 0 {
		n.pending = mergeAttrs(n.pending, attrs)
	}
	n.mu.Unlock()
	if err := d.Done(); err != nil {
		return fault.Because("journal", fault.Corrupt, err)
	}
	return f.flush(ctx, n, how{early: true})
}
