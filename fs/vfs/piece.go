package vfs

import (
	"dfs/blockstore"
)

// piece is whole blocks of a file, written or about to be completed: the union of neighbouring runs, rounded out to
// blocks. Invariants: off and n are multiples of blockstore.Size; n <= windowBytes.
type piece struct {
	off, n int64
	runs   []run // inside [off, off+n), in order; none: the block is only written anew
}

// cut rounds runs, which are in order, out to blocks and joins those that then touch, within windows.
func cut(runs []run) []piece {
	var out []piece
	for i := range runs {
		off, end := down(runs[i].off), up(runs[i].end())
		if k := len(out) - 1; k >= 0 && out[k].off+out[k].n >= off && out[k].off/windowBytes == off/windowBytes {
			out[k].n = end - out[k].off
			out[k].runs = append(out[k].runs, runs[i])
			continue
		}
		out = append(out, piece{off: off, n: end - off, runs: []run{runs[i]}})
	}
	return out
}

func down(off int64) int64 { return off &^ (blockstore.Size - 1) }
func up(off int64) int64   { return (off + blockstore.Size - 1) &^ (blockstore.Size - 1) }

// ragged returns the offsets of the blocks that p's runs cover only in part.
func (p piece) ragged() []int64 {
	var out []int64
	add := func(block int64) {
		if len(out) == 0 || out[len(out)-1] != block {
			out = append(out, block)
		}
	}
	at := p.off // everything before is covered or noted
	for _, r := range p.runs {
		if r.off > at {
			// A gap can only be within one block or between two: longer ones separate pieces.
			for b := down(at); b < r.off; b += blockstore.Size {
				add(b)
			}
		}
		at = r.end()
	}
	if end := p.off + p.n; at < end {
		add(down(at))
	}
	return out
}

// fill returns p's bytes: old gives the ragged blocks by offset, nil where they were zeros. The result may be the
// only run's own memory.
func (p piece) fill(old map[int64][]byte) []byte {
	if len(p.runs) == 1 && int64(len(p.runs[0].data)) == p.n {
		return p.runs[0].data
	}
	data := make([]byte, p.n)
	p.fillInto(data, old)
	return data
}

// fillInto is fill into zeroed memory of p.n bytes.
func (p piece) fillInto(data []byte, old map[int64][]byte) {
	for off, b := range old {
		if off >= p.off && off < p.off+p.n {
			copy(data[off-p.off:], b)
		}
	}
	for _, r := range p.runs {
		copy(data[r.off-p.off:], r.data)
	}
}
