package repair_test

import (
	"flag"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"dfs/blockstore"
	"dfs/cluster/placement"
	"dfs/fs/meta"
)

var seed = flag.Uint64("seed", 0, "of the only history to play; 0 plays some")

// Files are written, cut and removed while members come and go and every pass runs now and then, some of them on stale
// words. When all is quiet every extent has its copies, every store holds exactly what the maps say, and the
// files are what byte arrays would be.
func TestHistories(t *testing.T) {
	first, n := uint64(1), uint64(60)
	if *seed != 0 {
		first, n = *seed, 1
	}
	for s := first; s < first+n; s++ {
		ok := t.Run(fmt.Sprint("seed=", s), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) { play(t, s) })
		})
		if !ok {
			return
		}
	}
}

// history is a rig beside the model of its files.
type history struct {
	*rig
	rng   *rand.Rand
	files map[meta.Ino][]byte
	names map[meta.Ino]string
	made  int
}

func play(t *testing.T, seed uint64) {
	h := &history{rig: newRig(t, 3), rng: rand.New(rand.NewPCG(seed, 1)), files: map[meta.Ino][]byte{}, names: map[meta.Ino]string{}}
	stop := h.run()
	defer stop()
	for range 80 {
		h.step()
		time.Sleep(time.Second)
	}
	h.setAway(false, h.ids...)
	h.before = nil
	h.quiet()
	time.Sleep(time.Minute) // the pool deletes what it wrote for nothing
	h.endSession()
	h.sweepAll()
	if n := h.below(); n != 0 {
		t.Errorf("%d extents are below their copies", n)
	}
	var inos []meta.Ino
	for ino, want := range h.files {
		inos = append(inos, ino)
		h.same(ino, want)
	}
	h.exact(inos...)
	v := h.image()
	defer v.Close()
	if u, err := v.Usage(); err != nil || int(u.Inodes) != len(inos)+1 {
		t.Errorf("%+v for %d files, %v", u, len(inos), err)
	}
}

func (h *history) pick() (meta.Ino, bool) {
	for ino := range h.files {
		low := ino
		for other := range h.files {
			low = min(low, other)
		}
		k := h.rng.IntN(len(h.files))
		for ; k > 0; k-- {
			next := meta.Ino(1 << 60)
			for other := range h.files {
				if other > low {
					next = min(next, other)
				}
			}
			low = next
		}
		return low, true
	}
	return 0, false
}

func (h *history) step() {
	switch h.rng.IntN(16) {
	case 0:
		if len(h.files) < 4 {
			h.made++
			name := fmt.Sprint(h.made)
			ino := h.file(name, placement.Wish{Copies: uint8(h.rng.IntN(4)), UnitBlocks: uint32(h.rng.IntN(3) * 3)})
			h.files[ino], h.names[ino] = nil, name
		}
	case 1, 2, 3, 4:
		h.overwrite()
	case 5:
		h.truncate()
	case 6:
		if ino, ok := h.pick(); ok && h.rng.IntN(3) == 0 {
			h.do(meta.Unlink{Dir: meta.Root, Name: h.names[ino]})
			delete(h.files, ino)
		}
	case 7: // one of them, at most, is away
		h.setAway(false, h.ids...)
		h.setAway(h.rng.IntN(4) > 0, h.ids[h.rng.IntN(len(h.ids))])
	case 8:
		h.before = nil
		if h.rng.IntN(2) == 0 { // something comes in between
			calls := 0
			h.before = func(meta.Op) {
				h.mu.Lock()
				calls++
				now := calls == 2
				h.mu.Unlock()
				if now {
					h.overwrite()
				}
			}
		}
		h.raise()
		h.before = nil
	case 9:
		h.settle()
	case 10:
		h.bury()
	case 12:
		h.gather()
	case 13, 14:
		h.clone()
	case 15:
		h.punch()
	case 11:
		if h.rng.IntN(3) == 0 {
			h.endSession()
		}
		h.sweepAll()
	}
}

// gather has a file defragmented, while others write it now and then.
func (h *history) gather() {
	ino, ok := h.pick()
	if !ok {
		return
	}
	h.before = nil
	if h.rng.IntN(2) == 0 {
		once := true
		h.before = func(meta.Op) {
			h.mu.Lock()
			now := once
			once = false
			h.mu.Unlock()
			if now {
				h.overwrite()
			}
		}
	}
	_, _ = h.Gather(ctx, ino, 0) // it may be in conflict, or lack peers
	h.before = nil
}

func (h *history) overwrite() {
	ino, ok := h.pick()
	if !ok {
		return
	}
	off, n := h.rng.IntN(24), 1+h.rng.IntN(12)
	data := blocks(n, byte(h.rng.Uint32()))
	at := int64(off) * blockstore.Size
	if _, err := h.write(ino, at, data); err != nil {
		return // nobody to write to
	}
	f := h.files[ino]
	if end := int(at) + len(data); end > len(f) {
		f = append(f, make([]byte, end-len(f))...)
	}
	copy(f[at:], data)
	h.files[ino] = f
}

// clone gives a file a part of another, or of itself, that neither need write.
func (h *history) clone() {
	src, ok := h.pick()
	if !ok {
		return
	}
	dst, _ := h.pick()
	for try := 0; try < 9 && (dst == src || h.stat(dst).Wish != h.stat(src).Wish); try++ {
		dst, _ = h.pick()
	}
	if len(h.files[src]) < blockstore.Size {
		return
	}
	const block = blockstore.Size
	have := len(h.files[src]) / block
	from, to := h.rng.IntN(have), h.rng.IntN(24)
	n := 1 + h.rng.IntN(have-from)
	op := meta.Clone{Src: src, Dst: dst, SrcOff: int64(from * block), DstOff: int64(to * block), N: int64(n * block)}
	if _, err := h.apply(op); err != nil {
		return // other layouts, or the ranges overlap
	}
	data := slices.Clone(h.files[src][from*block : (from+n)*block])
	f := h.files[dst]
	if end := to*block + len(data); end > len(f) {
		f = append(f, make([]byte, end-len(f))...)
	}
	copy(f[to*block:], data)
	h.files[dst] = f
}

func (h *history) punch() {
	ino, ok := h.pick()
	if !ok {
		return
	}
	off, n := h.rng.IntN(24), 1+h.rng.IntN(8)
	h.do(meta.Punch{Ino: ino, Off: int64(off * blockstore.Size), N: int64(n * blockstore.Size)})
	f := h.files[ino]
	clear(f[min(len(f), off*blockstore.Size):min(len(f), (off+n)*blockstore.Size)])
}

func (h *history) truncate() {
	ino, ok := h.pick()
	if !ok {
		return
	}
	size := h.rng.IntN(30 * blockstore.Size)
	if _, err := h.apply(meta.SetAttr{Ino: ino, Mask: meta.SetSize, Size: int64(size)}); err != nil {
		return // too many cuts at once
	}
	f := h.files[ino]
	if size > len(f) {
		f = append(f, make([]byte, size-len(f))...)
	}
	h.files[ino] = f[:size:size]
}
