package disk

import (
	"bytes"
	"errors"
	"io"
	"math/rand/v2"
	"os"
	"slices"
	"syscall"
	"testing"

	"dfs/cluster/fault"
)

func ok(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func content(t *testing.T, f File) []byte {
	t.Helper()
	n, err := f.Size()
	ok(t, err)
	b := make([]byte, n)
	if _, err := f.ReadAt(b, 0); err != nil && err != io.EOF {
		t.Fatal(err)
	}
	return b
}

// Every Disk does the same.
func TestContract(t *testing.T) {
	never := func(Op, string) error { return nil }
	for name, d := range map[string]Disk{
		"directory": Dir(t.TempDir()), "memory": NewMemory(), "no faults": Faulty(NewMemory(), never),
	} {
		t.Run(name, func(t *testing.T) {
			lock, err := d.Lock()
			ok(t, err)
			if _, err := d.Lock(); !errors.Is(err, fault.Busy) {
				t.Errorf("a second lock: %v", err)
			}
			if _, err := d.Open("f", false); !errors.Is(err, os.ErrNotExist) {
				t.Errorf("open of what is not there: %v", err)
			}
			f, err := d.Open("f", true)
			ok(t, err)
			want := []byte{0, 0, 0, 0, 0, 1, 2, 3, 4, 5}
			ok(t, f.WriteAll(5, []byte{1, 2}, nil, []byte{3, 4, 5}))
			ok(t, f.Allocate(4)) // long enough already
			if got := content(t, f); !bytes.Equal(got, want) {
				t.Errorf("wrote %v, read %v", want, got)
			}
			ok(t, f.Truncate(7))
			ok(t, f.Allocate(2000))
			want = append(append([]byte{}, want[:7]...), make([]byte, 1993)...)
			ok(t, f.Sync())
			ok(t, f.Refresh())
			if got := content(t, f); !bytes.Equal(got, want) {
				t.Errorf("after a truncation %d bytes, %v", len(got), got[:10])
			}
			if n, err := f.ReadAt(make([]byte, 10), 1995); n != 5 || err != io.EOF {
				t.Errorf("a read across the end: %d, %v", n, err)
			}
			ok(t, f.Close())
			again, err := d.Open("f", true)
			ok(t, err)
			if got := content(t, again); !bytes.Equal(got, want) {
				t.Errorf("opened again: %d bytes", len(got))
			}
			ok(t, again.Close())
			ok(t, d.Sync())
			names, err := d.Names()
			ok(t, err)
			if !slices.Contains(names, "f") {
				t.Errorf("names %q", names)
			}
			ok(t, d.Remove("f"))
			if err := d.Remove("f"); !errors.Is(err, os.ErrNotExist) {
				t.Errorf("removed twice: %v", err)
			}
			ok(t, lock.Close())
			lock, err = d.Lock()
			ok(t, err)
			ok(t, lock.Close())
		})
	}
}

// What was synced is there after a cut; what was not is old or new, sector by sector; every outcome happens.
func TestCut(t *testing.T) {
	seen := map[string]bool{}
	for seed := range uint64(200) {
		m := NewMemory()
		f, err := m.Open("f", true)
		ok(t, err)
		old, young := bytes.Repeat([]byte{1}, 3*Sector), bytes.Repeat([]byte{2}, 2*Sector)
		ok(t, f.WriteAll(0, old))
		ok(t, f.Sync())
		ok(t, m.Sync())
		ok(t, f.WriteAll(0, young))
		_, err = m.Open("g", true)
		ok(t, err)
		m.Cut(rand.New(rand.NewPCG(seed, 1)))
		if err := f.Sync(); !errors.Is(err, os.ErrClosed) {
			t.Fatalf("a file of before the cut: %v", err)
		}
		f, err = m.Open("f", false)
		ok(t, err)
		got := content(t, f)
		if len(got) != 3*Sector || !bytes.Equal(got[2*Sector:], old[2*Sector:]) {
			t.Fatal("what was synced is gone")
		}
		what := []byte{got[0], got[Sector], '-'}
		if _, err := m.Open("g", false); err == nil {
			what[2] = 'g'
		}
		seen[string(what)] = true
	}
	if len(seen) != 8 {
		t.Errorf("%d outcomes of 8: %v", len(seen), seen)
	}
}

// A process that was killed loses nothing, and makes nothing safe.
func TestKill(t *testing.T) {
	m := NewMemory()
	f, err := m.Open("f", true)
	ok(t, err)
	ok(t, f.WriteAll(0, make([]byte, Sector)))
	ok(t, f.Sync())
	ok(t, m.Sync())
	ok(t, f.WriteAll(0, bytes.Repeat([]byte{7}, Sector)))
	m.Cut(nil)
	f, err = m.Open("f", false)
	ok(t, err)
	if content(t, f)[0] != 7 {
		t.Fatal("a killed process took its bytes along")
	}
	lost := false
	for seed := range uint64(20) {
		c := &Memory{now: map[string]*inode{"f": m.now["f"]}, safe: map[string]*inode{"f": m.now["f"]}}
		c.Cut(rand.New(rand.NewPCG(seed, 1)))
		g, err := c.Open("f", false)
		ok(t, err)
		lost = lost || content(t, g)[0] == 0
	}
	if !lost {
		t.Error("the end of the process made its bytes safe")
	}
}

// After a failed sync the bytes are read as if they were there, a second sync is content, and a cut shows that they are
// not. Refresh tells the truth.
func TestFailedSync(t *testing.T) {
	m := NewMemory()
	bad := false
	d := Faulty(m, func(op Op, _ string) error {
		if op == Sync && bad {
			return syscall.EIO
		}
		return nil
	})
	f, err := d.Open("f", true)
	ok(t, err)
	ok(t, f.WriteAll(0, make([]byte, 100)))
	ok(t, f.Sync())
	ok(t, d.Sync())
	ok(t, f.WriteAll(0, []byte("written")))
	bad = true
	if err := f.Sync(); !errors.Is(err, syscall.EIO) {
		t.Fatal(err)
	}
	bad = false
	ok(t, f.Sync())
	if got := content(t, f); string(got[:7]) != "written" {
		t.Errorf("it reads %q", got[:7])
	}
	ok(t, f.Refresh())
	if got := content(t, f); got[0] != 0 {
		t.Errorf("refreshed it reads %q", got[:7])
	}
}

// A write that fails has written none, some or all of it.
func TestShortWrite(t *testing.T) {
	m := NewMemory()
	d := Faulty(m, func(op Op, _ string) error {
		if op == Write {
			return syscall.ENOSPC
		}
		return nil
	})
	var sizes []int
	for range 4 {
		f, err := d.Open("f", true)
		ok(t, err)
		ok(t, f.Truncate(0))
		if err := f.WriteAll(0, make([]byte, 20), make([]byte, 10)); fault.KindOf(Error("write", err)) != fault.NoSpace {
			t.Fatal(err)
		}
		sizes = append(sizes, len(content(t, f)))
	}
	slices.Sort(sizes)
	if !slices.Equal(sizes, []int{0, 10, 20, 30}) {
		t.Errorf("it wrote %v of 30 bytes", sizes)
	}
}
