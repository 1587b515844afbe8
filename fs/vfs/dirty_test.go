package vfs

import (
	"bytes"
	"math/rand/v2"
	"testing"
)

// TestDirtyModel plays writes, truncations and takes against a byte array and a map of which bytes are dirty.
func TestDirtyModel(t *testing.T) {
	for seed := range uint64(30) {
		r := rand.New(rand.NewPCG(seed, 1))
		const size = windowBytes + 4096 // across a window's border
		base := int64(windowBytes - 4096)
		var d dirty
		model, is := make([]byte, size), make([]bool, size)
		for step := range 300 {
			off := base + r.Int64N(8000)
			switch r.IntN(12) {
			case 0:
				d.truncate(off)
				clear(model[off:])
				clear(is[off:])
			case 1:
				runs, cost := d.takeAll()
				if d.cost != 0 || !d.empty() || d.end() != 0 {
					t.Fatalf("seed %d: not empty after taking %d", seed, cost)
				}
				checkPieces(t, runs, model, is)
				for _, x := range runs {
					d.write(x.off, x.data)
				}
			default:
				p := make([]byte, 1+r.IntN(700))
				for i := range p {
					p[i] = byte(r.Uint32())
				}
				d.write(off, p)
				for i := range min(int64(len(p)), size-off) {
					model[off+i], is[off+i] = p[i], true
				}
				d.truncate(size)
			}
			checkDirty(t, &d, model, is, base)
			if t.Failed() {
				t.Fatalf("seed %d, step %d", seed, step)
			}
		}
	}
}

// checkDirty holds the buffer's invariants and compares it with the model.
func checkDirty(t *testing.T, d *dirty, model []byte, is []bool, base int64) {
	t.Helper()
	cost, last := int64(0), base
	for _, r := range d.overlap(base, int64(len(model))) {
		if r.off < last || len(r.data) == 0 || r.off/windowBytes != (r.end()-1)/windowBytes {
			t.Errorf("run [%d, %d) after %d", r.off, r.end(), last)
			return
		}
		for at := last; at < r.off; at++ {
			if is[at] {
				t.Errorf("byte %d was lost", at)
				return
			}
		}
		for i, c := range r.data {
			if at := r.off + int64(i); !is[at] || model[at] != c {
				t.Errorf("byte %d is %d, want %d (%v)", at, c, model[at], is[at])
				return
			}
		}
		cost += int64(len(r.data)) + runCost
		last = r.end()
	}
	if cost != d.cost || last != max(base, d.end()) {
		t.Errorf("cost %d, counted %d; end %d, found %d", d.cost, cost, d.end(), last)
	}
}

// checkPieces holds what cut promises: whole blocks in order, filled from what was there and what was written.
func checkPieces(t *testing.T, runs []run, model []byte, is []bool) {
	t.Helper()
	var last int64
	for _, p := range cut(runs) {
		if p.off%512 != 0 || p.n%512 != 0 || p.off < last || p.n > windowBytes {
			t.Fatalf("piece [%d, +%d) after %d", p.off, p.n, last)
		}
		last = p.off + p.n
		old := map[int64][]byte{}
		for _, off := range p.ragged() {
			old[off] = bytes.Repeat([]byte{0xee}, 512)
		}
		for i, c := range p.fill(old) {
			at := p.off + int64(i)
			dirty := at < int64(len(is)) && is[at]
			if dirty && c != model[at] || !dirty && c != 0xee {
				t.Fatalf("byte %d of piece [%d, +%d): %d, dirty %v", at, p.off, p.n, c, dirty)
			}
		}
	}
}
