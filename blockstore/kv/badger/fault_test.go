package badger

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"dfs/cluster/fault"
)

// On a disk that is nearly full a commit is refused and nothing has happened; with space again it succeeds.
func TestSpare(t *testing.T) {
	free := int64(10 << 20)
	s := open(t, t.TempDir(), Options{Free: func() (int64, error) { return free, nil }, Spare: 8 << 20})
	commit(t, s, 1)
	free = 8<<20 - 1
	x := s.Begin(2)
	if err := x.Set([]byte("k"), []byte("v")); err != nil {
		t.Fatal(err)
	}
	if err := x.Commit(); fault.KindOf(err) != fault.NoSpace {
		t.Fatal(err)
	}
	x.Close()
	if s.Newest() != 1 {
		t.Fatalf("newest %d", s.Newest())
	}
	free++
	commit(t, s, 2)
}

// Tables that cannot be written: the store takes no more commits instead of waiting for ever, and closes at once. What
// was committed is there when it is opened again.
func TestFlushFails(t *testing.T) {
	dir, err := os.MkdirTemp("", "dfs-badger")
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(dir) // of which badger may still be writing something
	o := Options{MemtableBytes: 1 << 20}
	s := open(t, dir, o)
	for i := range 100 { // where its first tables would go
		if err := os.Mkdir(filepath.Join(s.gen.dir, fmt.Sprintf("%06d.sst", i+1)), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	var last uint64
	for end := time.Now().Add(30 * time.Second); err == nil; last++ {
		if time.Now().After(end) {
			t.Fatal("nobody noticed")
		}
		x := s.Begin(last + 1)
		if err := x.Set([]byte("k"), make([]byte, 60<<10)); err != nil {
			t.Fatal(err)
		}
		err = x.Commit()
		x.Close()
	}
	last--
	if fault.KindOf(err) != fault.ReadOnly {
		t.Fatalf("%v, want read-only", err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	left := mustCopy(t, dir) // the goroutines of the first one live on
	stale, _ := filepath.Glob(filepath.Join(left, "*", "*.sst"))
	for _, d := range stale {
		os.Remove(d)
	}
	again := open(t, left, o)
	if n := again.Newest(); n != last && n != last+1 { // the one that failed may have happened
		t.Errorf("newest %d, committed %d", n, last)
	}
}
