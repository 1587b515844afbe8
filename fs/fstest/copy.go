package fstest

import (
	"bytes"
	"fmt"
	"slices"
	"testing"

	"dfs/cluster/fault"
)

// Copier is an open file of a Tree that can be copied from without its bytes passing through the program.
type Copier interface {
	Sparse
	// CopyTo is copy_file_range(2): n bytes from off on to dst at at. It may copy fewer; none at the end.
	CopyTo(dst File, off, at, n int64) (int64, error)
}

// RunCopies checks every promise about copies of ranges, each on a fresh file system that open makes.
func RunCopies(t *testing.T, open func(t *testing.T) Tree) {
	for _, c := range []Case{
		{"a range is copied to the byte", testCopyRanges},
		{"a copy of what is not flushed has it", testCopyDirty},
		{"a copy and what it was copied from change on their own", testCopyDiverges},
		{"holes are copied as holes", testCopyHoles},
		{"a range of a file is copied within it", testCopyWithin},
		{"ranges that make no sense are refused", testBadCopies},
		{"random copies, writes, holes and truncations match byte arrays", testModelCopies},
	} {
		t.Run(c.Name, func(t *testing.T) { c.Test(t, open(t)) })
	}
}

func copier(t *testing.T, fs Tree, path string, f Flags) Copier {
	t.Helper()
	x, can := sparse(t, fs, path, f).(Copier)
	if !can {
		t.Fatalf("%s cannot be copied from", path)
	}
	return x
}

// copyAll copies a range as programs do, in as many calls as it takes, and returns the bytes copied.
func copyAll(src Copier, dst File, off, at, n int64) (int64, error) {
	for done := int64(0); ; {
		k, err := src.CopyTo(dst, off+done, at+done, n-done)
		if done += k; err != nil || k == 0 || done == n {
			return done, err
		}
	}
}

// copied is dst with n bytes of src from off on at at.
func copied(dst, src []byte, off, at, n int64) []byte {
	off = min(off, int64(len(src)))
	n = min(n, int64(len(src))-off)
	if n <= 0 {
		return dst
	}
	from := slices.Clone(src[off : off+n])
	dst = reaching(dst, at+n)
	copy(dst[at:], from)
	return dst
}

const large = 300_000 // more than is copied byte by byte

func testCopyRanges(t *testing.T, fs Tree) {
	data := Bytes(1, large)
	write(t, fs, "src", data)
	src := copier(t, fs, "src", ReadOnly)
	defer src.Close()
	for _, before := range []int{0, 1000, large + 5000} {
		for _, c := range [][3]int64{
			{0, 0, large}, {0, 0, large + 1000}, {0, 0, 1}, {0, 512, 200_000}, {512, 0, 200_000}, {100, 100, 250_000}, {100, 612, 250_001},
			{1, 0, 200_000}, {4096, 8192, 131072}, {4096, 1 << 20, 262144}, {large - 100, 50, 1000}, {large, 0, 10}, {large + 10, 0, 10},
			{512, 1024, 131072 + 512}, {511, 511, 131072 + 514},
		} {
			what := fmt.Sprintf("%d bytes from %d to %d of %d", c[2], c[0], c[1], before)
			model := Bytes(2, before)
			write(t, fs, "dst", model)
			dst := copier(t, fs, "dst", Update)
			n, err := copyAll(src, dst, c[0], c[1], c[2])
			ok(t, what, err)
			if want := max(0, min(c[2], large-c[0])); n != want {
				t.Fatalf("%s: %d were copied, want %d", what, n, want)
			}
			model = copied(model, data, c[0], c[1], c[2])
			same(t, what, readAll(t, dst), model)
			ok(t, "close", dst.Close())
			same(t, what+", closed", read(t, fs, "dst"), model)
			same(t, "the source", read(t, fs, "src"), data)
		}
	}
}

func testCopyDirty(t *testing.T, fs Tree) {
	data := Bytes(1, large)
	src, dst := copier(t, fs, "src", Fresh), copier(t, fs, "dst", Fresh)
	_, err := src.WriteAt(data, 0)
	ok(t, "write", err)
	_, err = dst.WriteAt(Bytes(2, 2*large), 0)
	ok(t, "write", err)
	n, err := copyAll(src, dst, 0, 1024, large)
	if n != large || err != nil {
		t.Fatalf("%d, %v", n, err)
	}
	want := copied(Bytes(2, 2*large), data, 0, 1024, large)
	same(t, "at once", readAll(t, dst), want)
	_, err = src.WriteAt(Bytes(3, large), 0)
	ok(t, "write", err)
	ok(t, "close", src.Close())
	ok(t, "close", dst.Close())
	same(t, "the copy", read(t, fs, "dst"), want)
	same(t, "the source", read(t, fs, "src"), Bytes(3, large))
}

func testCopyDiverges(t *testing.T, fs Tree) {
	data := Bytes(1, large)
	write(t, fs, "a", data)
	for _, name := range []string{"b", "c"} {
		src, dst := copier(t, fs, "a", ReadOnly), copier(t, fs, name, Fresh)
		_, err := copyAll(src, dst, 0, 0, large)
		ok(t, "copy", err)
		ok(t, "close", dst.Close())
		ok(t, "close", src.Close())
	}
	a, b := copier(t, fs, "a", Update), copier(t, fs, "b", Update)
	_, err := a.WriteAt([]byte("here"), 100_000)
	ok(t, "write", err)
	ok(t, "sync", a.Sync())
	same(t, "b", readAll(t, b), data)
	ok(t, "punch", b.Fallocate(PunchKeep, 4096, 65536))
	ok(t, "truncate", b.Truncate(200_000))
	ok(t, "truncate", b.Truncate(large))
	ok(t, "close", a.Close())
	ok(t, "close", b.Close())
	want := slices.Clone(data)
	copy(want[100_000:], "here")
	same(t, "a", read(t, fs, "a"), want)
	ok(t, "remove", fs.Remove("a"))
	same(t, "c", read(t, fs, "c"), data)
	want = zeroed(zeroed(data, 4096, 65536), 200_000, large)
	same(t, "b", read(t, fs, "b"), want)
}

func testCopyHoles(t *testing.T, fs Tree) {
	src, dst := copier(t, fs, "src", Fresh), copier(t, fs, "dst", Fresh)
	_, err := src.WriteAt(Bytes(1, 65536), 1<<20)
	ok(t, "write", err)
	ok(t, "truncate", src.Truncate(4<<20))
	_, err = dst.WriteAt(Bytes(2, 2<<20), 0)
	ok(t, "write", err)
	n, err := copyAll(src, dst, 0, 0, 4<<20)
	if n != 4<<20 || err != nil {
		t.Fatalf("%d, %v", n, err)
	}
	same(t, "dst", readAll(t, dst), readAll(t, src))
	ok(t, "close", src.Close())
	ok(t, "close", dst.Close())
	same(t, "dst", read(t, fs, "dst"), read(t, fs, "src"))
}

func testCopyWithin(t *testing.T, fs Tree) {
	data := Bytes(1, 2*large)
	write(t, fs, "f", data)
	f := copier(t, fs, "f", Update)
	_, err := copyAll(f, f, 512, large+212, 270_000)
	ok(t, "copy", err)
	data = copied(data, data, 512, large+212, 270_000)
	_, err = copyAll(f, f, 4096, 2*large+4096, 200_000)
	ok(t, "copy", err)
	data = copied(data, data, 4096, 2*large+4096, 200_000)
	same(t, "f", readAll(t, f), data)
	_, err = f.CopyTo(f, 0, 100, 200)
	want(t, "a range onto itself", err, fault.Invalid)
	ok(t, "close", f.Close())
	same(t, "f", read(t, fs, "f"), data)
}

func testBadCopies(t *testing.T, fs Tree) {
	write(t, fs, "f", Bytes(1, 1000))
	f, g := copier(t, fs, "f", ReadOnly), copier(t, fs, "g", Fresh)
	_, err := f.CopyTo(g, 0, 1<<62, 10)
	want(t, "beyond the largest file", err, fault.TooBig)
	ok(t, "close", f.Close())
	ok(t, "close", g.Close())
}

func testModelCopies(t *testing.T, fs Tree) {
	r := newRand(t)
	const files = 3
	var f [files]Copier
	var model [files][]byte
	for i := range f {
		f[i] = copier(t, fs, string(rune('a'+i)), Fresh)
	}
	history := ""
	for range *stepsFlag / 2 {
		i, j := r.IntN(files), r.IntN(files)
		off, at, n := int64(r.IntN(400_000)), int64(r.IntN(400_000)), int64(1+r.IntN(300_000))
		if r.IntN(3) > 0 {
			off, at = off&^511, at&^511
		}
		var err error
		k := r.IntN(10)
		history += fmt.Sprintf("%d: %d from %d of %d to %d of %d\n", k, n, off, i, at, j)
		switch {
		case k < 5:
			if i == j { // what it grows by would be copied too
				n = min(n, int64(len(model[i]))-off)
			}
			if n <= 0 || i == j && max(off-at, at-off) < n {
				continue
			}
			_, err = copyAll(f[i], f[j], off, at, n)
			model[j] = copied(model[j], model[i], off, at, n)
		case k < 7:
			data := Bytes(r.Uint64(), int(n))
			model[i] = reaching(model[i], off+n)
			copy(model[i][off:], data)
			_, err = f[i].WriteAt(data, off)
		case k < 8:
			model[i] = zeroed(model[i], off, n)
			err = f[i].Fallocate(PunchKeep, off, n)
		case k < 9:
			if off <= int64(len(model[i])) {
				model[i] = slices.Clone(model[i][:off])
			}
			model[i] = reaching(model[i], off)
			err = f[i].Truncate(off)
		default:
			ok(t, "close", f[i].Close())
			f[i] = copier(t, fs, string(rune('a'+i)), Update)
		}
		if err != nil {
			t.Fatalf("%v\n%s", err, history)
		}
		if got := readAll(t, f[j]); !bytes.Equal(got, model[j]) {
			t.Fatalf("file %d: %d bytes, want %d, or others\n%s", j, len(got), len(model[j]), history)
		}
	}
	for i := range f {
		ok(t, "close", f[i].Close())
		same(t, "at the end", read(t, fs, string(rune('a'+i))), model[i])
	}
}
