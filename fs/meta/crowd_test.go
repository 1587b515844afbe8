package meta

import (
	"slices"
	"testing"

	"dfs/blockstore"
	"dfs/fs/extent"
)

// The walk finds every window that lies in too many pieces, once, however small its steps are.
func TestCrowds(t *testing.T) {
	d := newDrive(t, 2)
	const window = WindowBytes / blockstore.Size
	put := func(name string, blocks ...int64) Ino {
		ino := d.file(name)
		for _, at := range blocks {
			d.do(Commit{Ino: ino, Extents: []extent.Extent{d.extent(at, 1, 1)}, End: (at + 1) * blockstore.Size, Synced: true})
		}
		return ino
	}
	run := func(from, n int64) (blocks []int64) {
		for i := range n {
			blocks = append(blocks, from+2*i)
		}
		return blocks
	}
	a := put("a", run(0, 10)...)
	b := put("b", slices.Concat(run(0, 11), run(window, 3), run(2*window-40, 20), run(2*window, 12))...)
	put("c", run(0, 10)...)
	want := []Crowd{{Ino: b, Off: 0, Pieces: 11}, {Ino: b, Off: WindowBytes, Pieces: 23}, {Ino: b, Off: 2 * WindowBytes, Pieces: 12}}
	v := d.view()
	defer v.Close()
	for _, examine := range []int{24, 25, 30, 47, 1000} {
		var got []Crowd
		at, steps := Place{}, 0
		for done := false; !done; steps++ {
			list, next, end, err := v.Crowds(at, examine, 10)
			if err != nil || !end && next == at {
				t.Fatalf("examine %d: stuck at %+v, %v", examine, at, err)
			}
			for _, c := range list {
				if c.Newest.IsZero() {
					t.Error("no time")
				}
				c.Newest = Crowd{}.Newest
				got = append(got, c)
			}
			at, done = next, end
		}
		if !slices.Equal(got, want) {
			t.Errorf("examine %d: %+v, want %+v (a is %d)", examine, got, want, a)
		}
	}
}
