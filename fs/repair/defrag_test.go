package repair_test

import (
	"errors"
	"math/rand/v2"
	"testing"
	"testing/synctest"
	"time"

	"dfs/blockstore"
	"dfs/cluster/fault"
	"dfs/cluster/placement"
	"dfs/fs/meta"
)

const allAtOnce = 1 << 40 // bytes a second

func (r *rig) defragment(calm time.Duration) (bytes int64, young bool) {
	r.t.Helper()
	bytes, young, err := r.Defragment(ctx, calm, allAtOnce)
	if err != nil {
		r.t.Fatal(err)
	}
	return bytes, young
}

// scattered returns a rig with a file of n blocks that was then overwritten in many small writes.
func scattered(t *testing.T, w placement.Wish, n, writes int) (*rig, meta.Ino, []byte) {
	t.Helper()
	r := newRig(t, 3)
	ino := r.file("f", w)
	data := blocks(n, 1)
	r.mustWrite(ino, 0, data)
	rng := rand.New(rand.NewPCG(7, 7))
	for i := range writes {
		at, k := rng.IntN(n-2), 1+rng.IntN(2)
		b := blocks(k, byte(i))
		r.mustWrite(ino, int64(at)*blockstore.Size, b)
		copy(data[at*blockstore.Size:], b)
	}
	return r, ino, data
}

func TestAWindowInPiecesIsRewritten(t *testing.T) {
	r, ino, data := scattered(t, two, 1000, 300)
	before, was := len(r.extents(ino)), r.stat(ino)
	if bytes, young := r.defragment(0); bytes != int64(len(data)) || young {
		t.Errorf("%d bytes of %d, young %v", bytes, len(data), young)
	}
	m := r.extents(ino)
	if before < 300 || len(m) != 1 || len(m[0].Layout.Peers) != 2 {
		t.Errorf("%d pieces became %d", before, len(m))
	}
	if now := r.stat(ino); now.Mtime != was.Mtime || now.Ctime != was.Ctime || now.Changed != was.Changed || now.Written != was.Written || now.Blocks != was.Blocks {
		t.Errorf("%+v became %+v", was, now)
	}
	r.same(ino, data)
	for _, s := range r.stores { // it was on disk before it was committed
		s.Crash()
	}
	r.same(ino, data)
	r.quiet()
	r.same(ino, data)
	r.exact(ino)
	n := r.proposed()
	if bytes, _ := r.defragment(0); bytes != 0 || r.proposed() != n {
		t.Error("it was done again")
	}
}

// Never below the layout's unit, and not at all where that gains little.
func TestTheUnitOfTheLayoutIsKept(t *testing.T) {
	for unit, want := range map[uint32]int{16: 64, 4: 0, 1: 0} {
		r := newRig(t, 2)
		ino := r.file("f", placement.Wish{Copies: 2, UnitBlocks: unit})
		data := blocks(1024, 3)
		for i := range 1024 {
			r.mustWrite(ino, int64(i)*blockstore.Size, data[i*blockstore.Size:(i+1)*blockstore.Size])
		}
		if unit == 4 { // larger pieces than one block, but less than four times fewer
			r.mustWrite(ino, 0, data)
		}
		r.defragment(0)
		m := r.extents(ino)
		if want != 0 && len(m) != want || want == 0 && r.proposed() > 0 {
			t.Errorf("unit %d: %d pieces, %d ops", unit, len(m), r.proposed())
		}
		for _, e := range m {
			if e.Span.Count > unit {
				t.Errorf("unit %d: an extent of %d blocks", unit, e.Span.Count)
			}
		}
		r.same(ino, data)
	}
}

func TestWhatIsBeingWrittenIsLeftAlone(t *testing.T) {
	r, ino, data := scattered(t, two, 300, 200)
	if bytes, young := r.defragment(time.Hour); bytes != 0 || !young || r.proposed() != 0 {
		t.Errorf("%d bytes, young %v", bytes, young)
	}
	r.same(ino, data)
	// Past 1,024 pieces it does not wait.
	r, ino, data = scattered(t, two, 4000, 1200)
	if bytes, _ := r.defragment(time.Hour); bytes == 0 {
		t.Errorf("%d pieces were left", len(r.extents(ino)))
	}
	r.same(ino, data)
	if n := len(r.extents(ino)); n > 3 {
		t.Errorf("%d pieces", n)
	}
}

// Holes stay holes, and what a truncation cut off inside a block stays zeros.
func TestHolesAndTailsAreKept(t *testing.T) {
	r, ino, data := scattered(t, two, 600, 300)
	cut := 400*blockstore.Size + 77
	r.do(meta.SetAttr{Ino: ino, Mask: meta.SetSize, Size: int64(cut)})
	r.do(meta.SetAttr{Ino: ino, Mask: meta.SetSize, Size: 500 * blockstore.Size})
	data = data[:500*blockstore.Size]
	clear(data[cut:])
	r.mustWrite(ino, 450*blockstore.Size, blocks(50, 9))
	copy(data[450*blockstore.Size:], blocks(50, 9))
	used := r.stat(ino).Blocks
	r.defragment(0)
	if m := r.extents(ino); len(m) != 2 || m[0].Tail != 77 || r.stat(ino).Blocks != used {
		t.Errorf("%d pieces, tail %d, %d blocks of %d", len(m), m[0].Tail, r.stat(ino).Blocks, used)
	}
	r.same(ino, data)
	r.quiet()
	r.exact(ino)
}

// A write that comes between reading and committing wins, and keeps only the part it touches from being rewritten.
func TestAWriteWinsOverDefragmentation(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, ino, data := scattered(t, two, 2000, 900)
		stop := r.run()
		defer stop()
		calls := 0
		r.before = func(meta.Op) {
			if calls++; calls == 1 {
				b := blocks(3, 99)
				r.mustWrite(ino, 0, b)
				copy(data, b)
			}
		}
		if _, err := r.Gather(ctx, ino, 0); err != nil && !errors.Is(err, fault.Conflict) {
			t.Fatal(err)
		}
		r.before = nil
		r.same(ino, data)
		if n := len(r.extents(ino)); n > 500 {
			t.Errorf("%d pieces: one write kept all from being rewritten", n)
		}
		r.quiet()
		r.same(ino, data)
		time.Sleep(time.Minute) // the pool deletes what it wrote for nothing
		r.endSession()
		r.sweepAll()
		r.exact(ino)
	})
}

// Copies are not given up for speed.
func TestDefragmentationNeedsAllItsPeers(t *testing.T) {
	r, ino, data := scattered(t, placement.Wish{Copies: 3}, 300, 200)
	r.setAway(true, r.ids[2])
	n := len(r.extents(ino))
	if bytes, _ := r.defragment(0); bytes != 0 || len(r.extents(ino)) != n {
		t.Errorf("%d bytes rewritten", bytes)
	}
	r.setAway(false, r.ids[2])
	if bytes, _ := r.defragment(0); bytes == 0 {
		t.Error("nothing was rewritten although all are there")
	}
	r.same(ino, data)
}
