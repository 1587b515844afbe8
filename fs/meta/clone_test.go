package meta

import (
	"context"
	"errors"
	"math/rand/v2"
	"slices"
	"testing"

	"dfs/blockstore"
	"dfs/blockstore/runs"
	"dfs/cluster"
	"dfs/cluster/fault"
	"dfs/cluster/placement"
	"dfs/fs/extent"
)

// clone gives another place what a random range of file i is.
func (w *world) clone(i Ino) {
	src, j := w.m.files[i], w.aFile()
	dst := w.m.files[j]
	if src.typ != File || dst.typ != File || len(src.data) == 0 {
		return
	}
	from, to := int(w.r.Int64N(int64(len(src.data))))&^511, w.r.IntN(36)*512
	n := 1 + w.r.IntN(min(8*512, len(src.data)-from))
	if to+n < len(dst.data) && w.r.IntN(10) > 0 {
		n = n &^ 511
	}
	op := Clone{Src: i, Dst: j, SrcOff: int64(from), DstOff: int64(to), N: int64(n), Time: Time(w.clock)}
	apart := max(from-to, to-from)
	switch {
	case n == 0 || i == j && apart < int(ceilBlock(int64(n))):
		w.refuse(fault.Invalid, op)
	case n%512 != 0 && to+n < len(dst.data):
		w.refuse(fault.Conflict, op)
	default:
		w.do(op)
		bytes := slices.Clone(src.data[from : from+n])
		dst.data = resize(dst.data, max(len(dst.data), to+n))
		copy(dst.data[to:], bytes)
	}
}

// shows reports whether a file shows all of list where it was put.
func (w *world) shows(i Ino, list []extent.Extent) bool {
	m := w.extents(i)
	for _, e := range list {
		for off := e.Off; off < e.End(); off += 512 {
			if x, ok := m.Find(off); !ok || x.Block(off) != e.Block(off) {
				return false
			}
		}
	}
	return true
}

// replace does to a random record what repair does: one replica more or fewer, or other blocks of the same bytes.
func (w *world) replace() {
	i := w.aFile()
	if w.m.files[i].typ != File {
		return
	}
	m := w.extents(i)
	if len(m) == 0 {
		return
	}
	old := m[w.r.IntN(len(m))]
	next := old
	peers := old.Layout.Peers
	switch w.r.IntN(3) {
	case 0:
		if len(peers) == 1 {
			return
		}
		next.Layout.Peers = slices.Delete(slices.Clone(peers), 0, 1)
	case 1:
		more := without(w.peers, peers)
		if len(more) == 0 || w.left(old.Span, more[0]) {
			return
		}
		next.Layout.Peers = append(slices.Clone(peers), more[0])
	case 2:
		if w.stat(i).Grant != 0 {
			return
		}
		next = w.extent(old.Off/512, old.Span.Count, 1+w.r.IntN(3))
		next.Tail = old.Tail
		w.blocks[next.Span.Extent] = slices.Clone(w.blocks[old.Span.Extent][old.Span.First*512:][:old.Span.Bytes()])
	}
	_, err := w.Apply(context.Background(), Replace{Ino: i, Old: []extent.Extent{old}, New: []extent.Extent{next}})
	if err == nil {
		each(next.Span, next.Layout.Peers, func(h held) { w.held[h] = true })
	} else if !errors.Is(err, fault.Conflict) || old.Span != next.Span || !w.counted(next.Span.Extent, next.Layout.Peers[len(peers)]) {
		w.t.Fatal(err) // else the peer has, or had, other blocks of it
	}
}

func (w *world) counted(id blockstore.ID, p cluster.PeerID) bool {
	_, ok := w.dump()[string(shareKey(id, p))]
	return ok
}

// gone reports whether some of it was freed.
func (w *world) gone(s blockstore.Span, peers []cluster.PeerID) (yes bool) {
	each(s, peers, func(h held) { yes = yes || w.freed[h] })
	return yes
}

// left reports whether a peer was told to drop some of s before anybody shared it: nothing says so any more.
func (w *world) left(s blockstore.Span, p cluster.PeerID) bool {
	return !w.counted(s.Extent, p) && w.gone(s, []cluster.PeerID{p})
}

// isNamed reports whether the extent that a key counts is in some map.
func (w *world) isNamed(key string) bool {
	for i, f := range w.m.files {
		if f.typ == File && slices.ContainsFunc(w.extents(i), func(e extent.Extent) bool { return string(e.Span.Extent[:]) == key[2:18] }) {
			return true
		}
	}
	return false
}

// Counts are what an array of counts would be.
func TestTallies(t *testing.T) {
	r := rand.New(rand.NewPCG(*seed, 9))
	for range 200 {
		var ts tallies
		var want [40]uint32
		for range 30 {
			first := uint32(r.IntN(40))
			end := first + 1 + uint32(r.IntN(int(40-first)))
			if r.IntN(2) == 0 {
				most := uint32(0)
				for i := first; i < end; i++ {
					want[i]++
					most = max(most, want[i])
				}
				var got uint32
				if ts, got = ts.add(first, end); got != most {
					t.Fatalf("most %d, want %d", got, most)
				}
			} else {
				var gone, set runs.Set
				for i := first; i < end; i++ {
					if want[i] == 1 {
						set = set.Add(runs.Run{First: i, End: i + 1})
					}
					want[i] -= min(want[i], 1)
				}
				if ts, gone = ts.take(first, end); !equalRuns(gone, set) {
					t.Fatalf("gone %v, want %v", gone, set)
				}
			}
			var got [40]uint32
			for i, x := range ts {
				if x.first >= x.end || x.refs == 0 || i > 0 && (ts[i-1].end > x.first || ts[i-1].end == x.first && ts[i-1].refs == x.refs) {
					t.Fatalf("%+v", ts)
				}
				for k := x.first; k < x.end; k++ {
					got[k] = x.refs
				}
			}
			if got != want {
				t.Fatalf("%v, want %v", got, want)
			}
			again, err := decodeTallies(ts.encode())
			if err != nil || !slices.Equal(again, ts) {
				t.Fatalf("%v became %v, %v", ts, again, err)
			}
		}
	}
}

// freedOn returns how many blocks peers were told to drop since the changes were last looked at.
func (d *drive) freedOn() map[cluster.PeerID]int {
	n := map[cluster.PeerID]int{}
	for _, c := range d.changes {
		for _, f := range c.Freed {
			for _, p := range f.Peers {
				n[p] += int(f.Span.Count)
			}
		}
	}
	d.changes = nil
	return n
}

// A clone moves nothing and costs a record and a count; blocks go with the last file that has them, on every peer.
func TestClone(t *testing.T) {
	d := newDrive(t, 3)
	a, b := d.file("a"), d.file("b")
	e := d.extent(0, 8, 2)
	d.write(a, e)
	d.do(SetAttr{Ino: a, Mask: SetSize, Size: 7*512 + 100})
	d.freedOn()
	d.do(Clone{Src: a, Dst: b, N: 7*512 + 100, Time: 9})
	if c := d.last(); len(c.Data) != 1 || c.Data[0].Ino != b || slices.Contains(c.Attrs, a) {
		t.Fatalf("the change is %+v", c)
	}
	m := d.extents(b)
	if len(m) != 1 || m[0].Span != e.Span || m[0].Tail != 100 || !slices.Equal(m[0].Layout.Peers, e.Layout.Peers) {
		t.Fatalf("%+v", m)
	}
	n := d.stat(b)
	if n.Size != 7*512+100 || n.Blocks != 8 || d.usage().Blocks != 16 {
		t.Fatalf("%+v", n)
	}
	d.do(SetAttr{Ino: a, Mask: SetSize, Size: 0})
	if f := d.freedOn(); len(f) != 0 {
		t.Fatalf("freed %v while the other has it", f)
	}
	d.do(Punch{Ino: b, Off: 512, N: 512})
	if f := d.freedOn(); f[e.Layout.Peers[0]] != 1 || f[e.Layout.Peers[1]] != 1 {
		t.Fatalf("freed %v", f)
	}
	d.do(SetAttr{Ino: b, Mask: SetSize, Size: 0})
	if f := d.freedOn(); f[e.Layout.Peers[0]] != 7 || f[e.Layout.Peers[1]] != 7 {
		t.Fatalf("freed %v", f)
	}
	for k := range d.dump() {
		if k[1] == 's' {
			t.Fatalf("%q is left", k)
		}
	}
}

// Each record has its own replicas: what one gives up stays where another counts on it, and nobody counts on what was freed.
func TestReplicasOfSharedExtents(t *testing.T) {
	d := newDrive(t, 4)
	a, b := d.file("a"), d.file("b")
	e := d.extent(0, 8, 2)
	d.write(a, e)
	d.do(Clone{Src: a, Dst: b, N: 8 * 512})
	move := func(f Ino, peers ...cluster.PeerID) error {
		old := d.extents(f)[0]
		next := old
		next.Layout.Peers = peers
		_, err := d.Apply(context.Background(), Replace{Ino: f, Old: []extent.Extent{old}, New: []extent.Extent{next}})
		return err
	}
	p, q, r := e.Layout.Peers[0], e.Layout.Peers[1], without(d.peers, e.Layout.Peers)[0]
	d.freedOn()
	if err := move(a, q, r); err != nil {
		t.Fatal(err)
	}
	if f := d.freedOn(); len(f) != 0 {
		t.Fatalf("freed %v, where b is", f)
	}
	if err := move(b, q); err != nil {
		t.Fatal(err)
	}
	if f := d.freedOn(); len(f) != 1 || f[p] != 8 {
		t.Fatalf("freed %v", f)
	}
	if err := move(a, q, r, p); !errors.Is(err, fault.Conflict) {
		t.Fatalf("a replica that is being deleted was counted on: %v", err)
	}
	if err := move(b, q, r); err != nil {
		t.Fatal(err)
	}
	v := d.view()
	defer v.Close()
	list, err := v.Shared(e.Span.Extent)
	if err != nil || len(list) != 3 {
		t.Fatal(list, err)
	}
	for _, h := range list {
		if want := uint32(8); h.Peer == p && h.Blocks.Len() != 0 || h.Peer != p && h.Blocks.Len() != want {
			t.Fatalf("%+v", list)
		}
	}
}

// What is cloned before it is on disk is volatile in the clone too, and what it replaced waits with it.
func TestCloneOfWhatIsNotOnDisk(t *testing.T) {
	d := newDrive(t, 2)
	a, b := d.file("a"), d.file("b")
	was := d.extent(0, 2, 1)
	d.do(Commit{Ino: b, Extents: []extent.Extent{was}, End: 1024, Synced: true})
	d.do(Commit{Ino: a, Extents: []extent.Extent{d.extent(0, 2, 2)}, End: 1024})
	d.freedOn()
	at := d.do(Clone{Src: a, Dst: b, N: 1024}).Index
	v := d.view()
	on, err := v.Volatile(b)
	v.Close()
	if err != nil || len(on) != 2 || len(d.freedOn()) != 0 {
		t.Fatalf("volatile on %v, %v", on, err)
	}
	d.do(Stable{Marks: d.markAll(at-1, d.peers...)})
	if f := d.freedOn(); len(f) != 0 {
		t.Fatalf("freed %v too early", f)
	}
	d.do(Stable{Marks: d.markAll(at, d.peers...)})
	if f := d.freedOn(); f[was.Layout.Peers[0]] != 2 {
		t.Fatalf("freed %v", f)
	}
}

func TestClonesThatAreRefused(t *testing.T) {
	d := newDrive(t, 1)
	a, b := d.file("a"), d.file("b")
	d.fill(a, 2000)
	d.write(b, d.extent(0, 8, 1))
	d.do(Create{Dir: Root, Name: "l", Type: Symlink, Target: "t"})
	other := d.file("other")
	d.do(SetAttr{Ino: other, Mask: SetWish, Wish: placement.Wish{Copies: 3}})
	for _, x := range []struct {
		op   Clone
		want fault.Kind
	}{
		{Clone{Src: 99, Dst: b, N: 512}, fault.Stale},
		{Clone{Src: a, Dst: 99, N: 512}, fault.Stale},
		{Clone{Src: Root, Dst: b, N: 512}, fault.IsDir},
		{Clone{Src: a, Dst: Root, N: 512}, fault.IsDir},
		{Clone{Src: b + 1, Dst: b, N: 512}, fault.Invalid},
		{Clone{Src: a, Dst: b}, fault.Invalid},
		{Clone{Src: a, Dst: b, SrcOff: 1, N: 512}, fault.Invalid},
		{Clone{Src: a, Dst: b, DstOff: 1, N: 512}, fault.Invalid},
		{Clone{Src: a, Dst: b, DstOff: SizeMax, N: 512}, fault.TooBig},
		{Clone{Src: a, Dst: b, SrcOff: 1999 * 512, N: 1024}, fault.Conflict},
		{Clone{Src: a, Dst: b, N: 100}, fault.Conflict},
		{Clone{Src: a, Dst: a, N: 1024, DstOff: 512}, fault.Invalid},
		{Clone{Src: a, Dst: b, N: 2000 * 512}, fault.TooBig},
		{Clone{Src: b, Dst: a, N: 4096}, 0},
		{Clone{Src: a, Dst: other, N: 512}, fault.Unsupported},
	} {
		if x.want != 0 {
			d.refuse(x.want, x.op)
			continue
		}
		d.do(x.op)
	}
}
