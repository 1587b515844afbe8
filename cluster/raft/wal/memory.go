package wal

import (
	"io"
	"maps"
	"math/rand/v2"
	"os"
	"slices"
	"sync"

	"dfs/cluster/fault"
)

// Memory is a Disk that models a loss of power and the failure of any call, for tests and simulators.
// Safe for concurrent use.
type Memory struct {
	// Fail, if set, is asked before each call that writes or syncs; an error from it is the call's. It is called
	// with no lock held that matters to it.
	Fail func(op string) error

	mu     sync.Mutex
	files  map[string]*memFile // as the running process sees it
	synced map[string]*memFile // the names that would survive
	locked bool
	era    int // counts cuts: files of an earlier era are dead
}

// NewMemory returns an empty disk.
func NewMemory() *Memory {
	return &Memory{files: map[string]*memFile{}, synced: map[string]*memFile{}}
}

const sector = 512

// Cut loses power: every sector written since its file was last synced is there or not, as rng draws, and every name
// made or removed since the directory was. Files that were open are dead. Nil rng keeps all: the process was killed.
func (m *Memory) Cut(rng *rand.Rand) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.era++
	m.locked = false
	if rng != nil {
		names := slices.Sorted(maps.Keys(m.files))
		for _, name := range slices.Sorted(maps.Keys(m.synced)) {
			if _, ok := m.files[name]; !ok {
				names = append(names, name)
			}
		}
		after := map[string]*memFile{}
		for _, name := range names {
			now, old := m.files[name], m.synced[name]
			if now != old && rng.IntN(2) == 0 {
				now = old
			}
			if now != nil {
				after[name] = now
			}
		}
		m.files = after
	}
	for _, name := range slices.Sorted(maps.Keys(m.files)) {
		m.files[name] = m.files[name].survive(m, rng)
	}
	m.synced = maps.Clone(m.files)
}

// Flip inverts one bit of a file: rot.
func (m *Memory) Flip(name string, off int64, bit uint) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if f := m.files[name]; f != nil && off < int64(len(f.now)) {
		f.now[off] ^= 1 << (bit % 8)
		if off < int64(len(f.disk)) {
			f.disk[off] ^= 1 << (bit % 8)
		}
	}
}

func (m *Memory) fail(op string) error {
	if m.Fail == nil {
		return nil
	}
	return m.Fail(op)
}

type memLock struct {
	m   *Memory
	era int
}

// Lock implements Disk.
func (m *Memory) Lock() (io.Closer, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.locked {
		return nil, fault.New("log open", fault.Busy, "in use")
	}
	m.locked = true
	return memLock{m, m.era}, nil
}

func (l memLock) Close() error {
	l.m.mu.Lock()
	defer l.m.mu.Unlock()
	if l.era == l.m.era {
		l.m.locked = false
	}
	return nil
}

// List implements Disk.
func (m *Memory) List() ([]string, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return slices.Sorted(maps.Keys(m.files)), nil
}

// Create implements Disk.
func (m *Memory) Create(name string, size int64) (File, error) {
	if err := m.fail("create"); err != nil {
		return nil, err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	f := &memFile{m: m, era: m.era, now: make([]byte, size)}
	m.files[name] = f
	return f, nil
}

// Open implements Disk.
func (m *Memory) Open(name string) (File, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	f := m.files[name]
	if f == nil {
		return nil, os.ErrNotExist
	}
	return f, nil
}

// Remove implements Disk.
func (m *Memory) Remove(name string) error {
	if err := m.fail("remove"); err != nil {
		return err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	delete(m.files, name)
	return nil
}

// SyncDir implements Disk.
func (m *Memory) SyncDir() error {
	if err := m.fail("syncdir"); err != nil {
		return err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.synced = maps.Clone(m.files)
	return nil
}

// memFile is what a file holds, and what of it is on the platter.
type memFile struct {
	m    *Memory
	era  int
	now  []byte
	disk []byte
}

// survive returns the file after a cut.
func (f *memFile) survive(m *Memory, rng *rand.Rand) *memFile {
	after := slices.Clone(f.now)
	if rng != nil {
		if len(f.disk) != len(after) && rng.IntN(2) == 0 {
			after = append(after[:min(len(f.disk), len(after))], make([]byte, max(0, len(f.disk)-len(after)))...)
		}
		for off := 0; off < len(after); off += sector {
			end := min(off+sector, len(after))
			old := make([]byte, sector)
			if off < len(f.disk) {
				copy(old, f.disk[off:])
			}
			if off < len(f.now) && slices.Equal(old[:end-off], after[off:end]) {
				continue
			}
			if rng.IntN(2) == 0 {
				copy(after[off:end], old)
			}
		}
	}
	return &memFile{m: m, era: m.era, now: after, disk: slices.Clone(after)}
}

func (f *memFile) dead() error {
	if f.era != f.m.era {
		return os.ErrClosed
	}
	return nil
}

// ReadAt implements File.
func (f *memFile) ReadAt(p []byte, off int64) (int, error) {
	f.m.mu.Lock()
	defer f.m.mu.Unlock()
	if err := f.dead(); err != nil {
		return 0, err
	}
	if off >= int64(len(f.now)) {
		return 0, io.EOF
	}
	n := copy(p, f.now[off:])
	if n < len(p) {
		return n, io.EOF
	}
	return n, nil
}

// WriteAt implements File.
func (f *memFile) WriteAt(p []byte, off int64) (int, error) {
	err := f.m.fail("write")
	f.m.mu.Lock()
	defer f.m.mu.Unlock()
	if dead := f.dead(); dead != nil {
		return 0, dead
	}
	if err != nil {
		p = p[:len(p)/2] // a failing write may have written some
	}
	if grow := int(off) + len(p) - len(f.now); grow > 0 {
		f.now = append(f.now, make([]byte, grow)...)
	}
	return copy(f.now[off:], p), err
}

// Zero implements File.
func (f *memFile) Zero(off, size int64) error {
	if err := f.m.fail("zero"); err != nil {
		return err
	}
	f.m.mu.Lock()
	defer f.m.mu.Unlock()
	f.now = append(slices.Clone(f.now[:off]), make([]byte, size-off)...)
	return f.dead()
}

// Size implements File.
func (f *memFile) Size() (int64, error) {
	f.m.mu.Lock()
	defer f.m.mu.Unlock()
	return int64(len(f.now)), f.dead()
}

// Sync implements File.
func (f *memFile) Sync() error {
	if err := f.m.fail("sync"); err != nil {
		return err
	}
	f.m.mu.Lock()
	defer f.m.mu.Unlock()
	f.disk = slices.Clone(f.now)
	return f.dead()
}

// Close implements File.
func (f *memFile) Close() error { return nil }
