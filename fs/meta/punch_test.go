package meta

import (
	"context"
	"errors"
	"slices"
	"testing"

	"dfs/cluster/fault"
	"dfs/fs/extent"
)

// punch makes a hole of random blocks of a random file.
func (w *world) punch() {
	i := w.aFile()
	f := w.m.files[i]
	if f.typ != File {
		return
	}
	off, n := w.r.Int64N(36), 1+w.r.Int64N(8)
	w.do(Punch{Ino: i, Off: off * 512, N: n * 512, Time: Time(w.clock)})
	clear(f.data[min(len(f.data), int(off)*512):min(len(f.data), int(off+n)*512)])
}

// A hole takes what lies in it, splits what crosses its borders, and changes neither the size nor what is beside it.
func TestPunch(t *testing.T) {
	d := newDrive(t, 1)
	f := d.file("f")
	a, b, c := d.extent(0, 8, 1), d.extent(10, 4, 1), d.extent(14, 8, 1)
	d.write(f, a, b, c)
	before := d.stat(f)
	d.changes = nil
	r := d.do(Punch{Ino: f, Off: 4 * 512, N: 14 * 512, Mtime: 1, Time: 2})
	left, _ := a.Clip(0, 4*512)
	right, _ := c.Clip(18*512, 22*512)
	if m := d.extents(f); !slices.EqualFunc(m, extent.Map{left, right}, extent.Extent.Same) {
		t.Fatalf("%+v", m)
	}
	if r.More || r.Inode.Size != before.Size || r.Inode.Blocks != 8 || r.Inode.Mtime != before.Mtime+1 {
		t.Fatalf("%+v, before %+v", r, before)
	}
	var freed uint32
	for _, ch := range d.changes {
		for _, fr := range ch.Freed {
			freed += fr.Span.Count
		}
		if len(ch.Data) != 1 || ch.Data[0].Ino != f {
			t.Fatalf("data changed: %+v", ch.Data)
		}
	}
	if freed != 12 {
		t.Fatalf("%d blocks freed", freed)
	}
	d.changes = nil
	d.do(Punch{Ino: f, Off: 4 * 512, N: 14 * 512, Time: 3}) // a hole in a hole changes no bytes
	d.do(Punch{Ino: f, Off: 1 << 40, N: 512, Time: 3})
	for _, ch := range d.changes {
		if len(ch.Data)+len(ch.Freed) > 0 {
			t.Fatalf("%+v", ch)
		}
	}
}

// A hole through many extents takes many ops, from its beginning on; what a truncation has left there goes too.
func TestAHugeHoleTakesManyOps(t *testing.T) {
	d := newDrive(t, 1)
	f := d.file("f")
	d.fill(f, 5000)
	d.do(SetAttr{Ino: f, Mask: SetSize, Size: 2600 * 512})
	d.do(SetAttr{Ino: f, Mask: SetSize, Size: 5000 * 512})
	if n := d.stat(f); n.Blocks != 2600 {
		t.Fatalf("%d blocks", n.Blocks)
	}
	rounds := 1
	for d.do(Punch{Ino: f, Off: 100 * 512, N: 4900 * 512}).More {
		rounds++
		if m := d.extents(f); len(m) < 100 || len(m) > 100 && m[100].Off == 100*512 {
			t.Fatalf("%d extents after %d rounds", len(m), rounds)
		}
	}
	if m := d.extents(f); len(m) != 100 || rounds < 4 || d.stat(f).Blocks != 100 {
		t.Fatalf("%d extents, %d blocks after %d rounds", len(m), d.stat(f).Blocks, rounds)
	}
	for d.do(Trim{Ino: f}).More {
	}
	if u := d.usage(); u.Blocks != 100 || u.Extents != 100 {
		t.Fatalf("%+v", u)
	}
}

func TestPunchesThatAreRefused(t *testing.T) {
	d := newDrive(t, 1)
	f := d.file("f")
	d.do(Create{Dir: Root, Name: "l", Type: Symlink, Target: "t"})
	for _, x := range []struct {
		op   Punch
		want fault.Kind
	}{
		{Punch{Ino: 99, N: 512}, fault.Stale},
		{Punch{Ino: Root, N: 512}, fault.IsDir},
		{Punch{Ino: f + 1, N: 512}, fault.Invalid},
		{Punch{Ino: f}, fault.Invalid},
		{Punch{Ino: f, Off: 1, N: 512}, fault.Invalid},
		{Punch{Ino: f, N: 511}, fault.Invalid},
		{Punch{Ino: f, Off: -512, N: 512}, fault.Invalid},
		{Punch{Ino: f, Off: 512, N: -512}, fault.Invalid},
		{Punch{Ino: f, Off: SizeMax, N: 512}, fault.TooBig},
	} {
		if _, err := d.Apply(context.Background(), x.op); !errors.Is(err, x.want) {
			t.Errorf("%+v: %v, want %v", x.op, err, x.want)
		}
	}
}
