package vfs_test

import (
	"context"
	"errors"
	"slices"
	"testing"
	"time"

	"dfs/cluster/fault"
	"dfs/fs/coherence"
	"dfs/fs/fstest"
	"dfs/fs/meta"
	"dfs/fs/vfs"
)

// leased is a Coherence that lets everything be kept until the end of a lease, and calls before as a read begins.
type leased struct {
	vfs.Alone
	now, until time.Duration
	before     func(coherence.Object)
	pin        uint64 // index that listings are read at; 0 the newest
}

func (l *leased) Read(_ context.Context, o coherence.Object, fn func(meta.View) error) (time.Duration, error) {
	if l.before != nil {
		l.before(o)
	}
	var at uint64
	if o == coherence.List(meta.Root) {
		at = l.pin
	}
	v, err := l.Store.At(at)
	if err != nil {
		return 0, err
	}
	defer v.Close()
	return l.until - l.now, fn(v)
}

// counted is the references a kernel has.
type counted map[meta.Ino]int

func (c counted) Add(ino meta.Ino)  { c[ino]++ }
func (c counted) Drop(ino meta.Ino) { c[ino]-- }

// under returns a file system like d's whose answers c permits.
func under(d *fstest.Drive, c *leased) *vfs.FS {
	c.Alone = vfs.Alone{Store: d.Meta}
	return vfs.New(d.Meta, d.Blocks, c, vfs.Options{Session: d.Meta.Session(), Boot: func() time.Duration { return c.now }})
}

// A name's validity ends when its lease did, however long its attributes took.
func TestValidityIsNotStretchedByAWait(t *testing.T) {
	d := fstest.NewDrive(t, vfs.Options{})
	ino, _ := create(t, d.FS, "f")
	c := &leased{until: 2 * time.Second}
	c.before = func(o coherence.Object) {
		if o == coherence.Attr(ino) {
			c.now = 1500 * time.Millisecond // a wait for a release
		}
	}
	fs := under(d, c)
	e, err := fs.Lookup(bg, meta.Root, "f", nil)
	must(t, err)
	if left := fs.Left(e.EntryUntil); left != 500*time.Millisecond {
		t.Fatalf("the name may be kept for %v", left)
	}
	c.now = 3 * time.Second
	if left := fs.Left(e.EntryUntil); left != 0 {
		t.Fatalf("after the lease the name may be kept for %v", left)
	}
}

// An inode is counted before its attributes are read, and no longer if there is no answer.
func TestLookupCountsBeforeItReads(t *testing.T) {
	d := fstest.NewDrive(t, vfs.Options{})
	ino, _ := create(t, d.FS, "f")
	refs := counted{}
	c := &leased{}
	c.before = func(o coherence.Object) {
		if o == coherence.Attr(ino) && refs[ino] == 0 {
			t.Errorf("no reference while attributes are read")
		}
	}
	fs := under(d, c)
	_, err := fs.Lookup(bg, meta.Root, "f", refs)
	must(t, err)
	_, err = fs.Link(bg, ino, meta.Root, "f", refs)
	if !errors.Is(err, fault.Exist) || refs[ino] != 1 {
		t.Fatalf("%v, %v", err, refs)
	}
	_, _, err = fs.Create(bg, vfs.Caller{}, meta.Root, "f", 0o644, vfs.Mode{Write: true, Excl: true}, refs)
	if !errors.Is(err, fault.Exist) || refs[ino] != 1 {
		t.Fatalf("%v, %v", err, refs)
	}
	_, _, err = fs.Create(bg, vfs.Caller{}, meta.Root, "f", 0o644, vfs.Mode{Write: true}, refs)
	if err != nil || refs[ino] != 2 {
		t.Fatalf("%v, %v", err, refs)
	}
	e, err := fs.Mkdir(bg, vfs.Caller{}, meta.Root, "d", 0o755, refs)
	if err != nil || refs[e.Inode.Ino] != 1 {
		t.Fatalf("%v, %v", err, refs)
	}
}

// The kernel takes a new inode's attributes as they are, so they may be kept only where it cannot know the inode by another name.
func TestWhatHasAnotherNameAtOnceIsNotKept(t *testing.T) {
	d := fstest.NewDrive(t, vfs.Options{})
	for what, other := range map[string]func(ino meta.Ino) meta.Op{
		"alone":  nil,
		"linked": func(ino meta.Ino) meta.Op { return meta.Link{Ino: ino, Dir: meta.Root, Name: "l", Time: 1} },
		"renamed": func(meta.Ino) meta.Op {
			return meta.Rename{OldDir: meta.Root, OldName: "renamed", NewDir: meta.Root, NewName: "r", Time: 1}
		},
	} {
		c, refs := &leased{until: time.Minute}, counted{}
		c.before = func(o coherence.Object) {
			if o != coherence.Entry(meta.Root, what) || other == nil {
				return
			}
			for ino := range refs {
				_, err := d.Meta.Apply(bg, other(ino))
				must(t, err)
			}
		}
		e, _, err := under(d, c).Create(bg, vfs.Caller{}, meta.Root, what, 0o644, vfs.Mode{Write: true}, refs)
		must(t, err)
		if kept := e.AttrUntil != 0; kept != (other == nil) {
			t.Errorf("%s: its attributes may be kept until %v", what, e.AttrUntil)
		}
	}
}

// Attributes in a listing are of the newest state, or not there, even if the listing is of an older one.
func TestListingsCarryNoOldAttributes(t *testing.T) {
	d := fstest.NewDrive(t, vfs.Options{})
	ino, h := create(t, d.FS, "f")
	_, _ = create(t, d.FS, "gone")
	must(t, d.FS.Flush(bg, h))
	d.FS.FlushAll(bg)
	v, err := d.Meta.At(0)
	must(t, err)
	c := &leased{until: time.Minute, pin: v.Index()}
	v.Close()
	refs := counted{}
	fs := under(d, c)
	_, err = fs.Setattr(bg, ino, meta.SetAttr{Mask: meta.SetMode, Mode: 0o600, Time: 1}) // came and went
	must(t, err)
	must(t, fs.Unlink(bg, meta.Root, "gone"))
	ls, err := fs.Readdir(bg, meta.Root, 0, 10, true, refs)
	must(t, err)
	i := slices.IndexFunc(ls, func(l vfs.Listed) bool { return l.Name == "f" })
	if len(ls) != 2 || i < 0 || !ls[i].Full || ls[i].Inode.Mode != 0o600 || ls[1-i].Full {
		t.Fatalf("%+v", ls)
	}
	for ino, n := range refs {
		if want := map[bool]int{true: 1}[ino == ls[i].Inode.Ino]; n != want {
			t.Errorf("%d references to %d", n, ino)
		}
	}
}

// passing is a Coherence and a store, where a change of one inode's attributes was taken in before it is in the state, and is over
// as soon as somebody has read the state.
type passing struct {
	*leased
	meta.Store
	ino  meta.Ino
	over bool
}

func (p *passing) At(index uint64) (meta.View, error) {
	p.over = true
	return p.Store.At(index)
}

func (p *passing) Clean(o coherence.Object) bool { return p.over || o != coherence.Attr(p.ino) }

func (p *passing) Read(ctx context.Context, o coherence.Object, fn func(meta.View) error) (time.Duration, error) {
	return p.leased.Read(ctx, o, fn)
}

// A change that passes while a listing is read leaves no attributes in it: they may be those from before.
func TestListingsCarryNothingThatChangesMeanwhile(t *testing.T) {
	d := fstest.NewDrive(t, vfs.Options{})
	ino, h := create(t, d.FS, "f")
	must(t, d.FS.Flush(bg, h))
	d.FS.FlushAll(bg)
	c := &leased{until: time.Minute, Alone: vfs.Alone{Store: d.Meta}}
	p := &passing{leased: c, Store: d.Meta, ino: ino}
	fs := vfs.New(p, d.Blocks, p, vfs.Options{Session: d.Meta.Session(), Boot: func() time.Duration { return c.now }})
	refs := counted{}
	ls, err := fs.Readdir(bg, meta.Root, 0, 10, true, refs)
	must(t, err)
	if len(ls) != 1 || ls[0].Full || refs[ino] != 0 {
		t.Fatalf("%+v, %v", ls, refs)
	}
}

// pending is a Coherence where a change of one inode is taken in only once the kernel has got the answer under way, which may
// therefore wait for nothing while it is counted.
type pending struct {
	*leased
	t    *testing.T
	refs counted
	ino  meta.Ino
	hits int
}

func (p *pending) Clean(coherence.Object) bool { return true } // as it was a moment ago

func (p *pending) Read(ctx context.Context, o coherence.Object, fn func(meta.View) error) (time.Duration, error) {
	if o == coherence.Attr(p.ino) && p.hits < 2 {
		if p.hits++; ctx.Err() != nil {
			return 0, fault.Because("read metadata", fault.Timeout, ctx.Err())
		}
		if p.refs[p.ino] != 0 {
			p.t.Error("it waits while it is counted")
		}
	}
	return p.leased.Read(ctx, o, fn)
}

// An answer that gives the kernel an inode waits for a change of it only while the inode is not counted.
func TestNobodyWaitsWhatWaitsForHim(t *testing.T) {
	d := fstest.NewDrive(t, vfs.Options{})
	ino, h := create(t, d.FS, "f")
	must(t, d.FS.Flush(bg, h))
	d.FS.FlushAll(bg)
	c := &leased{until: time.Minute, Alone: vfs.Alone{Store: d.Meta}}
	p := &pending{leased: c, t: t, refs: counted{}, ino: ino}
	fs := vfs.New(d.Meta, d.Blocks, p, vfs.Options{Session: d.Meta.Session(), Boot: func() time.Duration { return c.now }})
	e, err := fs.Lookup(bg, meta.Root, "f", p.refs)
	if err != nil || e.Inode.Ino != ino || p.refs[ino] != 1 || p.hits != 2 {
		t.Fatalf("%+v, %v, %v, %d looks", e, err, p.refs, p.hits)
	}
}
