package vfs

import (
	"maps"
	"slices"
	"sort"

	"dfs/blockstore"
)

// windowBytes is the part of a file that is gathered and flushed as one: the largest extent.
const windowBytes = blockstore.MaxBlocks * blockstore.Size

// runCost is what a run is charged besides its bytes, so that many tiny writes are bounded too.
const runCost = 128

// run is consecutive dirty bytes of a file.
type run struct {
	off  int64
	data []byte
}

func (r run) end() int64 { return r.off + int64(len(r.data)) }

// dirty is the written and not yet committed bytes of one file: runs by window. Runs of a window are sorted,
// disjoint, not empty, and do not cross its borders; neighbours may touch. The zero value is empty.
type dirty struct {
	windows map[int64][]run
	cost    int64 // bytes and runCost of all runs
}

func (d *dirty) empty() bool { return len(d.windows) == 0 }

// write copies p to off over what is there.
func (d *dirty) write(off int64, p []byte) {
	for len(p) > 0 {
		w := off / windowBytes
		n := min(int64(len(p)), (w+1)*windowBytes-off)
		d.writeWindow(w, off, p[:n])
		p, off = p[n:], off+n
	}
}

func (d *dirty) writeWindow(w, off int64, p []byte) {
	if d.windows == nil {
		d.windows = map[int64][]run{}
	}
	runs := d.windows[w]
	i := sort.Search(len(runs), func(i int) bool { return runs[i].end() >= off })
	if i < len(runs) && runs[i].off <= off {
		r := &runs[i]
		rest := p[copy(r.data[off-r.off:], p):]
		if len(rest) == 0 {
			return
		}
		r.data = append(grown(r.data, len(rest), (w+1)*windowBytes-r.off), rest...)
		d.cost += int64(len(rest))
	} else {
		data := grown(nil, len(p), max(int64(len(p)), 1))
		runs = slices.Insert(runs, i, run{off: off, data: append(data, p...)})
		d.cost += int64(len(p)) + runCost
	}
	// What follows and is now covered goes, in whole or at its head.
	end, next := runs[i].end(), i+1
	for next < len(runs) && runs[next].end() <= end {
		d.cost -= int64(len(runs[next].data)) + runCost
		next++
	}
	if next < len(runs) && runs[next].off < end {
		r := &runs[next]
		d.cost -= end - r.off
		r.data, r.off = r.data[end-r.off:], end
	}
	d.windows[w] = slices.Delete(runs, i+1, next)
}

// grown returns data with room for n more bytes, doubling up to limit, which is enough.
func grown(data []byte, n int, limit int64) []byte {
	if cap(data)-len(data) >= n {
		return data
	}
	size := min(int64(max(2*cap(data), len(data)+n, 4096)), limit)
	if size >= largeRun {
		return append(newWindow(), data...)
	}
	return append(make([]byte, 0, size), data...)
}

// overlap returns copies of the runs that overlap [off, off+n), clipped to it, in order.
func (d *dirty) overlap(off, n int64) []run {
	var out []run
	for w := off / windowBytes; w*windowBytes < off+n; w++ {
		for _, r := range d.windows[w] {
			if c, ok := r.clip(off, off+n); ok {
				c.data = slices.Clone(c.data)
				out = append(out, c)
			}
		}
	}
	return out
}

// clip returns the part of r in [from, to).
func (r run) clip(from, to int64) (run, bool) {
	from, to = max(from, r.off), min(to, r.end())
	if from >= to {
		return run{}, false
	}
	return run{off: from, data: r.data[from-r.off : to-r.off]}, true
}

// truncate drops what lies at or beyond size.
func (d *dirty) truncate(size int64) {
	for w, runs := range d.windows {
		if (w+1)*windowBytes <= size {
			continue
		}
		keep := runs[:0]
		for _, r := range runs {
			d.cost -= int64(len(r.data)) + runCost
			if c, ok := r.clip(0, size); ok {
				keep = append(keep, c)
				d.cost += int64(len(c.data)) + runCost
			}
		}
		if len(keep) == 0 {
			delete(d.windows, w)
		} else {
			d.windows[w] = keep
		}
	}
}

// end returns the offset after the last dirty byte, 0 where there is none.
func (d *dirty) end() int64 {
	var end int64
	for _, runs := range d.windows {
		end = max(end, runs[len(runs)-1].end())
	}
	return end
}

// full reports whether window w is dirty throughout, in one run.
func (d *dirty) full(w int64) bool {
	runs := d.windows[w]
	return len(runs) == 1 && len(runs[0].data) == windowBytes
}

// scattered reports whether there are more windows than writers usually fill at once.
func (d *dirty) scattered() bool { return len(d.windows) > 2*batchesMax }

// take removes and returns the runs of window w, and what they cost.
func (d *dirty) take(w int64) (runs []run, cost int64) {
	runs = d.windows[w]
	delete(d.windows, w)
	for _, r := range runs {
		cost += int64(len(r.data)) + runCost
	}
	d.cost -= cost
	return runs, cost
}

// takeAll removes and returns all runs, in order, and what they cost.
func (d *dirty) takeAll() (runs []run, cost int64) {
	runs, cost = d.all(), d.cost
	*d = dirty{}
	return runs, cost
}

// all returns every run, in order. Their bytes are the buffer's.
func (d *dirty) all() (runs []run) {
	for _, w := range slices.Sorted(maps.Keys(d.windows)) {
		runs = append(runs, d.windows[w]...)
	}
	return runs
}
