package extent

import (
	"encoding/binary"
	"flag"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"dfs/blockstore"
)

var seed = flag.Uint64("extent.seed", 0, "seed of the random histories; 0 takes the clock")

// model says, for every block of a file, which block of which extent it shows. The zero value is a hole.
type model []shown

type shown struct {
	id    blockstore.ID
	block uint32
	tail  uint16
}

func (f model) put(e Extent) {
	for i := range e.Span.Count {
		s := shown{id: e.Span.Extent, block: e.Span.First + i}
		if i == e.Span.Count-1 {
			s.tail = e.Tail
		}
		f[e.Off/blockstore.Size+int64(i)] = s
	}
}

func (f model) clear(from, to int64) { clear(f[from:to]) }

func modelOf(t *testing.T, m Map, blocks int) model {
	t.Helper()
	if err := m.Check(); err != nil {
		t.Fatalf("%v\n%v", err, m)
	}
	f := make(model, blocks)
	for _, e := range m {
		f.put(e)
	}
	return f
}

func idOf(n uint64) (id blockstore.ID) {
	binary.BigEndian.PutUint64(id[8:], n)
	return id
}

const fileBlocks = 64

func random(r *rand.Rand, n uint64) Extent {
	count := 1 + r.Uint32N(12)
	return Extent{
		Off:  int64(r.IntN(fileBlocks-int(count)+1)) * blockstore.Size,
		Span: blockstore.Span{Extent: idOf(n), First: r.Uint32N(4), Count: count},
		Tail: uint16(r.IntN(3)) * 100,
	}
}

// A map shows the same blocks as an array of blocks does, whatever was done to both.
func TestMapIsAnArrayOfBlocks(t *testing.T) {
	s := *seed
	if s == 0 {
		s = uint64(time.Now().UnixNano())
	}
	t.Logf("-extent.seed=%d", s)
	r := rand.New(rand.NewPCG(s, 1))
	var m Map
	f := make(model, fileBlocks)
	for n := uint64(1); n < 4000; n++ {
		switch r.IntN(4) {
		case 0:
			off, size := r.Int64N(fileBlocks*512), 1+r.Int64N(6*512)
			size = min(size, fileBlocks*512-off)
			want := m.Slice(off, size)
			next, removed := m.Remove(off, size)
			if !slices.EqualFunc(want, Map(removed), Extent.Same) {
				t.Fatalf("removed %v, want %v", removed, want)
			}
			f.clear(off/512, (off+size+511)/512)
			m = next
		case 1:
			off := r.Int64N(fileBlocks * 512)
			next := m.Split(off)
			for _, e := range next {
				if e.Off < off&^511 && e.End() > off&^511 {
					t.Fatalf("%v crosses %d", e, off)
				}
			}
			m = next
		default:
			e := random(r, n)
			want := m.Slice(e.Off, e.Span.Bytes())
			next, hidden := m.Insert(e)
			if !slices.EqualFunc(want, Map(hidden), Extent.Same) {
				t.Fatalf("hidden %v, want %v", hidden, want)
			}
			if next.Bytes() != m.Bytes()+e.Span.Bytes()-Map(hidden).Bytes() {
				t.Fatalf("bytes are lost or made")
			}
			f.put(e)
			m = next
		}
		if got := modelOf(t, m, fileBlocks); !slices.Equal(got, f) {
			t.Fatalf("step %d: map shows\n%v\nwant\n%v", n, got, f)
		}
	}
}

// Slice shows exactly the blocks that the range touches.
func TestSliceIsAWindow(t *testing.T) {
	r := rand.New(rand.NewPCG(7, 7))
	for range 500 {
		var m Map
		for n := range uint64(8) {
			m, _ = m.Insert(random(r, n+1))
		}
		all := modelOf(t, m, fileBlocks)
		off, size := r.Int64N(fileBlocks*512), r.Int64N(9*512)
		size = min(size, fileBlocks*512-off)
		got := modelOf(t, m.Slice(off, size), fileBlocks)
		want := make(model, fileBlocks)
		if size > 0 {
			from, to := off/512, (off+size+511)/512
			copy(want[from:to], all[from:to])
		}
		for i := range want {
			if want[i].id != got[i].id || want[i].block != got[i].block {
				t.Fatalf("[%d,+%d) block %d: %v, want %v", off, size, i, got[i], want[i])
			}
		}
		e, ok := m.Find(off)
		if ok != (all[off/512].id != blockstore.ID{}) || ok && e.Block(off&^511).First != all[off/512].block {
			t.Fatalf("find %d: %v %v", off, e, ok)
		}
	}
}

// Maps are values: no method changes its receiver.
func TestMapsAreValues(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 9))
	var m Map
	for n := range uint64(10) {
		m, _ = m.Insert(random(r, n+1))
	}
	was := slices.Clone(m)
	for n := range uint64(100) {
		m.Insert(random(r, n+100))
		m.Remove(r.Int64N(30000), r.Int64N(9000))
		m.Split(r.Int64N(30000))
		m.Slice(r.Int64N(30000), r.Int64N(9000))
		if !slices.EqualFunc(m, was, Extent.Same) {
			t.Fatal("the receiver changed")
		}
	}
}

// A tail belongs to the last block alone.
func TestTailStaysWithTheLastBlock(t *testing.T) {
	e := Extent{Off: 0, Span: blockstore.Span{Extent: idOf(1), Count: 4}, Tail: 100}
	left, _ := e.Clip(0, 1024)
	right, _ := e.Clip(1024, 2048)
	if left.Tail != 0 || right.Tail != 100 {
		t.Fatalf("tails %d and %d", left.Tail, right.Tail)
	}
}

func FuzzMap(f *testing.F) {
	f.Add([]byte{0, 1, 2, 3, 4, 5, 6, 7, 8, 9})
	f.Fuzz(func(t *testing.T, b []byte) {
		var m Map
		want := make(model, 320)
		for n := uint64(1); len(b) >= 3 && n < 64; n++ {
			off, count := int64(b[1]), uint32(b[2]%32)+1
			if b[0]&1 == 0 {
				e := Extent{Off: off * 512, Span: blockstore.Span{Extent: idOf(n), Count: count}}
				m, _ = m.Insert(e)
				want.put(e)
			} else {
				m, _ = m.Remove(off*512, int64(count)*512)
				want.clear(off, off+int64(count))
			}
			b = b[3:]
		}
		if got := modelOf(t, m, len(want)); !slices.Equal(got, want) {
			t.Fatal("the map shows other blocks than the array")
		}
	})
}

func TestShownEndsWithTheTail(t *testing.T) {
	e := Extent{Off: 512, Span: blockstore.Span{Count: 2}}
	if e.Shown() != 1536 {
		t.Errorf("a whole extent is shown to %d", e.Shown())
	}
	if e.Tail = 7; e.Shown() != 1024+7 {
		t.Errorf("one cut in its last block is shown to %d", e.Shown())
	}
}
