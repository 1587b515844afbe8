package delegate_test

import (
	"context"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"dfs/blockstore"
	"dfs/blockstore/kv/mem"
	"dfs/cluster/fault"
	"dfs/cluster/placement"
	"dfs/fs/delegate"
	"dfs/fs/delegate/journal"
	"dfs/fs/extent"
	"dfs/fs/fstest"
	"dfs/fs/meta"
	"dfs/fs/vfs"
)

func inoOf(t *testing.T, tree fstest.Tree, p string) meta.Ino {
	t.Helper()
	st, err := tree.Stat(p)
	if err != nil {
		t.Fatal(err)
	}
	return meta.Ino(st.Ino)
}

func text(t *testing.T, tree fstest.Tree, p string) string {
	t.Helper()
	st, err := tree.Stat(p)
	if err != nil {
		return err.Error()
	}
	f, err := tree.Open(p, fstest.Flags{Read: true})
	if err != nil {
		return err.Error()
	}
	defer f.Close()
	b := make([]byte, st.Size)
	if _, err := f.ReadAt(b, 0); err != nil && st.Size > 0 {
		return err.Error()
	}
	return string(b)
}

// overwrite writes text at an offset of a file that is there, and closes it.
func overwrite(t *testing.T, tree fstest.Tree, p, text string, off int64) {
	t.Helper()
	f, err := tree.Open(p, fstest.Flags{Write: true})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.WriteAt([]byte(text), off); err != nil {
		t.Fatal(err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
}

// other is the directory as another mount sees it: what is in the log.
func (r *rig) other() fstest.Tree {
	return below{fstest.Paths(vfs.New(r.log, r.blocks, vfs.Alone{Store: r.log}, vfs.Options{})), "own"}
}

func (r *rig) begun(t *testing.T) fstest.Tree {
	t.Helper()
	tree := r.own()
	write(t, tree, "first", "")
	if err := r.m.Begin(t.Context(), r.log.Session()); err != nil {
		t.Fatal(err)
	}
	if err := r.m.Settle(t.Context()); err != nil {
		t.Fatal(err)
	}
	return tree
}

// A log that takes nothing any more, because its disk failed or the process ends, costs nothing: the journal has it.
func TestALogThatClosesLeavesTheJournal(t *testing.T) {
	dir := t.TempDir()
	r := newRig(t, dir)
	tree := r.begun(t)
	r.log.hold(true)
	if err := tree.Mkdir("acknowledged"); err != nil {
		t.Fatal(err)
	}
	r.log.mu.Lock()
	r.log.dead = true
	r.log.mu.Unlock()
	r.stop()
	r.j.Close()
	next := newRigOn(t, &log{Local: r.log.Local}, r.blocks, "")
	redo(t, next, r.left(dir))
	if _, err := r.other().Stat("acknowledged"); err != nil {
		t.Error(err)
	}
}

// A session that has said that it is done is not redone, whatever its journal still holds.
func TestNothingIsRedoneAfterACleanEnd(t *testing.T) {
	dir := t.TempDir()
	r := newRig(t, dir)
	tree := r.begun(t)
	write(t, tree, "f", "one")
	r.fs.FlushAll(t.Context())
	if err := tree.Truncate("f", 0); err != nil {
		t.Fatal(err)
	}
	write(t, tree, "f", "precious")
	r.fs.FlushAll(t.Context())
	left := r.left(dir)
	r.stop()
	if err := r.m.End(t.Context()); err != nil {
		t.Fatal(err)
	}
	next := newRigOn(t, &log{Local: r.log.Local}, r.blocks, "")
	redo(t, next, left)
	if got := text(t, r.other(), "f"); got != "precious" {
		t.Errorf("f is %q", got)
	}
}

// A record that still counts keeps the session's place in the state.
func TestAnEndWaitsForTheJournal(t *testing.T) {
	dir := t.TempDir()
	r := newRig(t, dir)
	r.begun(t)
	k, err := r.j.Append(vfs.KindTaken, []byte{1, 1})
	if err != nil {
		t.Fatal(err)
	}
	upto := func() uint64 {
		v, _ := r.log.Newest()
		defer v.Close()
		n, err := meta.UptoOf(v, r.log.Session())
		if err != nil {
			t.Fatal(err)
		}
		return n
	}
	if err := r.m.End(t.Context()); err != nil || upto() == 0 {
		t.Fatalf("ended with a record that counts: %v", err)
	}
	r.j.Done(k)
	if err := r.m.End(t.Context()); err != nil || upto() != 0 {
		t.Fatalf("not ended: %v", err)
	}
}

// What the machine's last run wrote to the journal may have holes: bytes that were newer, and synced, must stay.
func TestAnotherRunOfTheMachineIsNotBelieved(t *testing.T) {
	dir := t.TempDir()
	r := newRig(t, dir)
	tree := r.begun(t)
	write(t, tree, "f", "old-old")
	_, left, err := journal.Open(dir, 99, journal.Options{Boot: "another"})
	if err != nil {
		t.Fatal(err)
	}
	r.fs.FlushAll(t.Context())
	overwrite(t, tree, "f", "NEW-NEW", 0)
	r.fs.FlushAll(t.Context())
	next := newRigOn(t, &log{Local: r.log.Local}, r.blocks, "")
	redo(t, next, left)
	if got := text(t, r.other(), "f"); got != "NEW-NEW" {
		t.Errorf("f is %q", got)
	}
}

// A daemon killed between a commit and the record that takes back what it covers: the commit itself says so.
func TestACommitTakesBackWhatWasKeptBeforeIt(t *testing.T) {
	dir := t.TempDir()
	r := newRig(t, dir)
	tree := r.begun(t)
	write(t, tree, "f", "old-old")
	overwrite(t, tree, "f", "NEW-NEW", 0)
	r.fs.FlushAll(t.Context())
	left := r.left(dir)
	for i := range left {
		var rest []journal.Record
		for _, rec := range left[i].Records {
			if rec.Kind != vfs.KindTaken {
				rest = append(rest, rec)
			}
		}
		left[i].Records = rest
	}
	next := newRigOn(t, &log{Local: r.log.Local}, r.blocks, "")
	redo(t, next, left)
	if got := text(t, r.other(), "f"); got != "NEW-NEW" {
		t.Errorf("f is %q", got)
	}
}

// Kept bytes are committed before what was done after them.
func TestRedoKeepsTheOrder(t *testing.T) {
	dir := t.TempDir()
	r := newRig(t, dir)
	tree := r.begun(t)
	r.log.hold(true)
	write(t, tree, "f", "0123456789")
	r.fs.FlushAll(expired(t)) // its commit is queued
	overwrite(t, tree, "f", "ABCDEFGHIJ", 0)
	if err := tree.Truncate("f", 5); err != nil {
		t.Fatal(err)
	}
	if got := text(t, tree, "f"); got != "ABCDE" {
		t.Fatal(got)
	}
	left := r.left(dir)
	r.log.mu.Lock()
	r.log.dead = true
	r.log.mu.Unlock()
	next := newRigOn(t, &log{Local: r.log.Local}, r.blocks, "")
	redo(t, next, left)
	if got := text(t, below{fstest.Paths(next.fs), "own"}, "f"); got != "ABCDE" {
		t.Errorf("after the crash %q", got)
	}
}

func expired(t *testing.T) context.Context {
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	t.Cleanup(cancel)
	return ctx
}

// The pieces of a file that is a mount's alone are not gathered: a commit that was answered may rest on them.
func TestNobodyRewritesWhatAMountHasAlone(t *testing.T) {
	r := newRig(t, "")
	tree := r.own()
	write(t, tree, "f", "0123456789")
	r.fs.FlushAll(t.Context())
	i := inoOf(t, tree, "f")
	r.log.hold(true)
	overwrite(t, tree, "f", "WRITTEN", 3)
	v, _ := r.log.At(0)
	old, err := v.Extents(i, 0, 512)
	v.Close()
	if err != nil || len(old) != 1 {
		t.Fatal(old, err)
	}
	data := make([]byte, 512)
	if err := r.blocks.Read(t.Context(), old[0].Span, old[0].Layout, data); err != nil {
		t.Fatal(err)
	}
	w, err := r.blocks.Write(t.Context(), data, blockstore.Note{}, placement.Wish{}, false)
	if err != nil {
		t.Fatal(err)
	}
	n := old[0]
	n.Span = w[0].Span
	if _, err := r.log.Local.Apply(t.Context(), meta.Replace{Ino: i, Old: []extent.Extent{old[0]}, New: []extent.Extent{n}}); fault.KindOf(err) != fault.Conflict {
		t.Errorf("replaced: %v", err)
	}
	r.log.hold(false)
	if err := r.m.Settle(t.Context()); err != nil {
		t.Error(err)
	}
	r.fs.FlushAll(t.Context())
	if got := text(t, tree, "f"); got != "012WRITTEN" {
		t.Errorf("f is %q", got)
	}
}

// A batch that comes when its grants are over changes nothing that others have changed since.
func TestALateBatchPutsNothingAway(t *testing.T) {
	r := newRig(t, "")
	tree := r.own()
	write(t, tree, "tmp", "old")
	write(t, tree, "data", "old bytes")
	r.fs.FlushAll(t.Context())
	r.log.hold(true)
	if err := tree.Rename("tmp", "x"); err != nil {
		t.Fatal(err)
	}
	overwrite(t, tree, "data", "late", 0)
	if err := tree.Truncate("data", 4); err != nil {
		t.Fatal(err)
	}
	if _, err := r.log.Local.Apply(t.Context(), meta.EndGrant{Session: r.log.Session()}); err != nil {
		t.Fatal(err)
	}
	other := r.other() // another mount, which has looked and found no x
	const theirs = "synced by the other mount"
	write(t, other, "x", theirs)
	v, _ := r.log.At(0)
	i := inoOf(t, other, "data")
	st, err := v.Stat(i)
	v.Close()
	if err != nil {
		t.Fatal(err)
	}
	r.log.hold(false)
	if err := r.m.Settle(t.Context()); err == nil {
		t.Error("nobody is told of what was refused")
	}
	if got := text(t, other, "x"); got != theirs {
		t.Errorf("x is %q", got)
	}
	if got := text(t, other, "data"); got != "late" { // nobody else has written there
		t.Errorf("data is %q, it was written in %x", got, st.Writer)
	}
}

// What is closed waits for its flush in the order of closing, however often another file is written meanwhile.
func TestALateFlushIsNotPutOffForEver(t *testing.T) {
	r := newRig(t, t.TempDir())
	tree := r.begun(t)
	write(t, tree, "status", "0")
	write(t, tree, "other", "closed")
	i := inoOf(t, tree, "other")
	late := time.After(3 * time.Second)
	for n := 0; ; n++ {
		v, _ := r.log.At(0)
		st, err := v.Stat(i)
		v.Close()
		if err == nil && st.Size == 6 {
			return
		}
		select {
		case <-late:
			t.Fatalf("after %d writes of another file the log has it with %d bytes, %v", n, st.Size, err)
		case <-time.After(20 * time.Millisecond):
		}
		write(t, tree, "status", "1")
	}
}

// A close with bytes on their way to the stores waits for them: no journal has them.
func TestBytesInFlightAreNotTakenForKept(t *testing.T) {
	r := newRig(t, t.TempDir())
	tree := r.begun(t)
	gate := make(chan struct{})
	var writing atomic.Bool
	r.blocks.OnWrite = func([]byte) error {
		writing.Store(true)
		<-gate
		return nil
	}
	f, err := tree.Open("f", fstest.Flags{Write: true, Create: true})
	if err != nil {
		t.Fatal(err)
	}
	big := []byte(strings.Repeat("x", 4<<20+100))
	for off := 0; off < len(big); off += 128 << 10 {
		if _, err := f.WriteAt(big[off:min(len(big), off+128<<10)], int64(off)); err != nil {
			t.Fatal(err)
		}
	}
	closed := make(chan error, 1)
	go func() { closed <- f.Close() }()
	select {
	case err := <-closed:
		t.Errorf("close returned %v with nothing stored, writing %v", err, writing.Load())
	case <-time.After(300 * time.Millisecond):
	}
	close(gate)
	if err := <-closed; err != nil {
		t.Error(err)
	}
}

// built is a rig of another make.
func built(t *testing.T, c func(leased) delegate.Coherence, o delegate.Options, max int64) (*log, *delegate.Mount, *vfs.FS, *journal.Journal, fstest.Tree) {
	t.Helper()
	local, err := meta.NewLocal(mem.New(), meta.LocalOptions{})
	if err != nil {
		t.Fatal(err)
	}
	l := &log{Local: local}
	b := fstest.NewBlocks()
	b.Peer = local.Peers()[0]
	j, _, err := journal.Open(t.TempDir(), l.Session(), journal.Options{Boot: "this", Max: max})
	if err != nil {
		t.Fatal(err)
	}
	o.Session, o.Journal = l.Session(), j
	m := delegate.New(l, c(leased{vfs.Alone{Store: l}}), o)
	l.Machine().Follow(follow{m})
	fs := vfs.New(m, b, m, vfs.Options{Session: l.Session(), Journal: j})
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{}, 2)
	go func() { m.Run(ctx); done <- struct{}{} }()
	go func() { fs.Run(ctx); done <- struct{}{} }()
	t.Cleanup(func() {
		cancel()
		<-done
		<-done
	})
	top := fstest.Paths(fs)
	if err := top.Mkdir("own"); err != nil {
		t.Fatal(err)
	}
	return l, m, fs, j, below{top, "own"}
}

func plainly(l leased) delegate.Coherence { return l }

// fickle is a coherence whose lease may be lost.
type fickle struct {
	leased
	lost *atomic.Bool
}

func (f fickle) Ready(context.Context) error {
	if f.lost.Load() {
		return fault.CutOff
	}
	return nil
}

func (f fickle) Held() (time.Duration, bool) { return time.Hour, !f.lost.Load() }

// Without a lease others may have been given what was this mount's: nothing is put off.
func TestACloseWithoutALeaseIsNoPromise(t *testing.T) {
	var lost atomic.Bool
	l, m, _, _, tree := built(t, func(c leased) delegate.Coherence { return fickle{c, &lost} }, delegate.Options{}, 0)
	f, err := tree.Open("f", fstest.Flags{Write: true, Create: true})
	if err != nil {
		t.Fatal(err)
	}
	if err := m.Settle(t.Context()); err != nil {
		t.Fatal(err)
	}
	if _, err := f.WriteAt([]byte("text"), 0); err != nil {
		t.Fatal(err)
	}
	lost.Store(true)
	l.hold(true)
	closed := f.Close()
	v, _ := l.At(0)
	defer v.Close()
	if d, err := v.Lookup(meta.Root, "own"); err != nil {
		t.Error(err)
	} else if st, err := v.Lookup(d.Ino, "f"); err != nil || closed == nil && st.Size != 4 {
		t.Errorf("closed without a lease and without a commit: %d bytes, %v", st.Size, err)
	}
	lost.Store(false)
	l.hold(false)
}

// A file that is closed while its directory is being given up is in the log before that is.
func TestACloseDuringARecall(t *testing.T) {
	var hook atomic.Pointer[func()]
	var skew atomic.Int64
	l, m, fs, _, tree := built(t, plainly, delegate.Options{
		Now: func() time.Time { return time.Now().Add(time.Duration(skew.Load())) },
		InUse: func(meta.Ino) bool {
			if h := hook.Swap(nil); h != nil {
				(*h)()
			}
			return true
		},
	}, 0)
	write(t, tree, "quiet", "x")
	write(t, tree, "f", "before")
	fs.FlushAll(t.Context())
	if err := m.Settle(t.Context()); err != nil {
		t.Fatal(err)
	}
	i := inoOf(t, tree, "f")
	skew.Store(int64(2 * time.Second)) // the other is quiet
	write2 := func() { write(t, tree, "f", "closed") }
	hook.Store(&write2)
	if err := fs.Recall(t.Context(), i); err != nil {
		t.Fatal(err)
	}
	if hook.Load() != nil {
		t.Fatal("nothing quiet was asked for")
	}
	plain := below{fstest.Paths(vfs.New(l, fs2blocks(fs), vfs.Alone{Store: l}, vfs.Options{})), "own"}
	st, err := plain.Stat("f")
	if err != nil || st.Size != 6 {
		t.Errorf("another mount sees %d bytes of a closed file, %v", st.Size, err)
	}
}

func fs2blocks(*vfs.FS) vfs.Blocks { return fstest.NewBlocks() } // only sizes are looked at

// A journal that was full is one again once what is in it does not count any more.
func TestAFullJournalEmptiesItself(t *testing.T) {
	_, m, fs, j, tree := built(t, plainly, delegate.Options{}, 64<<10)
	for _, name := range []string{"a", "b", "c"} {
		write(t, tree, name, strings.Repeat(name, 20<<10))
	}
	var ts []journal.Ticket
	for k, err := j.Append(99, make([]byte, 1000)); err == nil; k, err = j.Append(99, make([]byte, 1000)) {
		ts = append(ts, k)
	}
	fs.FlushAll(t.Context())
	if err := m.Settle(t.Context()); err != nil {
		t.Fatal(err)
	}
	j.Done(ts...)
	if n := j.Open(); n != 0 {
		t.Errorf("%d records count for ever", n)
	}
	write(t, tree, "d", "text")
	fs.FlushAll(t.Context())
	if _, err := j.Append(99, make([]byte, 1000)); err != nil {
		t.Error(err)
	}
}

// A journal whose disk takes no more is given up as a whole.
func TestASpoiltJournalHoldsNobodyUp(t *testing.T) {
	dir := t.TempDir()
	r := newRig(t, dir)
	tree := r.begun(t)
	write(t, tree, "f", "one")
	r.j.Spoil()
	write(t, tree, "g", "two")
	if got := text(t, r.other(), "g"); got != "two" {
		t.Errorf("closed, and neither in a journal nor in the log: %q", got)
	}
	r.fs.FlushAll(t.Context())
	if got := text(t, r.other(), "f"); got != "one" {
		t.Errorf("f is %q", got)
	}
	if es, err := os.ReadDir(dir); err != nil || len(es) > 0 {
		t.Errorf("%d files are left in %s, %v", len(es), filepath.Base(dir), err)
	}
}

// An inode that is touched between being found idle and being given up stops nobody.
func TestIdleInodesAreGivenUpAtOnceOrNot(t *testing.T) {
	var dir atomic.Uint64
	var armed atomic.Bool
	var skew atomic.Int64
	var m *delegate.Mount
	fired := make(chan struct{})
	l := &log{}
	local, err := meta.NewLocal(mem.New(), meta.LocalOptions{})
	if err != nil {
		t.Fatal(err)
	}
	l.Local = local
	m = delegate.New(l, leased{vfs.Alone{Store: l}}, delegate.Options{
		Session: l.Session(),
		Now:     func() time.Time { return time.Now().Add(time.Duration(skew.Load())) },
		InUse: func(i meta.Ino) bool {
			if uint64(i) == dir.Load() && armed.Swap(false) {
				go func() {
					defer close(fired)
					if _, err := m.Apply(context.Background(), meta.Create{Dir: i, Name: "late", Type: meta.Fifo}); err != nil {
						t.Error(err)
					}
				}()
			}
			return false
		},
	})
	l.Machine().Follow(follow{m})
	res, err := m.Apply(t.Context(), meta.Create{Dir: meta.Root, Name: "d", Type: meta.Dir, Grant: true})
	if err != nil {
		t.Fatal(err)
	}
	dir.Store(uint64(res.Inode.Ino))
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan struct{})
	go func() { m.Run(ctx); close(ended) }()
	defer func() { cancel(); <-ended }()
	if _, err := m.Apply(t.Context(), meta.Create{Dir: res.Inode.Ino, Name: "first", Type: meta.Fifo}); err != nil {
		t.Fatal(err)
	}
	if err := m.Settle(t.Context()); err != nil {
		t.Fatal(err)
	}
	armed.Store(true)
	skew.Store(int64(11 * time.Second))
	<-fired
	within, cancel2 := context.WithTimeout(t.Context(), 4*time.Second)
	defer cancel2()
	if err := m.Settle(within); err != nil {
		t.Errorf("stuck: %v, %+v", err, m.Status())
	}
}

// A snapshot may bring the end of a grant.
func TestASnapshotEndsGrants(t *testing.T) {
	local, err := meta.NewLocal(mem.New(), meta.LocalOptions{})
	if err != nil {
		t.Fatal(err)
	}
	l := &log{Local: local}
	m := delegate.New(l, leased{vfs.Alone{Store: l}}, delegate.Options{Session: l.Session()})
	res, err := m.Apply(t.Context(), meta.Create{Dir: meta.Root, Name: "d", Type: meta.Dir, Grant: true})
	if err != nil {
		t.Fatal(err)
	}
	d := res.Inode.Ino
	m.Applied(meta.Change{Session: l.Session(), Granted: []meta.Ino{d}})
	if _, err := m.Apply(t.Context(), meta.Create{Dir: d, Name: "x", Type: meta.Fifo}); err != nil {
		t.Fatal(err)
	}
	if _, err := l.Local.Apply(t.Context(), meta.EndGrant{Session: l.Session()}); err != nil {
		t.Fatal(err)
	}
	if err := m.Reset(); err != nil {
		t.Fatal(err)
	}
	if m.Alone(d) {
		t.Error("the state says that it is nobody's alone")
	}
}

// A directory whose layout changes to commit=close beneath a queue: what was made in it is not this mount's alone.
func TestWhatTheLogDoesNotGrantIsNotHeld(t *testing.T) {
	r := newRig(t, "")
	tree := r.own()
	write(t, tree, "first", "")
	if err := r.m.Settle(t.Context()); err != nil {
		t.Fatal(err)
	}
	d := inoOf(t, tree, ".")
	r.log.hold(true)
	if err := tree.Mkdir("sub"); err != nil {
		t.Fatal(err)
	}
	set := meta.SetAttr{Ino: d, Mask: meta.SetWish}
	set.Wish.CommitClose = true
	if _, err := r.log.Local.Apply(t.Context(), set); err != nil {
		t.Fatal(err)
	}
	r.log.hold(false)
	if err := r.m.Settle(t.Context()); err != nil {
		t.Fatal(err)
	}
	sub := inoOf(t, tree, "sub")
	v, _ := r.log.At(0)
	defer v.Close()
	st, err := v.Stat(sub)
	if err != nil || r.m.Alone(sub) != (st.Grant != 0) {
		t.Errorf("the mount has it alone: %v; the state says %x, %v", r.m.Alone(sub), st.Grant, err)
	}
}

// Inodes with long targets are too many for one op long before they are 1024.
func TestLargeInodesAreGivenUp(t *testing.T) {
	r := newRig(t, "")
	tree := r.own()
	d := inoOf(t, tree, ".")
	for i := range 1000 {
		if _, err := r.m.Apply(t.Context(), meta.Create{Dir: d, Name: strconv.Itoa(i), Type: meta.Symlink, Target: strings.Repeat("x", 4000)}); err != nil {
			t.Fatal(err)
		}
	}
	if err := r.m.Settle(t.Context()); err != nil {
		t.Fatal(err)
	}
	var inos []meta.Ino
	v, _ := r.log.At(0)
	es, err := v.List(d, 0, 1000)
	v.Close()
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range es {
		inos = append(inos, e.Inode.Ino)
	}
	if err := r.m.GiveUpAll(t.Context(), inos); err != nil || len(inos) != 1000 {
		t.Fatal(len(inos), err)
	}
	if r.m.Alone(inos[0]) || r.m.Alone(inos[999]) {
		t.Error("still alone")
	}
}
