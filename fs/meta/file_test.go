package meta

import (
	"context"
	"errors"
	"slices"
	"testing"

	"dfs/cluster"
	"dfs/cluster/fault"
	"dfs/cluster/raft"
	"dfs/cluster/state"
	"dfs/fs/extent"
)

// fill gives a file n extents of one block each, in commits of 512.
func (d *drive) fill(ino Ino, n int64) {
	d.t.Helper()
	for at := int64(0); at < n; {
		var es []extent.Extent
		for ; at < n && len(es) < 512; at++ {
			es = append(es, d.extent(at, 1, 1))
		}
		d.do(Commit{Ino: ino, Extents: es, End: at * 512, Synced: true, TruncGen: d.stat(ino).TruncGen})
	}
}

func (d *drive) extents(ino Ino) extent.Map {
	d.t.Helper()
	v := d.view()
	defer v.Close()
	m, err := v.Extents(ino, 0, SizeMax)
	if err != nil {
		d.t.Fatal(err)
	}
	return m
}

// What a truncation cuts is gone at once, though dropping it takes many ops, even if the file grows again there.
func TestTruncationIsWholeAtOnce(t *testing.T) {
	d := newDrive(t, 1)
	f := d.file("f")
	d.fill(f, 5000)
	d.do(SetAttr{Ino: f, Mask: SetSize, Size: 100 * 512})
	if m := d.extents(f); len(m) != 100 || d.stat(f).Blocks != 100 {
		t.Fatalf("%d extents are visible, %d blocks", len(m), d.stat(f).Blocks)
	}
	d.do(SetAttr{Ino: f, Mask: SetSize, Size: 5000 * 512})
	if m := d.extents(f); len(m) != 100 {
		t.Fatalf("%d extents came back", len(m))
	}
	fresh := []extent.Extent{d.extent(2000, 3, 1), d.extent(4998, 2, 1)}
	d.write(f, fresh[:1]...)
	d.do(SetAttr{Ino: f, Mask: SetSize, Size: 4999 * 512}) // cuts while the first cut is not done
	d.do(SetAttr{Ino: f, Mask: SetSize, Size: 5000 * 512})
	d.write(f, fresh[1])
	want := append(slices.Clone(d.extents(f)[:100]), fresh...)
	if m := d.extents(f); !slices.EqualFunc(m, want, extent.Extent.Same) {
		t.Fatalf("%d extents", len(m))
	}
	v := d.view()
	if p, err := v.TrimPending(0, 9); err != nil || !slices.Equal(p, []Ino{f}) {
		t.Fatal(p, err)
	}
	v.Close()
	rounds := 1
	for d.do(Trim{Ino: f}).More {
		rounds++
	}
	if m := d.extents(f); !slices.EqualFunc(m, want, extent.Extent.Same) || rounds < 3 {
		t.Fatalf("%d extents after %d trims", len(m), rounds)
	}
	if n := d.stat(f); n.Blocks != 105 {
		t.Fatalf("%d blocks", n.Blocks)
	}
	if u := d.usage(); u.Blocks != 105 || u.Extents != 102 {
		t.Fatalf("%+v", u)
	}
	for k := range d.dump() {
		if k[1] == 't' {
			t.Fatalf("%q is left", k)
		}
	}
}

// Trims may come at any time between truncations and writes, in any number.
func TestTrimAfterEveryKindOfCut(t *testing.T) {
	d := newDrive(t, 1)
	f := d.file("f")
	d.fill(f, 4000)
	for _, size := range []int64{3900, 3800, 200, 3000, 100} {
		d.do(SetAttr{Ino: f, Mask: SetSize, Size: size * 512})
		if b := d.stat(f).Blocks; b*512 != uint64(d.extents(f).Bytes()) {
			t.Fatalf("cut to %d, the file says it has %d blocks", size, b)
		}
		d.do(Trim{Ino: f})
		d.do(SetAttr{Ino: f, Mask: SetSize, Size: 4000 * 512})
		d.write(f, d.extent(3000+size/10, 5, 1))
	}
	want := d.extents(f)
	for d.do(Trim{Ino: f}).More {
	}
	if got := d.extents(f); !slices.EqualFunc(got, want, extent.Extent.Same) || uint64(got.Bytes()) != d.stat(f).Blocks*512 {
		t.Fatalf("trimming changed the file: %d and %d extents", len(got), len(want))
	}
}

func TestReapingAHugeFileTakesManyOps(t *testing.T) {
	d := newDrive(t, 1)
	f := d.file("f")
	d.fill(f, 3000)
	d.do(Unlink{Dir: Root, Name: "f"})
	rounds := 1
	for d.do(Reap{Inos: []Ino{f}}).More {
		rounds++
	}
	if rounds != 3 || d.usage() != (Usage{Inodes: 1}) {
		t.Fatalf("%d rounds, %+v", rounds, d.usage())
	}
	var freed uint32
	for _, c := range d.changes {
		for _, fr := range c.Freed {
			freed += fr.Span.Count
		}
	}
	if freed != 3000 {
		t.Fatalf("%d blocks freed", freed)
	}
}

// A cut inside a block leaves a tail, which a later cut shortens and a write over the block replaces.
func TestTails(t *testing.T) {
	d := newDrive(t, 1)
	f := d.file("f")
	d.write(f, d.extent(0, 4, 1))
	d.do(SetAttr{Ino: f, Mask: SetSize, Size: 1024 + 300})
	d.do(SetAttr{Ino: f, Mask: SetSize, Size: 1024 + 400})
	if m := d.extents(f); len(m) != 1 || m[0].Tail != 300 || m[0].Span.Count != 3 {
		t.Fatalf("%+v", m)
	}
	d.do(SetAttr{Ino: f, Mask: SetSize, Size: 1024 + 350})
	if m := d.extents(f); m[0].Tail != 300 {
		t.Fatalf("%+v", m)
	}
	d.do(SetAttr{Ino: f, Mask: SetSize, Size: 1024 + 10})
	if m := d.extents(f); m[0].Tail != 10 {
		t.Fatalf("%+v", m)
	}
	d.write(f, d.extent(2, 1, 1))
	if m := d.extents(f); len(m) != 2 || m[0].Tail != 0 || m[1].Tail != 0 {
		t.Fatalf("%+v", m)
	}
}

func TestCommitsMerge(t *testing.T) {
	d := newDrive(t, 1)
	f := d.file("f")
	a, b, c := d.extent(0, 4, 1), d.extent(10, 2, 1), d.extent(2, 9, 1)
	d.write(f, a)
	d.write(f, b)
	d.do(Commit{Ino: f, Extents: []extent.Extent{d.extent(20, 1, 1)}, End: 20*512 + 7, Mtime: 50})
	n := d.do(Commit{Ino: f, Extents: []extent.Extent{c}, End: c.End(), Mtime: 40}).Inode
	if n.Size != 20*512+7 || n.Mtime != 51 || n.Blocks != 2+9+1+1 {
		t.Fatalf("%+v", n)
	}
	m := d.extents(f)
	left, _ := a.Clip(0, 1024)
	right, _ := b.Clip(11*512, 12*512)
	if want := (extent.Map{left, c, right}); !slices.EqualFunc(m[:3], want, extent.Extent.Same) {
		t.Fatalf("%v", m)
	}
	edge := Edge{Off: 512, Span: left.Block(512)}
	d.do(Commit{Ino: f, Edges: []Edge{edge}, Extents: []extent.Extent{d.extent(1, 1, 1)}, End: 1})
	d.refuse(fault.Conflict, Commit{Ino: f, Edges: []Edge{edge}, Extents: []extent.Extent{d.extent(1, 1, 1)}, End: 1})
	d.refuse(fault.Conflict, Commit{Ino: f, Edges: []Edge{{Off: 0}}, Extents: []extent.Extent{d.extent(0, 1, 1)}, End: 1})
	d.do(Commit{Ino: f, Edges: []Edge{{Off: 15 * 512}}, Extents: []extent.Extent{d.extent(15, 1, 1)}, End: 1})
	d.refuse(fault.Conflict, Commit{Ino: f, TruncGen: 3, End: 1})
	d.refuse(fault.Conflict, Commit{Ino: f, Append: true, AppendAt: 5, End: 9})
	d.do(Commit{Ino: f, Append: true, AppendAt: n.Size, End: n.Size + 1})
	d.refuse(fault.Invalid, Commit{Ino: f, Extents: []extent.Extent{d.extent(99, 1, 1)}, End: 5})
	d.refuse(fault.TooBig, Commit{Ino: f, End: SizeMax + 1})
	d.refuse(fault.IsDir, Commit{Ino: Root, End: 5})
	d.refuse(fault.Invalid, Commit{Ino: f, Attrs: SetAttr{Mask: SetSize}})
	bad := d.extent(0, 1, 1)
	bad.Layout.Peers = nil
	d.refuse(fault.Invalid, Commit{Ino: f, Extents: []extent.Extent{bad}, End: 5})
	bad = d.extent(0, 0, 1)
	d.refuse(fault.Invalid, Commit{Ino: f, Extents: []extent.Extent{bad}, End: 5})
}

// A whole unit of one-block extents, over another, fits one op; its encoding fits a log entry.
func TestTheLargestCommit(t *testing.T) {
	d := newDrive(t, 2)
	f := d.file("f")
	for range 2 {
		var es []extent.Extent
		for i := range int64(CommitExtents) {
			es = append(es, d.extent(i, 1, 2))
		}
		op := Commit{Ino: f, Extents: es, End: CommitExtents * 512}
		if n := len(Encode(op)); n > 256<<10 {
			t.Fatalf("%d bytes", n)
		}
		d.do(op)
	}
	if n := d.stat(f); n.Blocks != CommitExtents {
		t.Fatalf("%d blocks", n.Blocks)
	}
	for d.do(Stable{Marks: d.markAll(d.index, d.peers...)}).More {
	}
	v := d.view()
	defer v.Close()
	for _, p := range d.peers {
		list, err := v.FreedFor(p, 0, 1<<20)
		n := 0
		for _, l := range list {
			n += len(l.Spans)
		}
		if err != nil || n != CommitExtents {
			t.Fatalf("%d spans freed on a peer (%v)", n, err)
		}
	}
}

// What a volatile commit replaced is freed only when every replica of the new bytes is synced or not waited for.
func TestStable(t *testing.T) {
	d := newDrive(t, 3)
	f := d.file("f")
	d.write(f, d.extent(0, 4, 2))
	at := d.write(f, d.extent(1, 1, 2)).Index
	p := d.peers
	free := func(op Stable) int {
		t.Helper()
		before := len(d.changes)
		d.do(op)
		n := 0
		for _, c := range d.changes[before:] {
			n += len(c.Freed)
		}
		return n
	}
	v := d.view()
	if got, err := v.Volatile(f); err != nil || len(got) != 2 {
		t.Fatal(got, err)
	}
	if low, any, err := v.VolatileCommits(); err != nil || !any || low != at-1 {
		t.Fatal(low, any, err)
	}
	v.Close()
	for what, op := range map[string]Stable{
		"nobody":                   {},
		"one of two":               {Marks: d.markAll(at, p[0])},
		"an earlier commit's sync": {Marks: d.markAll(at-1, p[:2]...)},
		"another peer":             {Marks: d.markAll(at, p[0], p[2])},
		"nobody, both absent":      {Absent: p},
	} {
		if free(op) != 0 {
			t.Fatalf("freed after %s", what)
		}
	}
	if n := free(Stable{Marks: d.markAll(at, p[0]), Absent: p[1:2]}); n != 1 {
		t.Fatalf("%d freed", n)
	}
	if got := d.last().Freed[0]; got.Span.First != 1 || got.Span.Count != 1 || !slices.Equal(got.Peers, p[:2]) {
		t.Fatalf("%+v", got)
	}
	v = d.view()
	if got, _ := v.Volatile(f); len(got) != 0 {
		t.Fatal(got)
	}
	list, err := v.FreedFor(p[1], 0, 10)
	v.Close()
	if err != nil || len(list) != 1 || list[0].Index != d.last().Index {
		t.Fatalf("%+v %v", list, err)
	}
	d.do(Confirm{Peer: p[1], Index: list[0].Index - 1})
	d.do(Confirm{Peer: p[0], Index: list[0].Index})
	v = d.view()
	defer v.Close()
	if list, _ := v.FreedFor(p[1], 0, 10); len(list) != 1 {
		t.Fatalf("%+v", list)
	}
	if list, _ := v.FreedFor(p[0], 0, 10); len(list) != 0 {
		t.Fatalf("%+v", list)
	}
}

// A commit proposed again, because its outcome was unknown, frees nothing of its own.
func TestACommitTwiceFreesNothing(t *testing.T) {
	d := newDrive(t, 3)
	f := d.file("f")
	e, g := d.extent(0, 4, 2), d.extent(4, 4, 2)
	op := Commit{Ino: f, Extents: []extent.Extent{e, g}, End: g.End(), Synced: true}
	d.do(op)
	d.do(op)
	if c := d.last(); len(c.Freed) != 0 || d.stat(f).Blocks != 8 || d.usage().Extents != 2 {
		t.Fatalf("%+v", c)
	}
	part, _ := e.Clip(512, 1024)
	part.Layout.Peers = d.peers[1:2]
	d.do(Commit{Ino: f, Extents: []extent.Extent{part}, End: 1, Synced: true})
	if c := d.last(); len(c.Freed) != 1 || c.Freed[0].Span != part.Span || !slices.Equal(c.Freed[0].Peers, d.peers[:1]) {
		t.Fatalf("%+v", c.Freed)
	}
	whole := d.extent(0, 1, 1)
	whole.Span = e.Span
	whole.Span.First, whole.Span.Count = 1, 1
	whole.Off = 1024 // names block 1 of e where block 2 was
	d.do(Commit{Ino: f, Extents: []extent.Extent{whole}, End: 1, Synced: true})
	if c := d.last(); len(c.Freed) != 1 || c.Freed[0].Span.First != 2 {
		t.Fatalf("%+v", c.Freed)
	}
}

func TestSyncedCommitsFreeAtOnce(t *testing.T) {
	d := newDrive(t, 1)
	f := d.file("f")
	d.write(f, d.extent(0, 4, 1))
	d.do(Commit{Ino: f, Extents: []extent.Extent{d.extent(0, 2, 1)}, Synced: true, End: 5})
	if c := d.last(); len(c.Freed) != 1 || c.Freed[0].Span.Count != 2 {
		t.Fatalf("%+v", c)
	}
}

func TestGrants(t *testing.T) {
	d := newDrive(t, 1)
	create := func(name string) Ino {
		return d.do(Create{Dir: Root, Name: name, Type: File, Grant: true}).Inode.Ino
	}
	a, b, c, e := create("a"), create("b"), create("c"), create("e")
	if ch := d.last(); !slices.Equal(ch.Granted, []Ino{e}) {
		t.Fatalf("%+v", ch)
	}
	attrs := SetAttr{Mask: SetMode | SetMtime | SetUID, Mode: 0o4711, UID: 3, Mtime: 77}
	n := d.do(Commit{Ino: a, Extents: []extent.Extent{d.extent(0, 1, 1)}, End: 9, Mtime: 5, Attrs: attrs, EndGrant: true}).Inode
	if n.Grant != 0 || n.Mode != 0o4711 || n.UID != 3 || n.Mtime != 77 || n.Size != 9 {
		t.Fatalf("%+v", n)
	}
	if ch := d.last(); !slices.Equal(ch.Ended, []Ino{a}) {
		t.Fatalf("%+v", ch)
	}
	d.do(EndGrant{Session: d.Session(), Inos: []Ino{a, b, 99}})
	if ch := d.last(); !slices.Equal(ch.Ended, []Ino{b}) {
		t.Fatalf("%+v", ch)
	}
	d.do(EndGrant{Session: d.Session() + 1, Inos: []Ino{c}})
	v := d.view()
	if g, err := v.GrantsOf(d.Session(), 0, 9); err != nil || !slices.Equal(g, []Ino{c, e}) {
		t.Fatal(g, err)
	}
	v.Close()
	other := raft.Proposal{Session: 99, Seq: 1, Low: 1, Body: state.Encode(state.OpenSession{Peer: d.peers[0], Incarnation: 9})}
	d.entry(other) // a new incarnation: the old session ends, and its grants with it
	if ch := d.last(); !slices.Equal(ch.Ended, []Ino{c, e}) {
		t.Fatalf("%+v", ch)
	}
	if _, err := d.Apply(context.Background(), Trim{Ino: a}); !errors.Is(err, fault.Ended) {
		t.Fatal("an ended session still proposes:", err)
	}
}

// Merged tells a writer whose bytes lie beside another's that its own cache is wrong.
func TestMerged(t *testing.T) {
	d := newDrive(t, 2)
	f := d.file("f")
	open := state.Encode(state.OpenSession{Peer: d.peers[1]})
	d.entry(raft.Proposal{Session: 50, Seq: 1, Low: 1, Body: open})
	write := func(session, seq uint64, merged bool) {
		t.Helper()
		body := Encode(Commit{Ino: f, Extents: []extent.Extent{d.extent(0, 1, 1)}, End: 512})
		d.entry(raft.Proposal{Session: session, Seq: seq, Low: seq, Body: body})
		c := d.last()
		if len(c.Data) != 1 || c.Data[0] != (Data{f, merged}) || c.Session != session {
			t.Fatalf("%+v", c)
		}
	}
	write(1, 100, false)
	write(1, 101, false)
	write(50, 2, true)
	write(50, 3, false)
	write(1, 102, true)
	body := func() []byte { return Encode(Commit{Ino: f, Extents: []extent.Extent{d.extent(0, 1, 1)}, End: 512}) }
	d.entry(raft.Proposal{Session: 1, Seq: 103, Low: 103, Body: body()}, raft.Proposal{Session: 50, Seq: 4, Low: 4, Body: body()})
	if c := d.last(); c.Session != 0 || len(c.Data) != 2 || !c.Data[0].Merged || !c.Data[1].Merged {
		t.Fatalf("%+v", c)
	}
}

func TestReplace(t *testing.T) {
	d := newDrive(t, 3)
	f := d.file("f")
	e := d.extent(0, 4, 1)
	d.write(f, e)
	if u := d.usage(); u.BelowExtents != 1 || u.BelowBlocks != 4 {
		t.Fatalf("%+v", u)
	}
	more := e
	more.Layout.Peers = d.peers[:2]
	before := d.stat(f)
	d.do(Replace{Ino: f, Old: []extent.Extent{e}, New: []extent.Extent{more}})
	if c := d.last(); len(c.Freed) != 0 || len(c.Added) != 1 || len(c.Data) != 0 || d.stat(f) != before {
		t.Fatalf("%+v", c)
	}
	if u := d.usage(); u.BelowExtents != 0 || u.BelowBlocks != 0 {
		t.Fatalf("%+v", u)
	}
	moved := e
	moved.Layout.Peers = d.peers[1:]
	d.do(Replace{Ino: f, Old: []extent.Extent{more}, New: []extent.Extent{moved}})
	if c := d.last(); len(c.Freed) != 1 || !slices.Equal(c.Freed[0].Peers, d.peers[:1]) || c.Freed[0].Span != e.Span {
		t.Fatalf("%+v", c)
	}
	d.refuse(fault.Conflict, Replace{Ino: f, Old: []extent.Extent{more}, New: []extent.Extent{e}})
	parts := []extent.Extent{d.extent(0, 1, 2), d.extent(1, 3, 2)}
	d.do(Replace{Ino: f, Old: []extent.Extent{moved}, New: parts})
	whole := d.extent(0, 4, 2)
	d.do(Replace{Ino: f, Old: parts, New: []extent.Extent{whole}})
	d.refuse(fault.Invalid, Replace{Ino: f, Old: []extent.Extent{whole}, New: []extent.Extent{d.extent(0, 3, 1)}})
	d.refuse(fault.Invalid, Replace{Ino: f, Old: []extent.Extent{whole}})
	half, _ := whole.Clip(0, 1024)
	d.refuse(fault.Invalid, Replace{Ino: f, Old: []extent.Extent{whole}, New: []extent.Extent{half, d.extent(2, 2, 1)}})
	d.do(SetAttr{Ino: f, Mask: SetSize, Size: 1300})
	cut := d.extents(f)[0]
	tailless := d.extent(0, 3, 1)
	d.refuse(fault.Invalid, Replace{Ino: f, Old: []extent.Extent{cut}, New: []extent.Extent{tailless}})
	tailless.Tail = cut.Tail
	d.do(Replace{Ino: f, Old: []extent.Extent{cut}, New: []extent.Extent{tailless}})
}

// What is below its target follows the members there are.
func TestTargetsFollowTheMembers(t *testing.T) {
	d := newDrive(t, 1)
	f := d.file("f")
	d.write(f, d.extent(0, 8, 1))
	if u := d.usage(); u.BelowExtents != 0 {
		t.Fatalf("one peer, one copy: %+v", u)
	}
	key := make([]byte, 32)
	key[5] = 1
	second := cluster.Member{ID: cluster.IDOf(key), Key: key}
	d.fact(state.TokenCreate{Token: state.Token{ID: state.TokenID{9}, Uses: 1}})
	d.fact(state.Admit{Token: state.TokenID{9}, Member: second})
	if c := d.last(); !c.Members {
		t.Fatalf("%+v", c)
	}
	if u := d.usage(); u.BelowExtents != 1 || u.BelowBlocks != 8 {
		t.Fatalf("two peers, one copy: %+v", u)
	}
	v := d.view()
	short, _, done, err := v.Repairs(Place{}, 100)
	if err != nil || !done || len(short) != 1 || short[0].Target != 2 || short[0].Have != 1 || short[0].Ino != f {
		t.Fatalf("%+v %v", short, err)
	}
	held, err := v.Held()
	v.Close()
	if err != nil || held[d.peers[0]] != 8 || len(held) != 1 {
		t.Fatal(held, err)
	}
	e := d.extents(f)[0]
	two := e
	two.Layout.Peers = []cluster.PeerID{e.Layout.Peers[0], second.ID}
	d.do(Replace{Ino: f, Old: []extent.Extent{e}, New: []extent.Extent{two}})
	if u := d.usage(); u.BelowExtents != 0 {
		t.Fatalf("%+v", u)
	}
	d.do(Commit{Ino: f, Extents: []extent.Extent{d.extent(0, 8, 1)}, End: 1, Synced: true})
	d.fact(state.SetMember{ID: second.ID, Mask: state.SetState, State: cluster.Lost})
	if u := d.usage(); u.BelowExtents != 0 {
		t.Fatalf("a lost peer still counts: %+v", u)
	}
	for k := range d.dump() {
		if k[1] == 'f' && k[2:22] == string(second.ID[:]) {
			t.Fatal("a lost peer still has a list of what to free")
		}
	}
}

// A view goes on showing its own index.
func TestViewsStayAsTheyWere(t *testing.T) {
	d := newDrive(t, 1)
	f := d.file("f")
	e := d.extent(0, 4, 1)
	d.write(f, e)
	v := d.view()
	defer v.Close()
	d.write(f, d.extent(0, 4, 1))
	d.do(Rename{OldDir: Root, OldName: "f", NewDir: Root, NewName: "g"})
	d.do(SetAttr{Ino: f, Mask: SetSize, Size: 0})
	n, err := v.Lookup(Root, "f")
	if err != nil || n.Size != 2048 {
		t.Fatalf("%+v %v", n, err)
	}
	if m, err := v.Extents(f, 0, 10); err != nil || len(m) != 1 || !m[0].Same(e) {
		t.Fatalf("%+v %v", m, err)
	}
	old, err := d.At(v.Index())
	if err != nil || old.Index() != v.Index() {
		t.Fatal(err)
	}
	defer old.Close()
	if _, err := old.Lookup(Root, "g"); !errors.Is(err, fault.NotExist) {
		t.Fatal(err)
	}
}

func TestChownTakesSetuid(t *testing.T) {
	d := newDrive(t, 1)
	f := d.do(Create{Dir: Root, Name: "f", Type: File, Mode: 0o6755}).Inode.Ino
	if n := d.do(SetAttr{Ino: f, Mask: SetUID, UID: 5, Time: 9}).Inode; n.Mode != 0o755 || n.UID != 5 || n.Ctime != 9 {
		t.Fatalf("%+v", n)
	}
	dir := d.do(Create{Dir: Root, Name: "d", Type: Dir, Mode: 0o6755}).Inode.Ino
	if n := d.do(SetAttr{Ino: dir, Mask: SetGID, GID: 5}).Inode; n.Mode != 0o6755 {
		t.Fatalf("%+v", n)
	}
	d.refuse(fault.IsDir, SetAttr{Ino: dir, Mask: SetSize, Size: 5})
	d.refuse(fault.TooBig, SetAttr{Ino: f, Mask: SetSize, Size: SizeMax + 1})
	d.refuse(fault.Invalid, SetAttr{Ino: f, Mask: SetSize, Size: -1})
}
