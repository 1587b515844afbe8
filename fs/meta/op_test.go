package meta

import (
	"bytes"
	"errors"
	"reflect"
	"strings"
	"testing"

	"dfs/blockstore"
	"dfs/blockstore/kv/mem"
	"dfs/cluster"
	"dfs/cluster/fault"
	"dfs/cluster/placement"
	"dfs/cluster/raft"
	"dfs/cluster/state"
	"dfs/fs/extent"
	"dfs/fs/lock"
)

// every has one op of each kind with every field set.
func every() []Op {
	p, q := cluster.PeerID{1, 2}, cluster.PeerID{3}
	l := placement.Layout{Data: 1, Peers: []cluster.PeerID{p, q}}
	es := []extent.Extent{
		{Off: 512, Span: blockstore.Span{Extent: blockstore.ID{9}, First: 3, Count: 4}, Layout: l},
		{Off: 5120, Span: blockstore.Span{Extent: blockstore.ID{8}, Count: 1}, Layout: l, Tail: 77},
		{Off: 8192, Span: blockstore.Span{Extent: blockstore.ID{7}, Count: 1}, Layout: placement.Layout{Data: 1, Peers: []cluster.PeerID{q}}},
	}
	set := SetAttr{Ino: 3, Mask: 1<<10 - 1, Mode: 0o644, UID: 1, GID: 2, Size: 4, Atime: 5, Mtime: 6, Ctime: -7, Wish: placement.Wish{Copies: 3}, Time: 8, Flags: Hidden, Btime: -9}
	return []Op{
		Create{Dir: 1, Name: "n", Type: CharDev, Mode: 0o7777, UID: 1, GID: 2, Rdev: 3, Target: "t", Time: -4, Grant: true},
		Link{Ino: 1 << 60, Dir: 2, Name: "n", Time: 3},
		Unlink{Dir: 1, Name: strings.Repeat("x", 255), Time: 2},
		Rmdir{Dir: 1, Name: "n", Time: 2},
		Rename{OldDir: 1, OldName: "a", NewDir: 2, NewName: "b", Flags: 2, Time: 3},
		set,
		Commit{Ino: 1, Edges: []Edge{{Off: 512, Span: es[0].Span}, {Off: 9}}, TruncGen: 2, Extents: es, End: 3, Append: true, AppendAt: 4, Attrs: set,
			Mtime: 5, EndGrant: true, Synced: true, Time: 6},
		Commit{},
		EndGrant{Session: 5, Inos: []Ino{1, 2, 3}},
		Reap{Inos: []Ino{7}},
		Trim{Ino: 9},
		Stable{Marks: []Mark{{p, 4}, {q, 5}}, Absent: []cluster.PeerID{q}},
		Replace{Ino: 4, Old: es, New: es[:1]},
		Confirm{Peer: q, Index: 6},
		Format{Mode: 0o755, UID: 1, GID: 2, Time: 3},
		Punch{Ino: 4, Off: 512, N: 1024, Mtime: 5, Time: 6},
		SetXattr{Ino: 4, Name: "user.n", Value: []byte("v"), Flags: XattrCreate, KillSetgid: true, Time: 5},
		RemoveXattr{Ino: 4, Name: "user.n", Time: 5},
		Lock{Ino: 5, Lock: lock.Lock{Owner: lock.Owner{ID: 1 << 63}, PID: 7, Write: true, From: 1, End: lock.EndOfAll}, Wait: true, ID: 9},
		Unlock{Ino: 5, Owner: 1 << 63, Whole: true, From: 1, End: lock.EndOfAll, Cancel: 3},
		EndLocks{Session: 1 << 62},
		Clone{Src: 4, Dst: 5, SrcOff: 512, DstOff: 1024, N: 99, Mtime: 6, Time: 7},
	}
}

func TestOpsReadBack(t *testing.T) {
	seen := map[byte]bool{}
	for _, op := range every() {
		seen[op.op()] = true
		b := Encode(op)
		got, err := Decode(b)
		if err != nil || !reflect.DeepEqual(got, op) {
			t.Errorf("%T: %+v (%v), want %+v", op, got, err, op)
		}
		for n := range b {
			if _, err := Decode(b[:n]); !errors.Is(err, fault.Invalid) {
				t.Errorf("%T cut to %d of %d bytes: %v", op, n, len(b), err)
			}
		}
	}
	if len(seen) != 21 {
		t.Errorf("%d kinds of ops", len(seen))
	}
}

// What an op may leave out at its end reads back too.
func TestLateFieldsReadBack(t *testing.T) {
	for _, op := range []Op{
		Create{Dir: 1, Name: "n", Type: File, Ino: 7},
		Create{Dir: 1, Name: "n", Type: File, Umask: 0o22},
		Create{Dir: 1, Name: "n", Type: File, Ino: 7, Umask: 0o77},
	} {
		if got, err := Decode(Encode(op)); err != nil || got != op {
			t.Errorf("%+v (%v), want %+v", got, err, op)
		}
	}
}

func TestInodesReadBack(t *testing.T) {
	n := Inode{Ino: 1, Type: 2, Mode: 3, UID: 4, GID: 5, Nlink: 6, Size: 7, Blocks: 8, Atime: 9, Mtime: 10, Ctime: 11, Btime: -12, Rdev: 13,
		TruncGen: 14, Changed: 15, Written: 16, Writer: 17, Grant: 18, Parent: 19, Target: "x", Wish: placement.Wish{Copies: 2}, cuts: 3,
		Xattrs: 20, Special: HasCapability, xbytes: 21, Flags: Archive, folded: true, doomed: 22}
	v := reflect.ValueOf(n)
	for i := range v.NumField() {
		if v.Field(i).IsZero() {
			t.Fatalf("%s is not set", v.Type().Field(i).Name)
		}
	}
	b := appendInode(nil, n)
	if got, err := decodeInode(b); err != nil || got != n {
		t.Fatalf("%+v %v", got, err)
	}
	if _, err := decodeInode(append(b, b[len(b)-4:]...)); !errors.Is(err, fault.Corrupt) {
		t.Fatalf("a field twice: %v", err)
	}
	r, err := ResultOf(state.EncodeResult(appendResult(nil, Result{Index: 4, Inode: n, More: true}), nil))
	if err != nil || r != (Result{4, n, true}) {
		t.Fatalf("%+v %v", r, err)
	}
	if _, err := ResultOf(state.EncodeResult(nil, fault.Loop)); !errors.Is(err, fault.Loop) {
		t.Fatal(err)
	}
}

// A decoded op, whatever its bytes were, encodes to what decodes to it again.
func FuzzOp(f *testing.F) {
	for _, op := range every() {
		f.Add(Encode(op)[1:])
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		op, err := decodeOp(b)
		if err != nil {
			return
		}
		c := Encode(op)
		again, err := Decode(c)
		if err != nil {
			t.Fatalf("%T%+v: %v", op, op, err)
		}
		if !bytes.Equal(Encode(again), c) {
			t.Fatalf("%+v became %+v", op, again)
		}
	})
}

// No body, applied to a drive with something in it, does more than fail.
func FuzzApply(f *testing.F) {
	for _, op := range every() {
		f.Add(Encode(op)[1:])
	}
	base := mem.New()
	l, err := NewLocal(base, LocalOptions{Peers: 2})
	if err != nil {
		f.Fatal(err)
	}
	h := newHistory(11)
	for range 300 {
		if _, err := l.propose(Encode(h.op())); err != nil {
			f.Fatal(err)
		}
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		m := machine(t, base.Clone())
		p := raft.Proposal{Session: 1, Seq: l.seq + 1, Low: l.seq, Body: append([]byte{tag}, b...)}
		rs, err := m.Apply(l.index+1, []raft.Proposal{p})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := ResultOf(rs[0]); errors.Is(err, fault.Corrupt) {
			t.Fatal(err)
		}
	})
}
