package meta

import (
	"context"
	"errors"
	"testing"
	"time"

	"dfs/blockstore"
	"dfs/blockstore/kv/mem"
	"dfs/cluster"
	"dfs/cluster/fault"
	"dfs/cluster/placement"
	"dfs/cluster/raft"
	"dfs/cluster/state"
	"dfs/fs/extent"
)

// drive is a Local under test, with the changes it made.
type drive struct {
	*Local
	t       *testing.T
	kv      *mem.Store
	clock   int64
	changes []Change
	ids     uint64
}

func newDrive(t *testing.T, peers int) *drive {
	t.Helper()
	d := &drive{t: t, kv: mem.New()}
	l, err := NewLocal(d.kv, LocalOptions{Peers: peers, Now: func() time.Time { d.clock++; return time.Unix(0, d.clock) }})
	if err != nil {
		t.Fatal(err)
	}
	d.Local = l
	l.machine.Follow(d)
	return d
}

func (d *drive) Applied(a state.Applied) { d.changes = append(d.changes, ChangeOf(a)) }
func (d *drive) Reset(uint64)            {}

func (d *drive) last() Change { return d.changes[len(d.changes)-1] }

func (d *drive) do(op Op) Result {
	d.t.Helper()
	r, err := d.Apply(context.Background(), op)
	if err != nil {
		d.t.Fatalf("%T%+v: %v", op, op, err)
	}
	return r
}

// refuse applies op, which must fail with kind and change nothing.
func (d *drive) refuse(kind fault.Kind, op Op) {
	d.t.Helper()
	before := d.dump()
	_, err := d.Apply(context.Background(), op)
	if !errors.Is(err, kind) {
		d.t.Fatalf("%T%+v: %v, want %v", op, op, err, kind)
	}
	if after := d.dump(); len(before) != len(after) {
		d.t.Fatalf("%T%+v failed and changed something", op, op)
	} else {
		for k, v := range before {
			if after[k] != v {
				d.t.Fatalf("%T%+v failed and changed %q", op, op, k)
			}
		}
	}
}

// dump returns the metadata's keys and values.
func (d *drive) dump() map[string]string {
	d.t.Helper()
	m := map[string]string{}
	r := d.kv.At(d.kv.Newest())
	defer r.Close()
	if err := r.Scan([]byte{tag}, nil, func(k, v []byte) bool {
		m[string(k)] = string(v)
		return true
	}); err != nil {
		d.t.Fatal(err)
	}
	return m
}

func (d *drive) view() *Image {
	v, err := d.At(0)
	if err != nil {
		d.t.Fatal(err)
	}
	return v.(*Image)
}

func (d *drive) stat(ino Ino) Inode {
	d.t.Helper()
	v := d.view()
	defer v.Close()
	n, err := v.Stat(ino)
	if err != nil {
		d.t.Fatal(err)
	}
	return n
}

func (d *drive) file(name string) Ino {
	d.t.Helper()
	return d.do(Create{Dir: Root, Name: name, Type: File, Mode: 0o644, Time: 1}).Inode.Ino
}

func (d *drive) dir(parent Ino, name string) Ino {
	d.t.Helper()
	return d.do(Create{Dir: parent, Name: name, Type: Dir, Mode: 0o755, Time: 1}).Inode.Ino
}

// extent makes a new extent of so many blocks at block off, on the first peers.
func (d *drive) extent(block int64, count uint32, copies int) extent.Extent {
	d.ids++
	var id blockstore.ID
	be(id[:0], d.ids)
	return extent.Extent{Off: block * 512, Span: blockstore.Span{Extent: id, Count: count},
		Layout: placement.Layout{Data: 1, Peers: d.peers[:copies]}}
}

// write commits whole blocks.
func (d *drive) write(ino Ino, es ...extent.Extent) Result {
	d.t.Helper()
	return d.do(Commit{Ino: ino, Extents: es, End: es[len(es)-1].End(), TruncGen: d.stat(ino).TruncGen, Time: 5, Mtime: 5})
}

func (d *drive) usage() Usage {
	d.t.Helper()
	v := d.view()
	defer v.Close()
	u, err := v.Usage()
	if err != nil {
		d.t.Fatal(err)
	}
	return u
}

// propose applies several proposals as one entry.
func (d *drive) entry(ps ...raft.Proposal) [][]byte {
	d.t.Helper()
	d.index++
	rs, err := d.machine.Apply(d.index, ps)
	if err != nil {
		d.t.Fatal(err)
	}
	return rs
}

// fact agrees on a fact.
func (d *drive) fact(f state.Fact) []byte {
	d.t.Helper()
	raw, err := d.propose(state.Encode(f))
	if err == nil {
		raw, err = state.DecodeResult(raw)
	}
	if err != nil {
		d.t.Fatal(err)
	}
	return raw
}

func (d *drive) markAll(index uint64, peers ...cluster.PeerID) (ms []Mark) {
	for _, p := range peers {
		ms = append(ms, Mark{p, index})
	}
	return ms
}

func TestALocalDriveHoldsFiles(t *testing.T) {
	d := newDrive(t, 2)
	a := d.dir(Root, "a")
	f := d.do(Create{Dir: a, Name: "f", Type: File, Mode: 0o600, UID: 7, GID: 8, Time: 9, Grant: true}).Inode
	if f.Nlink != 1 || f.Mode != 0o600 || f.UID != 7 || f.Grant != d.Session() || f.Changed != d.last().Index {
		t.Fatalf("%+v", f)
	}
	d.write(f.Ino, d.extent(0, 4, 2))
	v := d.view()
	defer v.Close()
	got, err := v.Lookup(a, "f")
	if err != nil || got.Size != 2048 || got.Blocks != 4 || got.Written != v.Index() {
		t.Fatalf("%+v %v", got, err)
	}
	list, err := v.List(Root, 0, 10)
	if err != nil || len(list) != 1 || list[0].Name != "a" || list[0].Inode.Ino != a {
		t.Fatalf("%+v %v", list, err)
	}
	m, err := v.Extents(f.Ino, 100, 1)
	if err != nil || len(m) != 1 || m[0].Span.Count != 4 {
		t.Fatalf("%+v %v", m, err)
	}
	if _, err := v.Lookup(f.Ino, "x"); !errors.Is(err, fault.NotDir) {
		t.Fatal(err)
	}
	if _, err := v.Lookup(a, "x"); !errors.Is(err, fault.NotExist) {
		t.Fatal(err)
	}
}
