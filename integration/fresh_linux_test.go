package integration

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"dfs/integration/harness"
)

// kernels runs a test on the path of this kernel and on the one for kernels before 6.16.
func kernels(t *testing.T, run func(t *testing.T, o harness.Options)) {
	t.Run("this kernel", func(t *testing.T) { run(t, harness.Options{}) })
	t.Run("old kernel", func(t *testing.T) { run(t, harness.Options{Env: oldKernel}) })
}

// content makes n bytes that depend on seed.
func content(seed uint64, n int) []byte {
	r := rand.NewChaCha8([32]byte{byte(seed), byte(seed >> 8), byte(seed >> 16), byte(seed >> 24)})
	b := make([]byte, n)
	r.Read(b)
	return b
}

// When a close has returned on one mount, a stat, a read and a listing on another know of it.
func TestFreshness(t *testing.T) {
	kernels(t, func(t *testing.T, o harness.Options) {
		c := harness.Start(t, 3, o)
		rounds := 1000
		if harness.Soak() {
			rounds = 10_000
		}
		stale := 0
		complain := func(round int, format string, args ...any) {
			if stale++; stale <= 10 {
				t.Errorf("round %d: %s", round, fmt.Sprintf(format, args...))
			}
		}
		names := []string{}
		for i := range rounds {
			w, r := c.Peer(i%3+1), c.Peer((i+1+i/3%2)%3+1)
			name := fmt.Sprintf("f%d", i%40)
			want := content(uint64(i), 1+i*37%9000)
			if err := os.WriteFile(w.Path(name), want, 0o644); err != nil {
				t.Fatalf("round %d: %v", i, err)
			}
			if !slices.Contains(names, name) {
				names = append(names, name)
			}
			if info, err := os.Stat(r.Path(name)); err != nil || info.Size() != int64(len(want)) {
				complain(i, "stat: %v, want %d bytes, %v", info, len(want), err)
			}
			if got, err := os.ReadFile(r.Path(name)); err != nil || !bytes.Equal(got, want) {
				complain(i, "read %d bytes that differ from the %d written, %v", len(got), len(want), err)
			}
			switch i % 10 {
			case 4: // gone everywhere
				if err := os.Remove(w.Path(name)); err != nil {
					t.Fatal(err)
				}
				names = slices.DeleteFunc(names, func(n string) bool { return n == name })
				if _, err := os.Stat(r.Path(name)); !errors.Is(err, fs.ErrNotExist) {
					complain(i, "stat after remove: %v", err)
				}
			case 5: // a hole in pages that the other has
				hole := int64(len(want) / 2)
				punch(t, w.Path(name), hole)
				clear(want[:hole])
				if got, err := os.ReadFile(r.Path(name)); err != nil || !bytes.Equal(got, want) {
					complain(i, "after a hole of %d bytes: %d bytes, or others, %v", hole, len(got), err)
				}
			case 6: // blocks of another file in their place
				if i%50 != 6 {
					break
				}
				if err := os.WriteFile(w.Path("large"), content(uint64(i), 2<<20), 0o644); err != nil {
					t.Fatal(err)
				}
				if err := copyOver(w.Path("large"), w.Path(name)); err != nil {
					t.Fatal(err)
				}
				if got, err := os.ReadFile(r.Path(name)); err != nil || !bytes.Equal(got, content(uint64(i), 2<<20)) {
					complain(i, "after a copy: %d bytes, or others, %v", len(got), err)
				}
				if err := os.Remove(r.Path("large")); err != nil {
					t.Fatal(err)
				}
			case 7: // its new name at once
				to := name + "x"
				if err := os.Rename(w.Path(name), w.Path(to)); err != nil {
					t.Fatal(err)
				}
				_, errOld := os.Stat(r.Path(name))
				info, errNew := os.Stat(r.Path(to))
				if !errors.Is(errOld, fs.ErrNotExist) || errNew != nil || info.Size() != int64(len(want)) {
					complain(i, "after rename: old %v, new %v", errOld, errNew)
				}
				if err := os.Rename(r.Path(to), r.Path(name)); err != nil {
					t.Fatal(err)
				}
			}
			entries, err := os.ReadDir(r.Path())
			if err != nil {
				t.Fatal(err)
			}
			var listed []string
			for _, e := range entries {
				listed = append(listed, e.Name())
			}
			slices.Sort(names)
			if !slices.Equal(listed, names) {
				complain(i, "listed %v, want %v", listed, names)
			}
		}
		if stale > 0 {
			t.Errorf("%d stale answers in %d rounds", stale, rounds)
		}
	})
}

// punch makes a hole at the start of a file.
func punch(t *testing.T, path string, n int64) {
	t.Helper()
	if n == 0 {
		return
	}
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err == nil {
		err = errors.Join(unix.Fallocate(int(f.Fd()), unix.FALLOC_FL_PUNCH_HOLE|unix.FALLOC_FL_KEEP_SIZE, 0, n), f.Close())
	}
	if err != nil {
		t.Fatal(err)
	}
}

// copyOver copies a file over another that is there, within the drive.
func copyOver(from, to string) error {
	src, err := os.Open(from)
	if err != nil {
		return err
	}
	defer src.Close()
	dst, err := os.OpenFile(to, os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	for n := 1; n > 0 && err == nil; { // both offsets move
		n, err = unix.CopyFileRange(int(src.Fd()), nil, int(dst.Fd()), nil, 1<<30, 0)
	}
	return errors.Join(err, dst.Close())
}

// Two mounts create and remove in one directory as fast as they can. Both go on, no answer is stale, and an exclusive
// create has one winner.
func TestContention(t *testing.T) {
	kernels(t, func(t *testing.T, o harness.Options) {
		c := harness.Start(t, 3, o)
		length := 5 * time.Second
		if harness.Soak() {
			length = 2 * time.Minute
		}
		ctx, cancel := context.WithTimeout(t.Context(), length)
		defer cancel()
		dir := "busy"
		if err := os.Mkdir(c.Peer(1).Path(dir), 0o755); err != nil {
			t.Fatal(err)
		}
		var holders atomic.Int32
		var done [2]atomic.Int64
		var work sync.WaitGroup
		for k := range 2 {
			own, other := c.Peer(k+1), c.Peer(2-k)
			work.Go(func() { // names of its own, looked at through the other mount
				for i := 0; ctx.Err() == nil; i++ {
					name := fmt.Sprintf("%d-%d", k, i%8)
					if err := os.WriteFile(own.Path(dir, name), []byte(name), 0o644); err != nil {
						t.Errorf("create %s: %v", name, err)
						return
					}
					if got, err := os.ReadFile(other.Path(dir, name)); err != nil || string(got) != name {
						t.Errorf("the other mount reads %q, %v instead of %q", got, err, name)
						return
					}
					if err := os.Remove(own.Path(dir, name)); err != nil {
						t.Errorf("remove %s: %v", name, err)
						return
					}
					if _, err := os.Lstat(other.Path(dir, name)); !errors.Is(err, fs.ErrNotExist) {
						t.Errorf("the other mount still has %s: %v", name, err)
						return
					}
					done[k].Add(1)
				}
			})
			work.Go(func() { // one name that both want
				path := own.Path(dir, "lock")
				for ctx.Err() == nil {
					f, err := os.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o644)
					if errors.Is(err, fs.ErrExist) {
						continue
					}
					if err != nil {
						t.Errorf("exclusive create: %v", err)
						return
					}
					if n := holders.Add(1); n != 1 {
						t.Errorf("%d mounts made the same file", n)
					}
					f.Close()
					holders.Add(-1)
					if err := os.Remove(path); err != nil {
						t.Errorf("remove of the lock: %v", err)
						return
					}
				}
			})
		}
		work.Wait()
		for k := range done {
			n := done[k].Load()
			t.Logf("mount %d: %d rounds in %v", k+1, n, length)
			if n < 3 { // a conflict on an old kernel costs 0.3 s, and a round has several
				t.Errorf("mount %d made %d rounds in %v: that is no progress", k+1, n, length)
			}
		}
		if left, err := os.ReadDir(c.Peer(3).Path(dir)); err != nil || len(left) > 0 && !t.Failed() {
			t.Errorf("left over: %v, %v", left, err)
		}
	})
}

func TestSizes(t *testing.T) {
	c := harness.Start(t, 3, harness.Options{})
	for i, n := range []int{0, 1, 511, 512, 513, 4095, 4096, 4097, 4<<20 - 1, 4 << 20, 4<<20 + 1} {
		t.Run(fmt.Sprint(n), func(t *testing.T) {
			w, r := c.Peer(i%3+1), c.Peer((i+1)%3+1)
			name, want := fmt.Sprintf("size-%d", n), content(uint64(n), n)
			if err := os.WriteFile(w.Path(name), want, 0o644); err != nil {
				t.Fatal(err)
			}
			for _, p := range []*harness.Peer{w, r} {
				if got, err := os.ReadFile(p.Path(name)); err != nil || !bytes.Equal(got, want) {
					t.Fatalf("read %d bytes that differ, %v", len(got), err)
				}
			}
			// Its head is overwritten from the other mount; the rest stays.
			f, err := os.OpenFile(r.Path(name), os.O_WRONLY, 0)
			if err != nil {
				t.Fatal(err)
			}
			head := content(uint64(n)+1, min(n, 100)+1)
			if _, err := f.WriteAt(head, 0); err != nil {
				t.Fatal(err)
			}
			if err := f.Close(); err != nil {
				t.Fatal(err)
			}
			want = append(head, want[min(len(head), len(want)):]...)
			if got, err := os.ReadFile(w.Path(name)); err != nil || !bytes.Equal(got, want) {
				t.Fatalf("after an overwrite of the head: %d bytes that differ from %d, %v", len(got), len(want), err)
			}
		})
	}
}
