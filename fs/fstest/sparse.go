package fstest

import (
	"bytes"
	"fmt"
	"slices"
	"testing"

	"dfs/cluster/fault"
	"dfs/fs/vfs"
)

// Sparse is an open file of a Tree that has holes.
type Sparse interface {
	File
	// Fallocate is fallocate(2). fault.Unsupported where the file system cannot.
	Fallocate(what Alloc, off, n int64) error
	// Find is lseek(2) with SEEK_DATA, or SEEK_HOLE. fault.NotExist where there is none.
	Find(off int64, hole bool) (int64, error)
}

// Alloc is the modes of Fallocate.
type Alloc uint8

const (
	Allocate Alloc = iota
	AllocateKeep
	PunchKeep
	Zero
	ZeroKeep
)

// RunSparse checks every promise about holes, each on a fresh file system that open makes. Grain is the bytes in which that allocates, and
// to whose multiples it rounds what it says of holes. Where allocating takes blocks, allocates says so.
func RunSparse(t *testing.T, grain int64, allocates bool, open func(t *testing.T) Tree) {
	for _, c := range sparseCases(grain, allocates) {
		t.Run(c.Name, func(t *testing.T) { c.Test(t, open(t)) })
	}
}

func sparseCases(grain int64, allocates bool) []Case {
	exact := func(test func(*testing.T, Tree, int64)) func(*testing.T, Tree) {
		return func(t *testing.T, fs Tree) { test(t, fs, grain) }
	}
	cases := []Case{
		{"a hole is punched to the byte", testPunch},
		{"zeroing a range is to the byte, and may grow the file", testZero},
		{"allocating grows the file, or keeps its size", testAllocate},
		{"a hole never changes the size", testPunchBeyond},
		{"holes give back their blocks", exact(testPunchBlocks)},
		{"blocks are counted once, written or not yet", exact(testBlocks)},
		{"seeking finds data and holes, written a moment ago or cut off", exact(testSeek)},
		{"a file of a tebibyte with a block in it", exact(testTebibyte)},
		{"changing a range dates the file", testDates},
		{"ranges that make no sense are refused", testBadRanges},
		{"random holes, writes and truncations match a byte array", testModelSparse},
	}
	if !allocates {
		cases = append(cases, Case{"allocating takes no blocks", testAllocateFree})
	}
	return cases
}

// sparse opens a file as Sparse.
func sparse(t *testing.T, fs Tree, path string, f Flags) Sparse {
	t.Helper()
	x, err := fs.Open(path, f)
	ok(t, "open "+path, err)
	s, can := x.(Sparse)
	if !can {
		t.Fatalf("%T has no holes", x)
	}
	return s
}

// cuts are ranges at and around the borders of blocks, in a file of 20,000 bytes.
var cuts = [][2]int64{
	{0, 512}, {0, 1}, {1, 511}, {0, 20000}, {100, 100}, {500, 24}, {511, 2}, {511, 514}, {512, 512}, {512, 4096}, {700, 3000}, {4096, 8192},
	{4095, 8194}, {4097, 8190}, {19000, 1000}, {19999, 1}, {16384, 3616}, {19900, 5000}, {20000, 10}, {30000, 512},
}

// states are how much of a file's bytes is flushed when something is done to a range of it.
var states = []struct {
	name string
	make func(t *testing.T, fs Tree, data []byte) Sparse
}{
	{"flushed", func(t *testing.T, fs Tree, data []byte) Sparse {
		write(t, fs, "f", data)
		return sparse(t, fs, "f", Update)
	}},
	{"dirty", func(t *testing.T, fs Tree, data []byte) Sparse {
		f := sparse(t, fs, "f", Fresh)
		_, err := f.WriteAt(data, 0)
		ok(t, "write", err)
		return f
	}},
	{"dirty here and there", func(t *testing.T, fs Tree, data []byte) Sparse {
		write(t, fs, "f", data)
		f := sparse(t, fs, "f", Update)
		for at := int64(300); at < int64(len(data)); at += 1700 {
			p := data[at:min(at+600, int64(len(data)))]
			for i := range p {
				p[i] ^= 0x55
			}
			_, err := f.WriteAt(p, at)
			ok(t, "write", err)
		}
		return f
	}},
}

// eachCut does something to a range of a file in every state and compares it with what model makes of its bytes, at once, after
// closing it, and through another open.
func eachCut(t *testing.T, fs Tree, do func(f Sparse, off, n int64) error, model func(data []byte, off, n int64) []byte) {
	t.Helper()
	for _, s := range states {
		for _, c := range cuts {
			what := fmt.Sprintf("%s, %d bytes at %d", s.name, c[1], c[0])
			data := Bytes(uint64(c[0]*31+c[1]), 20000)
			f := s.make(t, fs, data)
			before, err := f.Stat()
			ok(t, "stat", err)
			ok(t, what, do(f, c[0], c[1]))
			data = model(data, c[0], c[1])
			same(t, what, readAll(t, f), data)
			after, err := f.Stat()
			ok(t, "stat", err)
			if after.Size != int64(len(data)) || after.Mtime < before.Mtime {
				t.Fatalf("%s: %d bytes of %d, %d of %d", what, after.Size, after.Mtime, len(data), before.Mtime)
			}
			ok(t, "close", f.Close())
			same(t, what+", closed", read(t, fs, "f"), data)
			ok(t, "remove", fs.Remove("f"))
		}
	}
}

// zeroed is data with a range of it cleared, which never goes beyond its end.
func zeroed(data []byte, off, n int64) []byte {
	out := slices.Clone(data)
	clear(out[min(off, int64(len(out))):min(off+n, int64(len(out)))])
	return out
}

// reaching is data grown to end.
func reaching(data []byte, end int64) []byte {
	return append(slices.Clone(data), make([]byte, max(0, end-int64(len(data))))...)
}

func testPunch(t *testing.T, fs Tree) {
	eachCut(t, fs, func(f Sparse, off, n int64) error { return f.Fallocate(PunchKeep, off, n) }, zeroed)
}

func testZero(t *testing.T, fs Tree) {
	eachCut(t, fs, func(f Sparse, off, n int64) error { return f.Fallocate(ZeroKeep, off, n) }, zeroed)
	eachCut(t, fs, func(f Sparse, off, n int64) error { return f.Fallocate(Zero, off, n) },
		func(data []byte, off, n int64) []byte { return reaching(zeroed(data, off, n), off+n) })
}

func testAllocate(t *testing.T, fs Tree) {
	eachCut(t, fs, func(f Sparse, off, n int64) error { return f.Fallocate(AllocateKeep, off, n) },
		func(data []byte, _, _ int64) []byte { return data })
	eachCut(t, fs, func(f Sparse, off, n int64) error { return f.Fallocate(Allocate, off, n) },
		func(data []byte, off, n int64) []byte { return reaching(data, off+n) })
}

func testPunchBeyond(t *testing.T, fs Tree) {
	f := sparse(t, fs, "f", Fresh)
	ok(t, "an empty file", f.Fallocate(PunchKeep, 0, 1<<20))
	ok(t, "truncate", f.Truncate(777))
	ok(t, "across the end", f.Fallocate(PunchKeep, 512, 1<<30))
	st, err := f.Stat()
	ok(t, "stat", err)
	if st.Size != 777 || st.Blocks != 0 {
		t.Fatalf("%d bytes in %d blocks", st.Size, st.Blocks)
	}
	ok(t, "close", f.Close())
}

// blocks fails unless a file takes as many blocks.
func blocks(t *testing.T, what string, f File, want int64) {
	t.Helper()
	st, err := f.Stat()
	ok(t, "stat", err)
	if int64(st.Blocks) != want {
		t.Fatalf("%s: %d blocks, want %d", what, st.Blocks, want)
	}
}

func testPunchBlocks(t *testing.T, fs Tree, grain int64) {
	per := grain / 512
	f := sparse(t, fs, "f", Fresh)
	_, err := f.WriteAt(Bytes(1, int(64*grain)), 0)
	ok(t, "write", err)
	ok(t, "sync", f.Sync())
	blocks(t, "written", f, 64*per)
	ok(t, "punch", f.Fallocate(PunchKeep, 8*grain, 16*grain))
	blocks(t, "punched", f, 48*per)
	ok(t, "punch", f.Fallocate(PunchKeep, 23*grain+1, 2*grain-2))
	blocks(t, "punched but for the edges", f, 48*per)
	ok(t, "punch", f.Fallocate(PunchKeep, 9*grain+1, 100))
	blocks(t, "punched in a hole", f, 48*per)
	_, err = f.WriteAt(Bytes(2, int(2*grain)), 9*grain)
	ok(t, "write", err)
	ok(t, "sync", f.Sync())
	blocks(t, "written in the hole", f, 50*per)
	ok(t, "truncate", f.Truncate(10*grain+1))
	ok(t, "sync", f.Sync())
	blocks(t, "cut", f, 10*per)
	ok(t, "punch", f.Fallocate(PunchKeep, 0, 1<<40))
	blocks(t, "punched as a whole", f, 0)
	ok(t, "close", f.Close())
}

func testBlocks(t *testing.T, fs Tree, grain int64) {
	per := grain / 512
	f := sparse(t, fs, "f", Fresh)
	put := func(off, n int64) {
		t.Helper()
		_, err := f.WriteAt(Bytes(uint64(off), int(n)), off)
		ok(t, "write", err)
	}
	put(0, 4*grain)
	put(0, 1)
	ok(t, "sync", f.Sync())
	blocks(t, "four", f, 4*per)
	put(grain, grain)
	put(3*grain, 2*grain)
	put(100*grain+5, 1)
	put(100*grain+7, grain-7)
	ok(t, "sync", f.Sync())
	blocks(t, "two more", f, 6*per)
	if grain == 512 { // others allocate when they please
		put(2*grain, 2)
		put(99*grain+100, grain)
		blocks(t, "not flushed", f, 7*per)
		put(99*grain, 10*grain)
		blocks(t, "not flushed", f, 15*per)
		ok(t, "sync", f.Sync())
		blocks(t, "flushed", f, 15*per)
	}
	ok(t, "close", f.Close())
}

func testSeek(t *testing.T, fs Tree, grain int64) {
	f := sparse(t, fs, "f", Fresh)
	find := func(off int64, hole bool, want int64) {
		t.Helper()
		got, err := f.Find(off, hole)
		if want < 0 && KindOf(err) == fault.NotExist {
			return
		}
		if err != nil || got != want {
			t.Fatalf("from %d, hole %v: %d, %v; want %d", off, hole, got, err, want)
		}
	}
	find(0, false, -1)
	find(0, true, -1)
	_, err := f.WriteAt(Bytes(1, int(4*grain)), 16*grain)
	ok(t, "write", err)
	find(0, true, 0)
	find(0, false, 16*grain)
	find(17*grain+1, false, 17*grain+1)
	find(16*grain, true, 20*grain)
	find(20*grain, true, -1)
	ok(t, "sync", f.Sync())
	ok(t, "punch", f.Fallocate(PunchKeep, 17*grain, grain))
	find(16*grain, true, 17*grain)
	find(17*grain, false, 18*grain)
	ok(t, "truncate", f.Truncate(19*grain+100))
	find(18*grain, true, 19*grain+100)
	find(19*grain+99, false, 19*grain+99)
	find(19*grain+100, false, -1)
	ok(t, "truncate", f.Truncate(40*grain))
	find(20*grain, true, 20*grain)
	find(20*grain, false, -1)
	_, err = f.WriteAt([]byte("x"), 30*grain+1)
	ok(t, "write", err)
	find(20*grain, false, 30*grain)
	find(30*grain, true, 31*grain)
	ok(t, "close", f.Close())
}

func testTebibyte(t *testing.T, fs Tree, grain int64) {
	const size = int64(1) << 40
	f := sparse(t, fs, "f", Fresh)
	ok(t, "truncate", f.Truncate(size))
	blocks(t, "empty", f, 0)
	_, err := f.WriteAt(Bytes(1, int(grain)), size/2)
	ok(t, "write", err)
	ok(t, "sync", f.Sync())
	blocks(t, "with a block in it", f, grain/512)
	if at, err := f.Find(0, false); err != nil || at != size/2 {
		t.Fatalf("the data is at %d, %v", at, err)
	}
	if at, err := f.Find(size/2, true); err != nil || at != size/2+grain {
		t.Fatalf("the hole is at %d, %v", at, err)
	}
	p := make([]byte, 100)
	if n, err := f.ReadAt(p, size-100); n != 100 || err != nil || !bytes.Equal(p, make([]byte, 100)) {
		t.Fatalf("at the end: %d, %v", n, err)
	}
	ok(t, "punch", f.Fallocate(PunchKeep, 0, size))
	blocks(t, "punched", f, 0)
	if _, err := f.Find(0, false); KindOf(err) != fault.NotExist {
		t.Fatalf("data: %v", err)
	}
	ok(t, "close", f.Close())
}

func testDates(t *testing.T, fs Tree) {
	write(t, fs, "f", Bytes(1, 10000))
	for _, what := range []Alloc{PunchKeep, Zero, ZeroKeep, Allocate, AllocateKeep} {
		for _, c := range [][2]int64{{0, 4096}, {0, 4096}, {100, 50}, {9000, 5000}} {
			ok(t, "utimes", fs.Chtimes("f", 1e9))
			f := sparse(t, fs, "f", Update)
			ok(t, "fallocate", f.Fallocate(what, c[0], c[1]))
			ok(t, "close", f.Close())
			st, err := fs.Stat("f")
			ok(t, "stat", err)
			if st.Mtime == 1e9 {
				t.Fatalf("mode %d, %d bytes at %d: the file has its old date", what, c[1], c[0])
			}
		}
	}
}

func testBadRanges(t *testing.T, fs Tree) {
	f := sparse(t, fs, "f", Fresh)
	for _, what := range []Alloc{PunchKeep, Zero, ZeroKeep, Allocate, AllocateKeep} {
		want(t, "an empty range", f.Fallocate(what, 0, 0), fault.Invalid)
		want(t, "before the start", f.Fallocate(what, -1, 10), fault.Invalid)
		want(t, "less than nothing", f.Fallocate(what, 0, -1), fault.Invalid)
		want(t, "too large", f.Fallocate(what, 1<<62, 1<<62), fault.TooBig)
	}
	ok(t, "close", f.Close())
}

func testAllocateFree(t *testing.T, fs Tree) {
	f := sparse(t, fs, "f", Fresh)
	ok(t, "allocate", f.Fallocate(Allocate, 0, 10<<20))
	ok(t, "allocate", f.Fallocate(AllocateKeep, 5<<20, 10<<20))
	ok(t, "zero", f.Fallocate(Zero, 5<<20, 10<<20))
	ok(t, "sync", f.Sync())
	blocks(t, "allocated", f, 0)
	ok(t, "close", f.Close())
}

func testModelSparse(t *testing.T, fs Tree) {
	r := newRand(t)
	var model []byte
	f := sparse(t, fs, "f", Fresh)
	history := ""
	for range *stepsFlag {
		var err error
		off, n := int64(offset(r)), int64(1+r.IntN(9000))
		if r.IntN(3) == 0 {
			off, n = off&^511, (n+511)&^511
		}
		k := r.IntN(12)
		switch {
		case k < 4:
			data := Bytes(r.Uint64(), int(n))
			model = reaching(model, off+n)
			copy(model[off:], data)
			_, err = f.WriteAt(data, off)
		case k < 5:
			if off <= int64(len(model)) {
				model = slices.Clone(model[:off])
			}
			model = reaching(model, off)
			err = f.Truncate(off)
		case k < 7:
			model = zeroed(model, off, n)
			err = f.Fallocate(PunchKeep, off, n)
		case k < 8:
			model = reaching(zeroed(model, off, n), off+n)
			err = f.Fallocate(Zero, off, n)
		case k < 9:
			model = zeroed(model, off, n)
			err = f.Fallocate(ZeroKeep, off, n)
		case k < 10:
			model = reaching(model, off+n)
			err = f.Fallocate(Allocate, off, n)
		case k < 11:
			err = f.Sync()
		default:
			ok(t, "close", f.Close())
			f = sparse(t, fs, "f", Update)
		}
		history += fmt.Sprintf("%d: %d at %d\n", k, n, off)
		if err != nil {
			t.Fatalf("%v\n%s", err, history)
		}
		if got := readAll(t, f); !bytes.Equal(got, model) {
			t.Fatalf("%d bytes, want %d, or others\n%s", len(got), len(model), history)
		}
	}
	ok(t, "close", f.Close())
	same(t, "at the end", read(t, fs, "f"), model)
}

// Fallocate implements Sparse.
func (f *pathFile) Fallocate(what Alloc, off, n int64) error {
	how := map[Alloc]vfs.Alloc{Allocate: vfs.Allocate, AllocateKeep: vfs.Allocate, PunchKeep: vfs.Punch, Zero: vfs.Zero, ZeroKeep: vfs.Zero}
	keep := what == AllocateKeep || what == PunchKeep || what == ZeroKeep
	return f.fs.Fallocate(ctx, f.h, how[what], off, n, keep, false)
}

// Find implements Sparse.
func (f *pathFile) Find(off int64, hole bool) (int64, error) { return f.fs.Seek(ctx, f.h, off, hole) }

// CopyTo implements Copier.
func (f *pathFile) CopyTo(dst File, off, at, n int64) (int64, error) {
	return f.fs.CopyRange(ctx, f.h, off, dst.(*pathFile).h, at, n, false)
}
