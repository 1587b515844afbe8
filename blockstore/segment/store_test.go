package segment

import (
	"bytes"
	"context"
	"errors"
	"os"
	"path/filepath"
	"testing"

	"dfs/blockstore"
	"dfs/blockstore/disk"
	"dfs/blockstore/kv/mem"
	"dfs/blockstore/storetest"
	"dfs/cluster/fault"
)

var ctx = context.Background()

func open(t testing.TB, dir string, o Options) *Store {
	t.Helper()
	s, err := Open(dir, o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

func ok(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func TestContract(t *testing.T) {
	storetest.Run(t, func(t *testing.T) blockstore.Store { return open(t, t.TempDir(), Options{}) })
}

func TestContractInMemory(t *testing.T) {
	storetest.Run(t, func(t *testing.T) blockstore.Store {
		return open(t, "", Options{Disk: disk.NewMemory(), KV: mem.New(), SegmentBytes: 1 << 16})
	})
}

func TestSecondOpenIsBusy(t *testing.T) {
	dir := t.TempDir()
	open(t, dir, Options{})
	if _, err := Open(dir, Options{}); fault.KindOf(err) != fault.Busy {
		t.Fatalf("%v, want busy", err)
	}
}

func TestIdentity(t *testing.T) {
	dir := t.TempDir()
	s := open(t, dir, Options{Cluster: [16]byte{1}})
	id := s.Identity()
	ok(t, s.Put(ctx, storetest.Extent(1, 1)))
	ok(t, s.Close())
	for name, o := range map[string]Options{
		"another store":   {Store: [16]byte{9}},
		"another cluster": {Cluster: [16]byte{2}},
	} {
		if _, err := Open(dir, o); fault.KindOf(err) != fault.Conflict {
			t.Errorf("%s: %v, want conflict", name, err)
		}
	}
	missing := filepath.Join(dir, "missing")
	if _, err := Open(missing, Options{Store: id.Store}); fault.KindOf(err) != fault.Conflict {
		t.Errorf("missing directory: %v, want conflict", err)
	}
	if _, err := os.Stat(missing); err == nil {
		t.Error("a directory was made where a store was expected")
	}
	if _, err := Open(t.TempDir(), Options{Store: id.Store}); fault.KindOf(err) != fault.Conflict {
		t.Errorf("empty directory: %v, want conflict", err)
	}
	again := open(t, dir, Options{Store: id.Store, Cluster: id.Cluster})
	if again.Identity() != id {
		t.Errorf("identity %v, was %v", again.Identity(), id)
	}
	ok(t, again.Close())
	ok(t, os.Remove(filepath.Join(dir, idName)))
	mended := open(t, dir, Options{Store: id.Store}) // from its copy
	ok(t, mended.Close())
	for _, name := range idNames {
		text, err := os.ReadFile(filepath.Join(dir, name))
		ok(t, err)
		for at := range text { // whatever bit flips, the other file tells
			bad := bytes.Clone(text)
			bad[at] ^= 1 << (at % 8)
			ok(t, os.WriteFile(filepath.Join(dir, name), bad, 0o600))
			one, err := identify(disk.Dir(dir), Options{}.filled())
			if err != nil || one != id {
				t.Fatalf("%s, byte %d: %v, %v", name, at, one, err)
			}
			if again, _ := os.ReadFile(filepath.Join(dir, name)); !bytes.Equal(again, text) {
				t.Fatalf("%s was not mended", name)
			}
		}
	}
	for _, name := range idNames {
		ok(t, os.Remove(filepath.Join(dir, name)))
	}
	if _, err := Open(dir, Options{}); fault.KindOf(err) != fault.Conflict {
		t.Errorf("identity lost: %v, want conflict", err)
	}
	if files, _ := filepath.Glob(filepath.Join(dir, "*"+suffix)); len(files) != 1 {
		t.Errorf("%d segments are left", len(files))
	}
}

// Random histories with reopenings, clean and with the index lost, and compactions in between.
func TestReopen(t *testing.T) {
	rng := storetest.Rand(t)
	dir := t.TempDir()
	o := Options{SegmentBytes: 1 << 17}
	s := open(t, dir, o)
	m := storetest.NewModel()
	for i := range 12 {
		for range 40 {
			m.Step(t, rng, s, 20)
		}
		if i%2 == 0 {
			if _, err := s.Compact(ctx); err != nil {
				t.Fatal(err)
			}
		}
		live := s.Usage()
		ok(t, s.Close())
		if i%3 == 2 {
			ok(t, os.RemoveAll(filepath.Join(dir, "index")))
		}
		s = open(t, dir, o)
		if u := s.Usage(); u != live {
			t.Fatalf("usage %+v after reopening, was %+v", u, live)
		}
	}
	m.Check(t, s)
}

func TestClosed(t *testing.T) {
	s := open(t, t.TempDir(), Options{})
	b := storetest.Extent(1, 1)
	ok(t, s.Put(ctx, b))
	ok(t, s.Close())
	ok(t, s.Close())
	if err := s.Put(ctx, b); fault.KindOf(err) != fault.Closed {
		t.Errorf("put: %v", err)
	}
}

func TestRot(t *testing.T) {
	dir := t.TempDir()
	s := open(t, dir, Options{SumsBytes: 1})
	small, large := storetest.Extent(1, 4), storetest.Extent(2, 1000)
	ok(t, s.Put(ctx, small, large))
	f, err := os.OpenFile(filepath.Join(dir, segmentName(1)), os.O_RDWR, 0)
	ok(t, err)
	defer f.Close()
	h := header{held: 4}
	at := h.size()
	for _, c := range []struct {
		name  string
		off   int64
		span  blockstore.Span
		other blockstore.Span // still fine; Count 0: none
	}{
		{"a block of a small record", h.dataAt() + 2*512 + 5, blockstore.Span{Extent: small.ID, First: 2, Count: 1}, blockstore.Span{Extent: small.ID, First: 3, Count: 1}},
		{"its header", 70, blockstore.Span{Extent: small.ID, First: 3, Count: 1}, blockstore.Span{Extent: large.ID, First: 0, Count: 1000}},
		{"a block of a large record", at + 8192 + 9*512, blockstore.Span{Extent: large.ID, First: 0, Count: 20}, blockstore.Span{Extent: large.ID, First: 500, Count: 2}},
		{"its sums", at + 200, blockstore.Span{Extent: large.ID, First: 500, Count: 2}, blockstore.Span{}},
	} {
		var b [1]byte
		if _, err := f.ReadAt(b[:], c.off); err != nil {
			t.Fatal(err)
		}
		b[0] ^= 4
		if _, err := f.WriteAt(b[:], c.off); err != nil {
			t.Fatal(err)
		}
		if err := s.Get(ctx, c.span, make([]byte, c.span.Bytes())); fault.KindOf(err) != fault.Corrupt {
			t.Errorf("%s: %v, want corrupt", c.name, err)
		}
		if c.other.Count > 0 {
			if err := s.Get(ctx, c.other, make([]byte, c.other.Bytes())); err != nil {
				t.Errorf("%s: elsewhere: %v", c.name, err)
			}
		}
	}
}

func TestMark(t *testing.T) {
	s := open(t, t.TempDir(), Options{})
	ok(t, s.Put(ctx, storetest.Extent(1, 1)))
	mark := s.Mark()
	if s.SyncedThrough() >= mark {
		t.Fatal("synced before any sync")
	}
	ok(t, s.Put(ctx, storetest.Extent(2, 1)))
	ok(t, s.Sync(ctx))
	if s.SyncedThrough() < mark || s.SyncedThrough() != s.Mark() {
		t.Fatalf("synced through %d of %d", s.SyncedThrough(), s.Mark())
	}
}

func TestCapacity(t *testing.T) {
	s := open(t, t.TempDir(), Options{Capacity: 4 << 20})
	var all []blockstore.Span
	var err error
	for i := uint64(1); err == nil && i < 1000; i++ {
		b := storetest.Extent(i, 64)
		if err = s.Put(ctx, b); err == nil {
			all = append(all, blockstore.Span{Extent: b.ID, Count: 64})
		}
	}
	if fault.KindOf(err) != fault.NoSpace || len(all) < 80 {
		t.Fatalf("after %d extents of 32 KiB in 4 MiB: %v", len(all), err)
	}
	var freed []blockstore.Span
	for i, span := range all {
		if i%5 != 0 {
			freed = append(freed, span)
		}
	}
	ok(t, s.Delete(ctx, freed...))
	for did := true; did; {
		did, err = s.Compact(ctx)
		ok(t, err)
	}
	if u := s.Usage(); u.Disk > 2<<20 || u.Disk > u.Capacity {
		t.Fatalf("after freeing four fifths: %+v", u)
	}
	for i := range uint64(30) {
		ok(t, s.Put(ctx, storetest.Extent(5000+i, 64)))
	}
	for i, span := range all {
		if i%5 == 0 {
			ok(t, s.Get(ctx, span, make([]byte, span.Bytes())))
		}
	}
}

// Another log shares the disk: puts leave it the reserve, deletes go on.
func TestPutsLeaveTheReserve(t *testing.T) {
	free := int64(1 << 20)
	s, err := Open(t.TempDir(), Options{Free: func() (int64, error) { return free, nil }, Reserve: 1 << 19})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	first, second := storetest.Extent(1, 8), storetest.Extent(2, 8)
	if err := s.Put(t.Context(), first); err != nil {
		t.Fatal(err)
	}
	free = 1 << 19
	if err := s.Put(t.Context(), second); !errors.Is(err, fault.NoSpace) {
		t.Fatalf("a put into the reserve: %v", err)
	}
	if err := s.Put(t.Context(), first); err != nil {
		t.Errorf("what is there already needs no room: %v", err)
	}
	if err := s.Delete(t.Context(), blockstore.Span{Extent: first.ID, Count: 8}); err != nil {
		t.Errorf("delete on a full disk: %v", err)
	}
}
