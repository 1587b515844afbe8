// Package storetest is the contract of blockstore.Store as tests. Every implementation and wrapper runs all of it.
package storetest

import (
	"bytes"
	"context"
	"encoding/binary"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"

	"dfs/blockstore"
	"dfs/cluster/fault"
)

// Extent returns a whole extent with bytes that follow from n.
func Extent(n uint64, blocks int) blockstore.Batch {
	rng := rand.New(rand.NewPCG(n, 7))
	b := blockstore.Batch{Data: make([]byte, blocks*blockstore.Size)}
	binary.BigEndian.PutUint64(b.ID[:], n)
	binary.BigEndian.PutUint64(b.ID[8:], rng.Uint64())
	for i := 0; i < len(b.Data); i += 8 {
		binary.LittleEndian.PutUint64(b.Data[i:], rng.Uint64())
	}
	b.Sums = blockstore.Sums(b.Data)
	b.Note = blockstore.Note{Ino: n, Off: int64(n) * 512, Session: 3, Time: 4}
	return b
}

// Run runs the contract on stores that open makes, each empty. open cleans up by t.Cleanup.
func Run(t *testing.T, open func(t *testing.T) blockstore.Store) {
	for _, c := range []struct {
		name string
		test func(*testing.T, blockstore.Store)
	}{
		{"sizes", testSizes},
		{"spans", testSpans},
		{"absent", testAbsent},
		{"invalid", testInvalid},
		{"same bytes again", testAgain},
		{"sums mismatch", testMismatch},
		{"data remains the caller's", testOwnership},
		{"many at once", testMany},
		{"partial delete", testPartialDelete},
		{"whole delete", testWholeDelete},
		{"list", testList},
		{"usage", testUsage},
		{"raw", testRaw},
		{"note", testNote},
		{"put hard", testPutHard},
		{"canceled", testCanceled},
		{"concurrent", testConcurrent},
		{"model", testModel},
	} {
		t.Run(c.name, func(t *testing.T) { c.test(t, open(t)) })
	}
}

var ctx = context.Background()

func ok(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func wantKind(t *testing.T, err error, k fault.Kind) {
	t.Helper()
	if fault.KindOf(err) != k || err == nil {
		t.Fatalf("error %v, want %v", err, k)
	}
}

// has checks blocks [first, first+count) of b byte by byte.
func has(t *testing.T, s blockstore.Store, b blockstore.Batch, first, count int) {
	t.Helper()
	p := make([]byte, count*blockstore.Size)
	ok(t, s.Get(ctx, span(b, first, count), p))
	if !bytes.Equal(p, b.Data[first*blockstore.Size:(first+count)*blockstore.Size]) {
		t.Fatalf("blocks %d+%d of %v have other bytes", first, count, b.ID)
	}
}

func lacks(t *testing.T, s blockstore.Store, b blockstore.Batch, first, count int) {
	t.Helper()
	wantKind(t, s.Get(ctx, span(b, first, count), make([]byte, count*blockstore.Size)), fault.NotExist)
}

func span(b blockstore.Batch, first, count int) blockstore.Span {
	return blockstore.Span{Extent: b.ID, First: uint32(first), Count: uint32(count)}
}

func testSizes(t *testing.T, s blockstore.Store) {
	for i, blocks := range []int{1, 2, 7, 8, 9, 127, 128, 129, 2048, blockstore.MaxBlocks - 1, blockstore.MaxBlocks} {
		b := Extent(uint64(i+1), blocks)
		ok(t, s.Put(ctx, b))
		has(t, s, b, 0, blocks)
		ok(t, s.Sync(ctx))
		has(t, s, b, 0, blocks)
		has(t, s, b, blocks-1, 1)
	}
}

func testSpans(t *testing.T, s blockstore.Store) {
	b := Extent(1, 40)
	ok(t, s.Put(ctx, b))
	for first := range 40 {
		for count := 1; first+count <= 40; count += 3 {
			has(t, s, b, first, count)
		}
	}
	lacks(t, s, b, 0, 41)
	lacks(t, s, b, 40, 1)
	lacks(t, s, b, 39, 2)
}

func testAbsent(t *testing.T, s blockstore.Store) {
	lacks(t, s, Extent(1, 1), 0, 1)
	ok(t, s.Delete(ctx, span(Extent(1, 1), 0, 1)))
	ok(t, s.Delete(ctx))
	ok(t, s.Put(ctx))
	ok(t, s.Sync(ctx))
}

func testInvalid(t *testing.T, s blockstore.Store) {
	b := Extent(1, 2)
	for name, bad := range map[string]blockstore.Batch{
		"no data":      {ID: b.ID},
		"ragged":       {ID: b.ID, Data: b.Data[:700], Sums: b.Sums},
		"few sums":     {ID: b.ID, Data: b.Data, Sums: b.Sums[:1]},
		"too many":     Extent(1, blockstore.MaxBlocks+1),
		"without sums": {ID: b.ID, Data: b.Data},
	} {
		if err := s.Put(ctx, bad); fault.KindOf(err) != fault.Invalid {
			t.Errorf("%s: %v, want invalid", name, err)
		}
	}
	lacks(t, s, b, 0, 1)
	ok(t, s.Put(ctx, b))
	wantKind(t, s.Get(ctx, span(b, 0, 1), make([]byte, 511)), fault.Invalid)
	wantKind(t, s.Get(ctx, span(b, 0, 0), nil), fault.Invalid)
	big := blockstore.Span{Extent: b.ID, First: 1<<32 - 1, Count: 2}
	wantKind(t, s.Get(ctx, big, make([]byte, 2*blockstore.Size)), fault.Invalid)
	ok(t, s.Delete(ctx, big)) // no such blocks: absent
	has(t, s, b, 0, 2)
}

func testAgain(t *testing.T, s blockstore.Store) {
	b := Extent(1, 20)
	ok(t, s.Put(ctx, b))
	ok(t, s.Put(ctx, b))
	ok(t, s.Put(ctx, b, b))
	other := Extent(2, 20)
	other.ID = b.ID
	wantKind(t, s.Put(ctx, other), fault.Exist)
	longer := Extent(1, 21)
	longer.ID = b.ID
	wantKind(t, s.Put(ctx, longer), fault.Exist)
	ok(t, s.Sync(ctx))
	wantKind(t, s.Put(ctx, other), fault.Exist)
	ok(t, s.Put(ctx, b))
	has(t, s, b, 0, 20)
}

func testMismatch(t *testing.T, s blockstore.Store) {
	b := Extent(1, 9)
	b.Sums = slices.Clone(b.Sums)
	b.Sums[4]++
	wantKind(t, s.Put(ctx, b), fault.Corrupt)
	lacks(t, s, b, 0, 1)
}

func testOwnership(t *testing.T, s blockstore.Store) {
	b := Extent(1, 3)
	mine := blockstore.Batch{ID: b.ID, Data: bytes.Clone(b.Data), Sums: slices.Clone(b.Sums)}
	ok(t, s.Put(ctx, mine))
	clear(mine.Data)
	clear(mine.Sums)
	has(t, s, b, 0, 3)
}

func testMany(t *testing.T, s blockstore.Store) {
	var all []blockstore.Batch
	for i := range 500 {
		all = append(all, Extent(uint64(i), 1+i%5))
	}
	ok(t, s.Put(ctx, all...))
	ok(t, s.Sync(ctx))
	var spans []blockstore.Span
	for i, b := range all {
		has(t, s, b, 0, len(b.Sums))
		if i%2 == 0 {
			spans = append(spans, span(b, 0, len(b.Sums)))
		}
	}
	ok(t, s.Delete(ctx, spans...))
	for i, b := range all {
		if i%2 == 0 {
			lacks(t, s, b, 0, 1)
		} else {
			has(t, s, b, 0, len(b.Sums))
		}
	}
}

func testPartialDelete(t *testing.T, s blockstore.Store) {
	b := Extent(1, 10)
	ok(t, s.Put(ctx, b))
	ok(t, s.Delete(ctx, span(b, 3, 2)))
	lacks(t, s, b, 3, 1)
	lacks(t, s, b, 4, 1)
	lacks(t, s, b, 0, 10)
	lacks(t, s, b, 2, 2)
	has(t, s, b, 0, 3)
	has(t, s, b, 5, 5)
	ok(t, s.Delete(ctx, span(b, 2, 4), span(b, 9, 100))) // overlapping, and beyond the end
	has(t, s, b, 0, 2)
	has(t, s, b, 6, 3)
	lacks(t, s, b, 2, 1)
	lacks(t, s, b, 9, 1)
	ok(t, s.Put(ctx, b)) // the same bytes again
	has(t, s, b, 6, 3)
}

func testWholeDelete(t *testing.T, s blockstore.Store) {
	b := Extent(1, 6)
	ok(t, s.Put(ctx, b))
	ok(t, s.Delete(ctx, span(b, 0, 4)))
	ok(t, s.Sync(ctx))
	ok(t, s.Delete(ctx, span(b, 4, 2)))
	lacks(t, s, b, 0, 1)
	lacks(t, s, b, 5, 1)
	ok(t, s.Put(ctx, b)) // gone, so it can come again
	has(t, s, b, 0, 6)
}

func testList(t *testing.T, s blockstore.Store) {
	l, can := s.(blockstore.Lister)
	if !can {
		t.Skip("not a Lister")
	}
	type item struct {
		id     blockstore.ID
		blocks uint32
	}
	list := func(after blockstore.ID, most int) (out []item) {
		ok(t, l.List(ctx, after, func(id blockstore.ID, blocks uint32) bool {
			out = append(out, item{id, blocks})
			return len(out) < most
		}))
		return out
	}
	if got := list(blockstore.ID{}, 99); len(got) != 0 {
		t.Fatalf("an empty store lists %v", got)
	}
	a, b, c, d := Extent(1, 3), Extent(2, 1), Extent(3, 8), Extent(4, 2)
	ok(t, s.Put(ctx, c, a))
	ok(t, s.Sync(ctx))
	ok(t, s.Put(ctx, d, b))
	ok(t, s.Delete(ctx, span(b, 0, 1), span(c, 2, 3)))
	want := []item{{a.ID, 3}, {c.ID, 5}, {d.ID, 2}}
	if got := list(blockstore.ID{}, 99); !slices.Equal(got, want) {
		t.Fatalf("list %v, want %v", got, want)
	}
	if got := list(a.ID, 99); !slices.Equal(got, want[1:]) {
		t.Fatalf("list after the first %v, want %v", got, want[1:])
	}
	if got := list(blockstore.ID{}, 2); !slices.Equal(got, want[:2]) {
		t.Fatalf("two of the list %v, want %v", got, want[:2])
	}
	ok(t, s.Sync(ctx))
	if got := list(blockstore.ID{}, 99); !slices.Equal(got, want) {
		t.Fatalf("list after a sync %v, want %v", got, want)
	}
}

func testUsage(t *testing.T, s blockstore.Store) {
	z, can := s.(blockstore.Sizer)
	if !can {
		t.Skip("not a Sizer")
	}
	live := func(blocks int64) {
		t.Helper()
		u := z.Usage()
		if u.Live != blocks*blockstore.Size {
			t.Fatalf("live %d, want %d blocks", u.Live, blocks)
		}
		if u.Disk < u.Live {
			t.Fatalf("%d bytes on disk for %d live", u.Disk, u.Live)
		}
	}
	live(0)
	a, b := Extent(1, 10), Extent(2, 5)
	ok(t, s.Put(ctx, a, b))
	live(15)
	ok(t, s.Put(ctx, a))
	live(15)
	ok(t, s.Delete(ctx, span(a, 2, 3)))
	live(12)
	ok(t, s.Delete(ctx, span(a, 2, 3)))
	live(12)
	ok(t, s.Sync(ctx))
	ok(t, s.Delete(ctx, span(a, 0, 10)))
	live(5)
}

func testRaw(t *testing.T, s blockstore.Store) {
	raw, can := s.(blockstore.Raw)
	if !can {
		t.Skip("not a Raw")
	}
	for _, n := range []int{20, 1000} {
		b := Extent(uint64(n), n)
		ok(t, s.Put(ctx, b))
		for _, first := range []int{0, 3} {
			p, sums := make([]byte, 9*blockstore.Size), make([]blockstore.Sum, 9)
			ok(t, raw.GetRaw(ctx, span(b, first, 9), p, sums))
			if !slices.Equal(sums, b.Sums[first:first+9]) || blockstore.Verify(p, sums) != nil {
				t.Fatalf("blocks %d+9 of %d: other bytes or sums", first, n)
			}
		}
		ok(t, s.Delete(ctx, span(b, 4, 1)))
		wantKind(t, raw.GetRaw(ctx, span(b, 3, 9), make([]byte, 9*blockstore.Size), make([]blockstore.Sum, 9)), fault.NotExist)
	}
}

func testCanceled(t *testing.T, s blockstore.Store) {
	b := Extent(1, 1)
	ok(t, s.Put(ctx, b))
	done, cancel := context.WithCancel(ctx)
	cancel()
	for name, err := range map[string]error{
		"put":    s.Put(done, Extent(2, 1)),
		"get":    s.Get(done, span(b, 0, 1), make([]byte, blockstore.Size)),
		"delete": s.Delete(done, span(b, 0, 1)),
		"sync":   s.Sync(done),
	} {
		if fault.KindOf(err) != fault.Canceled {
			t.Errorf("%s: %v, want canceled", name, err)
		}
	}
	has(t, s, b, 0, 1)
}

func testConcurrent(t *testing.T, s blockstore.Store) {
	var wg sync.WaitGroup
	shared := Extent(1<<40, 16)
	for w := range 6 {
		wg.Go(func() {
			p := make([]byte, 16*blockstore.Size)
			for i := range 30 {
				b := Extent(uint64(w*1000+i+1), 1+i%16)
				n := len(b.Sums)
				err := s.Put(ctx, b, shared)
				if err == nil && i%10 == w {
					err = s.Sync(ctx)
				}
				if err == nil {
					err = s.Get(ctx, span(b, 0, n), p[:len(b.Data)])
				}
				if err == nil && !bytes.Equal(p[:len(b.Data)], b.Data) {
					t.Errorf("%v has other bytes", b.ID)
				}
				if err == nil && i%3 == 0 {
					err = s.Delete(ctx, span(b, 0, n))
					if err == nil && fault.KindOf(s.Get(ctx, span(b, 0, 1), p[:blockstore.Size])) != fault.NotExist {
						t.Errorf("%v is still there", b.ID)
					}
				}
				if err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	wg.Wait()
	has(t, s, shared, 0, 16)
}

// What an extent was written for is told as long as any of it is there.
func testNote(t *testing.T, s blockstore.Store) {
	n, can := s.(blockstore.Noter)
	if !can {
		t.Skip("keeps no notes")
	}
	b := Extent(5, 6)
	ok(t, s.Put(ctx, b))
	ok(t, s.Delete(ctx, blockstore.Span{Extent: b.ID, First: 0, Count: 3}))
	note, blocks, err := n.NoteOf(ctx, b.ID)
	if err != nil || note != b.Note || blocks != 6 {
		t.Fatalf("%+v of %d blocks, %v", note, blocks, err)
	}
	ok(t, s.Delete(ctx, blockstore.Span{Extent: b.ID, First: 0, Count: 6}))
	if _, _, err := n.NoteOf(ctx, b.ID); fault.KindOf(err) != fault.NotExist {
		t.Fatalf("deleted: %v", err)
	}
}

// A put that is synced too keeps what it was given, and refuses what Put refuses.
func testPutHard(t *testing.T, s blockstore.Store) {
	b, c := Extent(1, 3), Extent(2, 1)
	ok(t, blockstore.PutHard(ctx, s, b, c))
	p := make([]byte, len(b.Data))
	ok(t, s.Get(ctx, blockstore.Span{Extent: b.ID, Count: 3}, p))
	if !bytes.Equal(p, b.Data) {
		t.Error("other bytes")
	}
	bad := Extent(3, 2)
	bad.Sums = bad.Sums[:1]
	if err := blockstore.PutHard(ctx, s, bad); err == nil {
		t.Error("an extent without its sums was taken")
	}
}
