package meta

import (
	"context"
	"flag"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"dfs/blockstore"
	"dfs/cluster"
	"dfs/cluster/fault"
	"dfs/fs/extent"
)

var seed = flag.Uint64("meta.seed", 0, "seed of the random histories; 0 takes the clock")

// model is a plain tree in memory: what the machine must be equal to, told the slow and obvious way.
type model struct {
	files map[Ino]*mfile
	next  Ino
}

type mfile struct {
	typ    Type
	names  map[string]Ino // of a directory
	data   []byte         // of a file
	links  int            // names that lead here
	parent Ino
	gen    uint64
	xattrs map[string]string
}

func newModel() *model {
	return &model{files: map[Ino]*mfile{Root: {typ: Dir, names: map[string]Ino{}, parent: Root}}, next: 2}
}

func (m *model) dir(i Ino) (*mfile, fault.Kind) {
	d := m.files[i]
	switch {
	case d == nil:
		return nil, fault.NotExist
	case d.typ != Dir:
		return nil, fault.NotDir
	case i != Root && d.links == 0:
		return nil, fault.NotExist
	}
	return d, 0
}

// below reports whether i is dir or lies below it.
func (m *model) below(i, dir Ino) bool {
	for i != dir {
		if i == Root {
			return false
		}
		i = m.files[i].parent
	}
	return true
}

// apply returns the kind of failure, 0 for none.
func (m *model) apply(op Op) fault.Kind {
	switch op := op.(type) {
	case Create:
		d, k := m.dir(op.Dir)
		if k != 0 {
			return k
		}
		if _, ok := d.names[op.Name]; ok {
			return fault.Exist
		}
		d.names[op.Name] = m.next
		m.files[m.next] = &mfile{typ: op.Type, names: map[string]Ino{}, links: 1, parent: op.Dir}
		m.next++
	case Link:
		f := m.files[op.Ino]
		if f == nil || op.Ino != Root && f.links == 0 {
			return fault.NotExist
		}
		if f.typ == Dir {
			return fault.IsDir
		}
		d, k := m.dir(op.Dir)
		if k != 0 {
			return k
		}
		if _, ok := d.names[op.Name]; ok {
			return fault.Exist
		}
		d.names[op.Name] = op.Ino
		f.links++
	case Unlink:
		return m.remove(op.Dir, op.Name, false)
	case Rmdir:
		return m.remove(op.Dir, op.Name, true)
	case Rename:
		return m.rename(op)
	case SetAttr:
		f := m.files[op.Ino]
		switch {
		case f == nil:
			return fault.Stale
		case f.typ == Dir:
			return fault.IsDir
		}
		if int(op.Size) < len(f.data) {
			f.gen++
		}
		f.data = resize(f.data, int(op.Size))
		delete(f.xattrs, Capability)
	case SetXattr:
		f := m.files[op.Ino]
		if f == nil {
			return fault.Stale
		}
		if k := fault.KindOf(checkXattr(f.typ, op.Name)); k != 0 {
			return k
		}
		_, there := f.xattrs[op.Name]
		switch {
		case there && op.Flags == XattrCreate:
			return fault.Exist
		case !there && op.Flags == XattrReplace:
			return fault.NotExist
		case f.xattrs == nil:
			f.xattrs = map[string]string{}
		}
		f.xattrs[op.Name] = string(op.Value)
	case RemoveXattr:
		f := m.files[op.Ino]
		if f == nil {
			return fault.Stale
		}
		if k := fault.KindOf(checkXattr(f.typ, op.Name)); k != 0 {
			return k
		}
		if _, there := f.xattrs[op.Name]; !there {
			return fault.NotExist
		}
		delete(f.xattrs, op.Name)
	case Reap:
		for _, i := range op.Inos {
			if f := m.files[i]; f != nil && i != Root && f.links == 0 {
				delete(m.files, i)
			}
		}
	}
	return 0
}

func resize(b []byte, n int) []byte {
	if n <= len(b) {
		return b[:n:n]
	}
	return append(b, make([]byte, n-len(b))...)
}

func (m *model) remove(dir Ino, name string, rmdir bool) fault.Kind {
	d, k := m.dir(dir)
	if k != 0 {
		return k
	}
	i, ok := d.names[name]
	if !ok {
		return fault.NotExist
	}
	f := m.files[i]
	switch {
	case rmdir && f.typ != Dir:
		return fault.NotDir
	case rmdir && len(f.names) > 0:
		return fault.NotEmpty
	case !rmdir && f.typ == Dir:
		return fault.IsDir
	}
	delete(d.names, name)
	f.links--
	return 0
}

func (m *model) rename(op Rename) fault.Kind {
	od, k := m.dir(op.OldDir)
	if k != 0 {
		return k
	}
	i, ok := od.names[op.OldName]
	if !ok {
		return fault.NotExist
	}
	nd, k := m.dir(op.NewDir)
	if k != 0 {
		return k
	}
	f := m.files[i]
	j, there := nd.names[op.NewName]
	switch {
	case there && op.Flags == RenameNoReplace:
		return fault.Exist
	case !there && op.Flags == RenameExchange:
		return fault.NotExist
	case f.typ == Dir && m.below(op.NewDir, i):
		return fault.Loop
	case op.Flags == RenameExchange && m.files[j].typ == Dir && m.below(op.OldDir, j):
		return fault.Loop
	case there && i == j:
		return 0
	}
	f.parent = op.NewDir
	if op.Flags == RenameExchange {
		m.files[j].parent = op.OldDir
		od.names[op.OldName], nd.names[op.NewName] = j, i
		return 0
	}
	if there {
		t := m.files[j]
		var k fault.Kind
		switch {
		case f.typ == Dir && t.typ != Dir:
			k = fault.NotDir
		case f.typ != Dir && t.typ == Dir:
			k = fault.IsDir
		case t.typ == Dir && len(t.names) > 0:
			k = fault.NotEmpty
		}
		if k != 0 {
			f.parent = op.OldDir
			return k
		}
		t.links--
	}
	delete(od.names, op.OldName)
	nd.names[op.NewName] = i
	return 0
}

// world is a drive beside its model, with blocks whose bytes are known.
type world struct {
	*drive
	m      *model
	r      *rand.Rand
	blocks map[blockstore.ID][]byte
	held   map[held]bool // what peers were ever given
	freed  map[held]bool // what they were told to drop
}

// held is one block on one peer.
type held struct {
	peer  cluster.PeerID
	id    blockstore.ID
	block uint32
}

// each calls fn for every block of s on every peer.
func each(s blockstore.Span, peers []cluster.PeerID, fn func(held)) {
	for _, p := range peers {
		for k := range s.Count {
			fn(held{p, s.Extent, s.First + k})
		}
	}
}

// TestTheMachineIsATree plays random histories on the machine and on the model: equal answers, equal trees, equal
// bytes, and no block freed that is still named.
func TestTheMachineIsATree(t *testing.T) {
	s := *seed
	if s == 0 {
		s = uint64(time.Now().UnixNano())
	}
	for i := range uint64(6) {
		t.Run(fmt.Sprint(i), func(t *testing.T) {
			t.Logf("-meta.seed=%d", s)
			w := &world{drive: newDrive(t, 3), m: newModel(), r: rand.New(rand.NewPCG(s, i)),
				blocks: map[blockstore.ID][]byte{}, held: map[held]bool{}, freed: map[held]bool{}}
			for n := range 1500 {
				w.step()
				if n%100 == 99 {
					w.compare()
				}
			}
			w.settle()
		})
	}
}

func (w *world) ino() Ino {
	if w.r.IntN(20) == 0 {
		return Ino(w.r.Uint64N(uint64(w.m.next) + 3))
	}
	return w.pick(func(*mfile) bool { return true })
}

func (w *world) pick(ok func(*mfile) bool) Ino {
	var list []Ino
	for i, f := range w.m.files {
		if ok(f) {
			list = append(list, i)
		}
	}
	if len(list) == 0 {
		return Root
	}
	slices.Sort(list)
	return list[w.r.IntN(len(list))]
}

func (w *world) aDir() Ino {
	if w.r.IntN(15) == 0 {
		return w.ino()
	}
	return w.pick(func(f *mfile) bool { return f.typ == Dir && (f.links > 0 || f.parent == Root) })
}

func (w *world) aFile() Ino { return w.pick(func(f *mfile) bool { return f.typ == File }) }

func (w *world) name() string { return string(rune('a' + w.r.IntN(7))) }

func (w *world) step() {
	now := Time(w.clock)
	switch n := w.r.IntN(100); {
	case n < 20:
		typ := []Type{File, File, Dir, Dir, Symlink}[w.r.IntN(5)]
		op := Create{Dir: w.aDir(), Name: w.name(), Type: typ, Mode: 0o644, Time: now, Grant: w.r.IntN(2) == 0}
		if typ == Symlink {
			op.Target = "t"
		}
		w.both(op)
	case n < 25:
		w.both(Link{Ino: w.ino(), Dir: w.aDir(), Name: w.name(), Time: now})
	case n < 33:
		w.both(Unlink{Dir: w.aDir(), Name: w.name(), Time: now})
	case n < 37:
		w.both(Rmdir{Dir: w.aDir(), Name: w.name(), Time: now})
	case n < 52:
		w.both(Rename{OldDir: w.aDir(), OldName: w.name(), NewDir: w.aDir(), NewName: w.name(), Flags: uint32(w.r.IntN(3)), Time: now})
	case n < 55:
		w.xattr(now)
	case n < 60:
		if i := w.aFile(); i != Root {
			w.both(SetAttr{Ino: i, Mask: SetSize, Size: w.r.Int64N(40 * 512), Time: now})
		}
	case n < 63:
		w.punch()
	case n < 72:
		w.clone(w.aFile())
	case n < 77:
		w.replace()
	case n < 90:
		w.write()
	case n < 93:
		w.both(Reap{Inos: []Ino{w.ino()}})
	case n < 96:
		w.do(Stable{Marks: w.markAll(w.index-min(w.index, w.r.Uint64N(20)), w.peers...)})
	case n < 98:
		w.do(Confirm{Peer: w.peers[w.r.IntN(3)], Index: w.index})
	default:
		w.do(EndGrant{Session: w.Session()})
	}
	w.track()
}

func (w *world) xattr(now Time) {
	ino, name := w.ino(), []string{"user.a", "user.b", "trusted.c", Capability, "nowhere.d"}[w.r.IntN(5)]
	if w.r.IntN(3) == 0 {
		w.both(RemoveXattr{Ino: ino, Name: name, Time: now})
		return
	}
	w.both(SetXattr{Ino: ino, Name: name, Value: []byte(w.name()), Flags: uint32(w.r.IntN(3)), Time: now})
}

// both applies op to the machine and the model.
func (w *world) both(op Op) {
	w.t.Helper()
	_, err := w.Apply(context.Background(), op)
	want := w.m.apply(op)
	if got := fault.KindOf(err); (err != nil) != (want != 0) || err != nil && got != want {
		w.t.Fatalf("%T%+v: %v, want %v", op, op, err, want)
	}
}

// write writes random bytes at a random place, as a file system would: whole blocks, ragged edges completed.
func (w *world) write() {
	i := w.aFile()
	f := w.m.files[i]
	if f.typ != File {
		return
	}
	off := w.r.IntN(36 * 512)
	if w.r.IntN(3) == 0 {
		off &^= 511
	}
	n := 1 + w.r.IntN(4*512)
	bytes := make([]byte, n)
	for k := range bytes {
		bytes[k] = byte(1 + w.r.IntN(255))
	}
	first, end := int64(off)&^511, ceilBlock(int64(off+n))
	buf := w.read(i, first, end-first)
	v := w.view()
	m, _ := v.Extents(i, first, end-first)
	v.Close()
	var edges []Edge
	for _, at := range []int64{first, end - 512} {
		e := Edge{Off: at}
		if x, ok := m.Find(at); ok {
			e.Span = x.Block(at)
		}
		edges = append(edges, e)
	}
	f.data = resize(f.data, max(len(f.data), off+n))
	copy(f.data[off:], bytes)
	copy(buf[off-int(first):], bytes)
	var list []extent.Extent
	for at := first; at < end; {
		c := min(int64(1+w.r.IntN(4)), (end-at)/512)
		e := w.extent(at/512, uint32(c), 1+w.r.IntN(3))
		w.blocks[e.Span.Extent] = slices.Clone(buf[at-first:][:c*512])
		each(e.Span, e.Layout.Peers, func(h held) { w.held[h] = true })
		list = append(list, e)
		at = e.End()
	}
	op := Commit{Ino: i, Edges: edges, TruncGen: f.gen, Extents: list, End: int64(off + n), Time: Time(w.clock),
		Synced: w.r.IntN(3) == 0, EndGrant: w.r.IntN(2) == 0}
	w.do(op)
	if w.r.IntN(5) == 0 { // proposed again, its outcome unknown, when others share it perhaps
		w.clone(i)
		if op.TruncGen == f.gen && w.shows(i, list) {
			op.Edges = nil
			w.do(op)
		}
	}
}

// read returns bytes of a file as its map shows them.
func (w *world) read(i Ino, off, n int64) []byte {
	w.t.Helper()
	v := w.view()
	defer v.Close()
	in, err := v.Stat(i)
	if err != nil {
		w.t.Fatal(err)
	}
	m, err := v.Extents(i, off, n)
	if err != nil {
		w.t.Fatal(err)
	}
	if err := m.Check(); err != nil {
		w.t.Fatal(err)
	}
	b := make([]byte, n)
	for _, e := range m.Slice(off, n) {
		data := slices.Clone(w.blocks[e.Span.Extent][e.Span.First*512:][:e.Span.Bytes()])
		if e.Tail != 0 {
			clear(data[len(data)-512+int(e.Tail):])
		}
		each(e.Span, e.Layout.Peers, func(h held) {
			if w.freed[h] || !w.held[h] {
				w.t.Fatalf("%+v is named by inode %d, and was freed or never there", h, i)
			}
		})
		copy(b[max(0, e.Off-off):], data)
	}
	if end := in.Size - off; end < n {
		clear(b[max(0, end):])
	}
	return b
}

// track checks the last changes for blocks freed twice.
func (w *world) track() {
	for _, c := range w.changes {
		for _, f := range c.Freed {
			each(f.Span, f.Peers, func(h held) {
				if w.freed[h] {
					w.t.Fatalf("%+v freed twice", h)
				}
				w.freed[h] = true
			})
		}
	}
	w.changes = w.changes[:0]
}

// compare checks everything the machine holds against the model.
func (w *world) compare() {
	w.t.Helper()
	v := w.view()
	defer v.Close()
	var blocks, extents uint64
	for i, f := range w.m.files {
		n, err := v.Stat(i)
		if err != nil {
			w.t.Fatal(err)
		}
		if n.Type != f.typ {
			w.t.Fatalf("inode %d is a %d", i, n.Type)
		}
		w.compareXattrs(v, i, f)
		if f.typ == Dir {
			w.compareDir(v, i, n, f)
			continue
		}
		if int(n.Nlink) != f.links {
			w.t.Fatalf("inode %d: %d links, want %d", i, n.Nlink, f.links)
		}
		if f.typ != File {
			continue
		}
		if n.Size != int64(len(f.data)) || n.TruncGen != f.gen {
			w.t.Fatalf("inode %d: size %d gen %d, want %d and %d", i, n.Size, n.TruncGen, len(f.data), f.gen)
		}
		if got := w.read(i, 0, n.Size); string(got) != string(f.data) {
			for k := range got {
				if got[k] != f.data[k] {
					w.t.Fatalf("inode %d differs at %d of %d", i, k, n.Size)
				}
			}
		}
		m, _ := v.Extents(i, 0, SizeMax)
		if uint64(m.Bytes()/512) != n.Blocks {
			w.t.Fatalf("inode %d says %d blocks and holds %d", i, n.Blocks, m.Bytes()/512)
		}
		if k := len(m); k > 0 && m[k-1].End() > ceilBlock(n.Size) {
			w.t.Fatalf("inode %d holds blocks beyond its end", i)
		}
		blocks += n.Blocks
		extents += uint64(len(m))
	}
	u, err := v.Usage()
	if err != nil || u.Inodes != uint64(len(w.m.files)) || u.Blocks != blocks || u.Extents != extents {
		w.t.Fatalf("usage %+v %v, want %d inodes %d blocks %d extents", u, err, len(w.m.files), blocks, extents)
	}
	short, _, done, err := v.Repairs(Place{}, 1<<20)
	var below uint64
	for _, s := range short {
		below += uint64(s.Extent.Span.Count)
	}
	if err != nil || !done || uint64(len(short)) != u.BelowExtents || below != u.BelowBlocks {
		w.t.Fatalf("%d extents of %d blocks below target, usage says %+v (%v)", len(short), below, u, err)
	}
}

func (w *world) compareXattrs(v *Image, i Ino, f *mfile) {
	w.t.Helper()
	names, err := v.Xattrs(i)
	got := map[string]string{}
	for _, name := range names {
		value, err := v.Xattr(i, name)
		if err != nil {
			w.t.Fatal(err)
		}
		got[name] = string(value)
	}
	if err != nil || !maps.Equal(got, f.xattrs) {
		w.t.Fatalf("inode %d has %v (%v), want %v", i, got, err, f.xattrs)
	}
}

func (w *world) compareDir(v *Image, i Ino, n Inode, f *mfile) {
	w.t.Helper()
	subdirs := 0
	for _, c := range f.names {
		if w.m.files[c].typ == Dir {
			subdirs++
		}
	}
	want := 2 + subdirs
	if i != Root && f.links == 0 {
		want = 0
	} else if n.Parent != f.parent {
		w.t.Fatalf("directory %d has parent %d, want %d", i, n.Parent, f.parent)
	}
	if int(n.Nlink) != want || n.Size != int64(len(f.names)) {
		w.t.Fatalf("directory %d: %d links, %d entries, want %d and %d", i, n.Nlink, n.Size, want, len(f.names))
	}
	got := map[string]Ino{}
	var after Cursor
	for {
		list, err := v.List(i, after, 3)
		if err != nil {
			w.t.Fatal(err)
		}
		for _, e := range list {
			got[e.Name], after = e.Inode.Ino, e.Cursor
		}
		if len(list) < 3 {
			break
		}
	}
	if !maps.Equal(got, f.names) {
		w.t.Fatalf("directory %d lists %v, want %v", i, got, f.names)
	}
}

// settle ends everything that waits and checks that nothing is left of it: no freed or volatile lists, no orphans;
// every block is either named or freed.
func (w *world) settle() {
	w.t.Helper()
	for {
		v := w.view()
		orphans, _ := v.Orphans(0, 100)
		v.Close()
		if len(orphans) == 0 {
			break
		}
		w.both(Reap{Inos: orphans})
		w.track()
	}
	w.do(Stable{Marks: w.markAll(w.index, w.peers...)})
	w.track()
	w.compare()
	for _, p := range w.peers {
		v := w.view()
		list, err := v.FreedFor(p, 0, 1<<20)
		v.Close()
		if err != nil {
			w.t.Fatal(err)
		}
		for _, f := range list {
			for _, s := range f.Spans {
				if !w.freed[held{p, s.Extent, s.First}] {
					w.t.Fatalf("%v is on a list and was never freed", s)
				}
			}
		}
		for w.do(Confirm{Peer: p, Index: w.index}).More {
		}
	}
	w.do(EndGrant{Session: w.Session()})
	for k := range w.dump() {
		if strings.IndexByte("otgvwf", k[1]) >= 0 || k[1] == 's' && !w.isNamed(k) {
			w.t.Fatalf("%q is left", k)
		}
	}
	named := map[held]bool{}
	for i, f := range w.m.files {
		if f.typ != File {
			continue
		}
		for _, e := range w.extents(i) {
			each(e.Span, e.Layout.Peers, func(h held) { named[h] = true })
		}
	}
	for h := range w.held {
		if named[h] == w.freed[h] {
			w.t.Fatalf("%+v: named %v, freed %v", h, named[h], w.freed[h])
		}
	}
}
