package fstest

import (
	"flag"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"dfs/cluster/fault"
)

var (
	seedFlag  = flag.Uint64("fstest.seed", 0, "seed of the random histories; 0 picks one and prints it")
	stepsFlag = flag.Int("fstest.steps", 400, "steps of a random history")
)

var modelCases = []Case{
	{"random writes match a byte array", testModelFile},
	{"random names match a tree", testModelTree},
}

func newRand(t *testing.T) *rand.Rand {
	seed := *seedFlag
	if seed == 0 {
		seed = uint64(time.Now().UnixNano())
	}
	t.Logf("-fstest.seed=%d", seed)
	return rand.New(rand.NewPCG(seed, 0))
}

// testModelFile plays writes, truncations, flushes and reopenings of one file against a byte array.
func testModelFile(t *testing.T, fs Tree) {
	r := newRand(t)
	var model []byte
	f, err := fs.Open("f", Fresh)
	ok(t, "open", err)
	history := ""
	for range *stepsFlag {
		step := ""
		switch k := r.IntN(10); {
		case k < 5:
			off, n := offset(r), 1+r.IntN(3000)
			if r.IntN(20) == 0 {
				n = 1 + r.IntN(300_000)
			}
			step = fmt.Sprintf("write %d at %d", n, off)
			data := Bytes(r.Uint64(), n)
			if grow := off + n - len(model); grow > 0 {
				model = append(model, make([]byte, grow)...)
			}
			copy(model[off:], data)
			_, err = f.WriteAt(data, int64(off))
		case k < 6:
			n := offset(r)
			step = fmt.Sprintf("truncate %d", n)
			if n <= len(model) {
				model = slices.Clone(model[:n])
			} else {
				model = append(model, make([]byte, n-len(model))...)
			}
			err = f.Truncate(int64(n))
		case k < 7:
			step = "sync"
			err = f.Sync()
		case k < 8:
			step = "reopen"
			err = f.Close()
			if err == nil {
				f, err = fs.Open("f", Update)
			}
		default:
			off, n := offset(r), 1+r.IntN(5000)
			step = fmt.Sprintf("read %d at %d", n, off)
			p := make([]byte, n)
			got, _ := f.ReadAt(p, int64(off))
			want := model[min(off, len(model)):min(off+n, len(model))]
			same(t, history+step, p[:got], want)
		}
		history += step + "; "
		ok(t, history, err)
	}
	same(t, history+"at the end", readAll(t, f), model)
	ok(t, "close", f.Close())
	same(t, history+"after closing", read(t, fs, "f"), model)
}

// offset favours the borders of blocks and pages.
func offset(r *rand.Rand) int {
	switch r.IntN(4) {
	case 0:
		return r.IntN(40) * 512
	case 1:
		return max(0, r.IntN(40)*512+r.IntN(3)-1)
	case 2:
		return r.IntN(8)*4096 + r.IntN(5)
	}
	return r.IntN(200_000)
}

// testModelTree plays changes of names against a map.
func testModelTree(t *testing.T, fs Tree) {
	r := newRand(t)
	files := map[string]string{} // path to content
	dirs := []string{"a", "b", "a/c"}
	for _, d := range dirs {
		ok(t, "mkdir", fs.Mkdir(d))
	}
	pick := func() string { return fmt.Sprintf("%s/%d", dirs[r.IntN(len(dirs))], r.IntN(6)) }
	for i := range *stepsFlag {
		p, q := pick(), pick()
		old, there := files[p]
		what, expect := "", true
		var err error
		switch r.IntN(5) {
		case 0, 1:
			what = "write " + p
			files[p] = fmt.Sprint(i)
			write(t, fs, p, []byte(files[p]))
		case 2:
			what, expect = "remove "+p, there
			err = fs.Remove(p)
			delete(files, p)
		case 3:
			what, expect = "rename "+p+" to "+q, there
			err = fs.Rename(p, q)
			if there {
				delete(files, p)
				files[q] = old
			}
		case 4:
			what = "read " + p
			if !there {
				_, err = fs.Stat(p)
				expect = false
			} else {
				same(t, what, read(t, fs, p), []byte(old))
			}
		}
		if expect {
			ok(t, what, err)
		} else {
			want(t, what, err, fault.NotExist)
		}
	}
	var got []string
	for _, d := range dirs {
		names, err := fs.List(d)
		ok(t, "list", err)
		for _, n := range names {
			if p := d + "/" + n; p != "a/c" {
				got = append(got, p)
				same(t, p, read(t, fs, p), []byte(files[p]))
			}
		}
	}
	if len(got) != len(files) {
		t.Fatalf("listed %d files, want %d", len(got), len(files))
	}
}
