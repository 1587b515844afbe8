package fstest

import (
	"bytes"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

var opsFlag = flag.Int("fstest.ops", 0, "operations of RunRandom; 0 leaves it to the test")

// Random is a history for RunRandom: Ops operations made of Seed, on a file system that is to be seen in Dirs.
type Random struct {
	Seed uint64
	Ops  int
	Dirs []string
}

const randomVar = "FSTEST_RANDOM"

// RunRandom plays random operations on a few files and compares every answer with byte arrays: reads, writes, appends, truncations,
// writes through maps, holes, copies, renames, reopenings, from each of dirs in turn. The dirs show one file system, in which close makes
// visible what was written. Whoever calls it calls Child in TestMain.
func RunRandom(t *testing.T, ops int, dirs ...string) {
	r := Random{Seed: *seedFlag, Ops: ops, Dirs: dirs}
	if r.Seed == 0 {
		r.Seed = uint64(time.Now().UnixNano())
	}
	if *opsFlag > 0 {
		r.Ops = *opsFlag
	}
	t.Logf("-fstest.seed=%d -fstest.ops=%d", r.Seed, r.Ops)
	arg, err := json.Marshal(r)
	ok(t, "encode", err)
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), randomVar+"="+string(arg))
	begun := time.Now()
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	t.Logf("%d operations in %v", r.Ops, time.Since(begun).Round(time.Millisecond))
}

// randomChild plays a history, where this process was started for that.
func randomChild(arg string) error {
	var r Random
	if err := json.Unmarshal([]byte(arg), &r); err != nil {
		return err
	}
	w := &world{Random: r, r: rand.New(rand.NewPCG(r.Seed, 1)), files: map[string]*modelled{}}
	return w.run()
}

const (
	randomFiles = 6
	randomMax   = 1 << 20 // bytes of a file, about
	turnMax     = 200     // operations in a row from one directory
)

// world is a file system and what it should be.
type world struct {
	Random
	r     *rand.Rand
	at    int // the directory whose turn it is
	files map[string]*modelled
}

// modelled is a file: what it should hold, and who has it open where.
type modelled struct {
	data []byte
	open []*os.File // by directory; nil: not open there
	past []string   // what was done to it last
}

func (w *world) run() error {
	defer func() {
		for _, m := range w.files {
			for i := range w.Dirs {
				_ = m.close(i)
			}
		}
	}()
	left := 0
	for n := range w.Ops {
		if left--; left < 0 {
			left = w.r.IntN(turnMax)
			if err := w.turn(); err != nil {
				return fmt.Errorf("seed %d, turn before operation %d: %w", w.Seed, n, err)
			}
		}
		if err := w.step(n); err != nil {
			return fmt.Errorf("seed %d, operation %d: %w", w.Seed, n, err)
		}
	}
	return w.turn()
}

// turn makes visible what was written, goes to another directory, and looks at everything there.
func (w *world) turn() error {
	if err := w.leave(); err != nil {
		return err
	}
	w.at = w.r.IntN(len(w.Dirs))
	entries, err := os.ReadDir(w.Dirs[w.at])
	if err != nil {
		return err
	}
	if len(entries) != len(w.files) {
		return fmt.Errorf("%d files in directory %d, want %d", len(entries), w.at, len(w.files))
	}
	for name, m := range w.files {
		if w.r.IntN(3) > 0 {
			continue
		}
		fi, err := os.Stat(w.path(name))
		if err != nil {
			return m.fail("stat", err)
		}
		if fi.Size() != int64(len(m.data)) {
			return m.fail("stat", fmt.Errorf("size %d in directory %d, want %d", fi.Size(), w.at, len(m.data)))
		}
		if err := w.read(m, name, 0, len(m.data)+1); err != nil {
			return err
		}
	}
	return nil
}

// leave closes what is open in the directory whose turn it was, all at once.
func (w *world) leave() error {
	var closes sync.WaitGroup
	errs := make([]error, 0, randomFiles)
	for _, m := range w.files {
		errs = append(errs, nil)
		failed := &errs[len(errs)-1]
		closes.Go(func() {
			if err := m.close(w.at); err != nil {
				*failed = m.fail("close", err)
			}
		})
	}
	closes.Wait()
	return errors.Join(errs...)
}

func (w *world) path(name string) string { return filepath.Join(w.Dirs[w.at], name) }

func (m *modelled) fail(what string, err error) error {
	return fmt.Errorf("%s: %w\n%s", what, err, fmt.Sprintf("%q", m.past))
}

func (m *modelled) close(dir int) error {
	f := m.open[dir]
	m.open[dir] = nil
	if f == nil {
		return nil
	}
	return f.Close()
}

// handle returns the file open in the directory whose turn it is.
func (w *world) handle(m *modelled, name string) (*os.File, error) {
	if f := m.open[w.at]; f != nil {
		return f, nil
	}
	f, err := os.OpenFile(w.path(name), os.O_RDWR, 0)
	if err == nil {
		m.open[w.at] = f
	}
	return f, err
}

func (w *world) offset(max int) int {
	off := offset(w.r)
	if w.r.IntN(50) == 0 {
		off = w.r.IntN(randomMax)
	}
	if max > 0 {
		off %= max
	}
	return off
}

// length is that of one operation.
func (w *world) length() int {
	if w.r.IntN(20) == 0 {
		return 1 + w.r.IntN(200_000)
	}
	return 1 + w.r.IntN(6000)
}

// step does one operation.
func (w *world) step(n int) error {
	name := fmt.Sprint("f", w.r.IntN(randomFiles))
	m := w.files[name]
	if m == nil {
		return w.create(name)
	}
	f, err := w.handle(m, name)
	if err != nil {
		return m.fail("open", err)
	}
	off, size := w.offset(0), w.length()
	note := func(what string, args ...any) {
		if len(m.past) > 30 {
			m.past = m.past[10:]
		}
		m.past = append(m.past, fmt.Sprintf("%d@%d ", n, w.at)+fmt.Sprintf(what, args...))
	}
	switch k := w.r.IntN(100); {
	case k < 32:
		note("write %d at %d", size, off)
		_, err = f.WriteAt(m.put(w.r.Uint64(), off, size), int64(off))
	case k < 64:
		note("read %d at %d", size, off)
		return w.read(m, name, off, size)
	case k < 68:
		off = w.offset(len(m.data) + 1000)
		note("truncate %d", off)
		m.truncate(off)
		err = f.Truncate(int64(off))
	case k < 72:
		note("append %d", size)
		err = w.append(m, name, size)
	case k < 82 && len(m.data) > 0:
		off = w.r.IntN(len(m.data))
		size = min(size, len(m.data)-off)
		note("map and write %d at %d", size, off)
		p := m.put(w.r.Uint64(), off, size)
		err = viaMap(f, off, size, w.r.IntN(8) == 0, func(at []byte) { copy(at, p) })
	case k < 85:
		note("punch %d at %d", size, off)
		err = m.punch(f, off, size)
	case k < 88:
		return w.copy(m, f, note)
	case k < 89:
		note("fsync")
		err = f.Sync()
	case k < 92:
		note("reopen")
		err = m.close(w.at)
	case k < 93:
		return w.rename(m, name, note)
	case k < 94:
		note("unlink")
		delete(w.files, name)
		err = errors.Join(os.Remove(w.path(name)), m.closeAll())
	default:
		note("stat")
		fi, serr := os.Stat(w.path(name))
		if err = serr; err == nil && fi.Size() != int64(len(m.data)) {
			err = fmt.Errorf("size %d, want %d", fi.Size(), len(m.data))
		}
	}
	if err != nil {
		return m.fail("last of these", err)
	}
	return nil
}

func (w *world) create(name string) error {
	f, err := os.OpenFile(w.path(name), os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o644)
	if err != nil {
		return err
	}
	m := &modelled{open: make([]*os.File, len(w.Dirs))}
	m.open[w.at] = f
	w.files[name] = m
	return nil
}

func (m *modelled) closeAll() (err error) {
	for i := range m.open {
		err = errors.Join(err, m.close(i))
	}
	return err
}

// put writes into the model, and returns what it wrote.
func (m *modelled) put(seed uint64, off, size int) []byte {
	p := Bytes(seed, size)
	if grow := off + size - len(m.data); grow > 0 {
		m.data = append(m.data, make([]byte, grow)...)
	}
	copy(m.data[off:], p)
	return p
}

func (m *modelled) truncate(size int) {
	if size <= len(m.data) {
		m.data = slices.Clone(m.data[:size])
	} else {
		m.data = append(m.data, make([]byte, size-len(m.data))...)
	}
}

// read compares a range, by read(2) or through a map.
func (w *world) read(m *modelled, name string, off, size int) error {
	f, err := w.handle(m, name)
	if err != nil {
		return m.fail("open", err)
	}
	want := m.data[min(off, len(m.data)):min(off+size, len(m.data))]
	got := make([]byte, size)
	if k, err := f.ReadAt(got, int64(off)); err != nil && err != io.EOF {
		return m.fail("read", err)
	} else {
		got = got[:k]
	}
	if len(want) > 0 && w.r.IntN(4) == 0 {
		if err := viaMap(f, off, len(want), false, func(p []byte) { got = bytes.Clone(p) }); err != nil {
			return m.fail("map", err)
		}
	}
	if !bytes.Equal(got, want) {
		at := 0
		for at < min(len(got), len(want)) && got[at] == want[at] {
			at++
		}
		return m.fail("read", fmt.Errorf("%d bytes of %d at %d in directory %d, want %d; they differ at %d", len(got), size, off, w.at, len(want), off+at))
	}
	return nil
}

func (w *world) append(m *modelled, name string, size int) error {
	if len(m.data) > 2*randomMax {
		return nil
	}
	f, err := os.OpenFile(w.path(name), os.O_WRONLY|os.O_APPEND, 0)
	if err != nil {
		return err
	}
	_, err = f.Write(m.put(w.r.Uint64(), len(m.data), size))
	return errors.Join(err, f.Close())
}

// viaMap maps [off, off+size) of a file, shared, for call, and syncs it then or leaves that to the close.
func viaMap(f *os.File, off, size int, sync bool, call func(p []byte)) error {
	const page = 4096
	from := off &^ (page - 1)
	p, err := unix.Mmap(int(f.Fd()), int64(from), off+size-from, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
	if err != nil {
		return err
	}
	call(p[off-from:])
	if sync {
		err = unix.Msync(p, unix.MS_SYNC)
	}
	return errors.Join(err, unix.Munmap(p))
}

// punch makes a hole, where holes can be made.
func (m *modelled) punch(f *os.File, off, size int) error {
	err := unix.Fallocate(int(f.Fd()), unix.FALLOC_FL_PUNCH_HOLE|unix.FALLOC_FL_KEEP_SIZE, int64(off), int64(size))
	if err == nil && off < len(m.data) {
		clear(m.data[off:min(off+size, len(m.data))])
	}
	return err
}

// copy copies a range from one file to another, or within one.
func (w *world) copy(m *modelled, f *os.File, note func(string, ...any)) error {
	to := fmt.Sprint("f", w.r.IntN(randomFiles))
	t := w.files[to]
	if t == nil || t == m || len(m.data) == 0 {
		return nil
	}
	g, err := w.handle(t, to)
	if err != nil {
		return t.fail("open", err)
	}
	from, off := int64(w.r.IntN(len(m.data))), int64(w.offset(0))
	size := min(w.length(), len(m.data)-int(from))
	note("copy %d at %d to %s at %d", size, from, to, off)
	t.past = append(t.past, m.past[len(m.past)-1])
	p := slices.Clone(m.data[from:][:size])
	if grow := int(off) + size - len(t.data); grow > 0 {
		t.data = append(t.data, make([]byte, grow)...)
	}
	copy(t.data[off:], p)
	for size > 0 {
		n, err := unix.CopyFileRange(int(f.Fd()), &from, int(g.Fd()), &off, size, 0)
		if err != nil || n == 0 {
			return t.fail("copy", errors.Join(err, fmt.Errorf("%d bytes are left", size)))
		}
		size -= n
	}
	return nil
}

// rename moves a file over another, or to a new name.
func (w *world) rename(m *modelled, name string, note func(string, ...any)) error {
	to := fmt.Sprint("f", w.r.IntN(randomFiles))
	note("rename %s to %s", name, to)
	if err := os.Rename(w.path(name), w.path(to)); err != nil {
		return m.fail("rename", err)
	}
	if to == name {
		return nil
	}
	delete(w.files, name)
	if old := w.files[to]; old != nil {
		if err := old.closeAll(); err != nil {
			return old.fail("close", err)
		}
	}
	w.files[to] = m
	return nil
}
