package delegate_test

import (
	"context"
	"errors"
	"fmt"
	"path"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"dfs/blockstore/kv"
	"dfs/blockstore/kv/mem"
	"dfs/cluster/fault"
	"dfs/cluster/state"
	"dfs/fs/coherence"
	"dfs/fs/delegate"
	"dfs/fs/delegate/journal"
	"dfs/fs/fstest"
	"dfs/fs/meta"
	"dfs/fs/vfs"
)

// log is the metadata of one machine as a log that can be made to wait.
type log struct {
	*meta.Local
	mu      sync.Mutex
	closed  bool // batches wait
	dead    bool // whoever asked is gone
	batches int
	ops     int
	through int // ops that came by themselves
}

func (l *log) ApplyEarly(ctx context.Context, op meta.Op) (meta.Result, error) {
	return l.Apply(ctx, op)
}
func (l *log) ApplyUnder(ctx context.Context, _ uint64, op meta.Op) (meta.Result, error) {
	return l.Apply(ctx, op)
}
func (l *log) Released(context.Context, uint64) error { return nil }
func (l *log) Admit(meta.Op) error                    { return nil }
func (l *log) Newest() (kv.Reader, uint64)            { return l.Machine().At(0) }

func (l *log) Apply(ctx context.Context, op meta.Op) (meta.Result, error) {
	l.mu.Lock()
	l.through++
	l.mu.Unlock()
	return l.Local.Apply(ctx, op)
}

func (l *log) Carry(ctx context.Context, b meta.Batch) ([]meta.Failure, error) {
	for {
		l.mu.Lock()
		if !l.closed {
			l.batches++
			l.ops += len(b.Ops)
			l.mu.Unlock()
			return l.Local.Carry(b)
		}
		dead := l.dead
		l.mu.Unlock()
		if dead {
			return nil, fault.Closed
		}
		select {
		case <-time.After(time.Millisecond):
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

func (l *log) Wait(ctx context.Context, done <-chan struct{}) error {
	select {
	case <-done:
		return nil
	case <-ctx.Done():
		return fault.Because("wait", fault.Timeout, ctx.Err())
	}
}

func (l *log) hold(closed bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.closed = closed
}

// leased is the coherence of a mount that always has its lease.
type leased struct{ vfs.Alone }

func (leased) Own(_ context.Context, _ coherence.Object, fn func() error) (time.Duration, error) {
	return time.Second, fn()
}
func (leased) Ready(context.Context) error { return nil }
func (leased) Held() (time.Duration, bool) { return time.Hour, true }
func (leased) Doubt(meta.Ino)              {}
func (leased) ForgetAll()                  {}

// follow tells a mount what the log did.
type follow struct{ m *delegate.Mount }

func (f follow) Applied(e state.Applied) {
	for _, c := range e.Changes {
		if ch, ok := c.What.(*meta.Change); ok {
			f.m.Applied(*ch)
		}
	}
}
func (follow) Reset(uint64) {}

// rig is a file system on delegations on one machine's metadata.
type rig struct {
	t      *testing.T
	log    *log
	blocks *fstest.Blocks
	m      *delegate.Mount
	fs     *vfs.FS
	j      *journal.Journal
	stop   func()
}

func newRig(t *testing.T, dir string) *rig {
	t.Helper()
	local, err := meta.NewLocal(mem.New(), meta.LocalOptions{})
	if err != nil {
		t.Fatal(err)
	}
	b := fstest.NewBlocks()
	b.Peer = local.Peers()[0]
	return newRigOn(t, &log{Local: local}, b, dir)
}

func newRigOn(t *testing.T, l *log, b *fstest.Blocks, dir string) *rig {
	t.Helper()
	r := &rig{t: t, log: l, blocks: b}
	if dir != "" {
		j, left, err := journal.Open(dir, l.Session(), journal.Options{Boot: "this"})
		if err != nil {
			t.Fatal(err)
		}
		_ = left
		r.j = j
	}
	r.m = delegate.New(l, leased{vfs.Alone{Store: l}}, delegate.Options{Session: l.Session(), Journal: r.j})
	l.Machine().Follow(follow{r.m})
	r.fs = vfs.New(r.m, b, r.m, vfs.Options{Session: l.Session(), Journal: r.j})
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	own, end := context.WithCancel(context.Background())
	wg.Go(func() { r.m.Run(own) })
	var files sync.WaitGroup
	files.Go(func() { r.fs.Run(ctx) })
	r.stop = sync.OnceFunc(func() {
		cancel()
		files.Wait()
		end()
		wg.Wait()
	})
	t.Cleanup(r.stop)
	return r
}

// below is a tree in a directory of another.
type below struct {
	fstest.Tree
	dir string
}

func (b below) Open(p string, f fstest.Flags) (fstest.File, error) {
	return b.Tree.Open(path.Join(b.dir, p), f)
}
func (b below) Mkdir(p string) error              { return b.Tree.Mkdir(path.Join(b.dir, p)) }
func (b below) Symlink(target, p string) error    { return b.Tree.Symlink(target, path.Join(b.dir, p)) }
func (b below) Readlink(p string) (string, error) { return b.Tree.Readlink(path.Join(b.dir, p)) }
func (b below) Link(old, p string) error {
	return b.Tree.Link(path.Join(b.dir, old), path.Join(b.dir, p))
}
func (b below) Remove(p string) error { return b.Tree.Remove(path.Join(b.dir, p)) }
func (b below) Rmdir(p string) error  { return b.Tree.Rmdir(path.Join(b.dir, p)) }
func (b below) Rename(old, p string) error {
	return b.Tree.Rename(path.Join(b.dir, old), path.Join(b.dir, p))
}
func (b below) Truncate(p string, size int64) error {
	return b.Tree.Truncate(path.Join(b.dir, p), size)
}
func (b below) Chmod(p string, perm uint32) error { return b.Tree.Chmod(path.Join(b.dir, p), perm) }
func (b below) Chtimes(p string, mtime int64) error {
	return b.Tree.Chtimes(path.Join(b.dir, p), mtime)
}
func (b below) Stat(p string) (fstest.Stat, error) { return b.Tree.Stat(path.Join(b.dir, p)) }
func (b below) List(p string) ([]string, error)    { return b.Tree.List(path.Join(b.dir, p)) }

// own returns a tree in a directory that the mount made, and so has to itself.
func (r *rig) own() fstest.Tree {
	r.t.Helper()
	top := fstest.Paths(r.fs)
	if err := top.Mkdir("own"); err != nil {
		r.t.Fatal(err)
	}
	return below{top, "own"}
}

func TestContractBesideDelegations(t *testing.T) {
	fstest.Run(t, func(t *testing.T) fstest.Tree { return fstest.Paths(newRig(t, "").fs) })
}

func TestContractInADelegation(t *testing.T) {
	fstest.Run(t, func(t *testing.T) fstest.Tree { return newRig(t, "").own() })
}

func TestContractWithAJournal(t *testing.T) {
	fstest.Run(t, func(t *testing.T) fstest.Tree { return newRig(t, t.TempDir()).own() })
}

func write(t *testing.T, tree fstest.Tree, p, text string) {
	t.Helper()
	f, err := tree.Open(p, fstest.Flags{Write: true, Create: true, Trunc: true})
	if err == nil {
		_, err = f.WriteAt([]byte(text), 0)
	}
	if err == nil {
		err = f.Close()
	}
	if err != nil {
		t.Fatalf("%s: %v", p, err)
	}
}

// snap is a tree in words: every path with its type, links, size and bytes.
func snap(t *testing.T, tree fstest.Tree, dir string) []string {
	t.Helper()
	names, err := tree.List(dir)
	if err != nil {
		t.Fatal(err)
	}
	var out []string
	for _, n := range names {
		p := path.Join(dir, n)
		st, err := tree.Stat(p)
		if err != nil {
			t.Fatal(p, err)
		}
		line := fmt.Sprintf("%s dir %v link %v %o links %d size %d", p, st.Dir, st.Link, st.Perm, st.Nlink, st.Size)
		if !st.Dir && !st.Link {
			f, err := tree.Open(p, fstest.Flags{Read: true})
			if err != nil {
				t.Fatal(err)
			}
			b := make([]byte, st.Size)
			if _, err := f.ReadAt(b, 0); err != nil && st.Size > 0 {
				t.Fatal(p, err)
			}
			f.Close()
			line += " " + string(b)
		}
		out = append(out, line)
		if st.Dir {
			out = append(out, snap(t, tree, p)...)
		}
	}
	slices.Sort(out)
	return out
}

// work does a bit of everything.
func work(t *testing.T, tree fstest.Tree) {
	t.Helper()
	do := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	do(tree.Mkdir("a"))
	do(tree.Mkdir("a/b"))
	for i := range 40 {
		write(t, tree, fmt.Sprintf("a/b/f%d", i), strings.Repeat("x", i*37))
	}
	do(tree.Rename("a/b/f1", "a/g1"))
	do(tree.Rename("a/b/f2", "a/b/f3"))
	do(tree.Link("a/b/f4", "a/l4"))
	do(tree.Remove("a/b/f4"))
	do(tree.Remove("a/b/f5"))
	do(tree.Truncate("a/b/f30", 100))
	do(tree.Chmod("a/b/f31", 0o600))
	write(t, tree, "a/b/f32", "again")
	do(tree.Symlink("b/f32", "a/s"))
	do(tree.Mkdir("a/gone"))
	do(tree.Rmdir("a/gone"))
	do(tree.Rename("a/b", "a/c"))
}

// Nothing of what a mount does in a directory of its own waits for the log, and all of it is there when the log has it.
func TestWorkIsDoneHereAndTravelsInBatches(t *testing.T) {
	r := newRig(t, t.TempDir())
	tree := r.own()
	write(t, tree, "first", "") // inode numbers are reserved
	if err := r.m.Settle(t.Context()); err != nil {
		t.Fatal(err)
	}
	r.log.mu.Lock()
	through, batches := r.log.through, r.log.batches
	r.log.mu.Unlock()
	r.log.hold(true)
	work(t, tree)
	here := snap(t, tree, "a")
	r.log.hold(false)
	r.fs.FlushAll(t.Context())
	if err := r.m.Settle(t.Context()); err != nil {
		t.Fatal(err)
	}
	if n := r.log.through - through; n != 0 {
		t.Errorf("%d ops went to the log by themselves", n)
	}
	if n := r.log.batches - batches; n > 20 {
		t.Errorf("%d ops went in %d batches", r.log.ops, n)
	}
	if there := snap(t, fstest.Paths(vfs.New(r.log, r.blocks, vfs.Alone{Store: r.log}, vfs.Options{})), "own/a"); len(there) != len(here) {
		t.Errorf("the log has %d of %d", len(there), len(here))
	} else {
		for i := range here {
			if strings.TrimPrefix(there[i], "own/") != here[i] {
				t.Errorf("the log has %q, not %q", there[i], here[i])
			}
		}
	}
}

// A daemon that dies with everything still to be sent loses nothing: the next one finds it in the journal.
func TestADaemonThatDiesLosesNothing(t *testing.T) {
	dir := t.TempDir()
	r := newRig(t, dir)
	tree := r.own()
	write(t, tree, "first", "")
	if err := r.m.Begin(t.Context(), r.log.Session()); err != nil {
		t.Fatal(err)
	}
	for round := range 3 {
		r.log.hold(round > 0) // the first round is in the log, the others are not
		work(t, below{tree, mkdir(t, tree, fmt.Sprintf("r%d", round))})
	}
	want := snap(t, tree, ".")
	// The daemon dies here: nothing of it may reach the log or the disk any more, but its journal is there.
	left := r.left(dir)
	r.log.mu.Lock()
	r.log.dead = true
	r.log.mu.Unlock()
	next := newRigOn(t, &log{Local: r.log.Local}, r.blocks, "")
	redo(t, next, left)
	got := snap(t, below{fstest.Paths(next.fs), "own"}, ".")
	if !slices.Equal(got, want) {
		t.Errorf("after the crash:\n%s\nbefore:\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

func mkdir(t *testing.T, tree fstest.Tree, p string) string {
	t.Helper()
	if err := tree.Mkdir(p); err != nil {
		t.Fatal(err)
	}
	return p
}

// redo does again what a daemon left behind, as the next one does at its start.
func redo(t *testing.T, next *rig, left []journal.Left) {
	t.Helper()
	skip, err := vfs.TakenBack(left)
	if err != nil {
		t.Fatal(err)
	}
	for _, l := range left {
		if err := next.m.Redo(t.Context(), l, next.fs, skip); err != nil {
			t.Fatal(err)
		}
	}
	next.fs.FlushAll(t.Context())
}

// left reads the journal as the next daemon will.
func (r *rig) left(dir string) []journal.Left {
	r.t.Helper()
	_, left, err := journal.Open(dir, 99, journal.Options{Boot: "this"})
	if err != nil {
		r.t.Fatal(err)
	}
	return left
}

// What is given up is in the log before it is, and is done through the log from then on.
func TestGivenUp(t *testing.T) {
	r := newRig(t, t.TempDir())
	tree := r.own()
	write(t, tree, "f", "text")
	st, err := tree.Stat(".")
	if err != nil {
		t.Fatal(err)
	}
	ino := meta.Ino(st.Ino)
	if !r.m.Alone(ino) {
		t.Fatal("a directory just made is not this mount's alone")
	}
	if err := r.fs.Recall(t.Context(), ino); err != nil {
		t.Fatal(err)
	}
	if r.m.Alone(ino) {
		t.Fatal("it is, after it was given up")
	}
	v, err := r.log.At(0)
	if err != nil {
		t.Fatal(err)
	}
	defer v.Close()
	f, err := v.Lookup(ino, "f")
	if err != nil {
		t.Fatal("given up before what was done in it was in the log:", err)
	}
	if err := r.fs.Recall(t.Context(), f.Ino); err != nil {
		t.Fatal(err)
	}
	v2, err := r.log.At(0)
	if err != nil {
		t.Fatal(err)
	}
	defer v2.Close()
	if f, err = v2.Stat(f.Ino); err != nil || f.Size != 4 || f.Grant != 0 {
		t.Fatalf("a file given up is %+v, %v", f, err)
	}
	before := r.log.through
	write(t, tree, "g", "more")
	if r.log.through == before {
		t.Error("a name was made here in a directory that was given up")
	}
}

// With commit=close nothing is this mount's alone but a file that is open.
func TestCommitClose(t *testing.T) {
	r := newRig(t, t.TempDir())
	set := meta.SetAttr{Ino: meta.Root, Mask: meta.SetWish}
	set.Wish.CommitClose = true
	if _, err := r.log.Apply(t.Context(), set); err != nil {
		t.Fatal(err)
	}
	tree := r.own()
	write(t, tree, "f", "text")
	if s := r.m.Status(); s.Queue != 0 {
		t.Errorf("%d ops wait", s.Queue)
	}
	v, err := r.log.At(0)
	if err != nil {
		t.Fatal(err)
	}
	defer v.Close()
	own, err := v.Lookup(meta.Root, "own")
	if err != nil {
		t.Fatal(err)
	}
	if f, err := v.Lookup(own.Ino, "f"); err != nil || f.Size != 4 {
		t.Errorf("after close the log has %+v, %v", f, err)
	}
}

// The log that stands still does not make the queue grow for ever.
func TestAQueueThatIsOldMakesOpsWait(t *testing.T) {
	r := newRig(t, "")
	tree := r.own()
	write(t, tree, "first", "")
	r.log.hold(true)
	defer r.log.hold(false)
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	st, _ := tree.Stat(".")
	for i := 0; ; i++ {
		short, stop := context.WithTimeout(ctx, 2*time.Second)
		_, err := r.m.Apply(short, meta.Create{Dir: meta.Ino(st.Ino), Name: fmt.Sprint("n", i), Type: meta.Fifo})
		stop()
		if errors.Is(err, fault.Timeout) {
			return
		}
		if err != nil {
			t.Fatal(err)
		}
	}
}
