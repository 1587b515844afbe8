package disk

import (
	"io"
	"maps"
	"math/rand/v2"
	"os"
	"slices"
	"sync"

	"dfs/cluster/fault"
)

// Sector is the unit in which a loss of power tears.
const Sector = 512

// Memory is a Disk in memory that models the end of a process, a loss of power and a failed sync, for tests and
// simulators. With the same calls and the same random numbers it does the same.
type Memory struct {
	mu     sync.Mutex
	now    map[string]*inode // the names a process sees
	safe   map[string]*inode // the names that were synced
	locked bool
	era    int // counts cuts: what was opened in an earlier one is dead
}

var _ Disk = (*Memory)(nil)

// NewMemory returns an empty disk.
func NewMemory() *Memory { return &Memory{now: map[string]*inode{}, safe: map[string]*inode{}} }

// inode is the bytes of a file. Where a sector of now differs from disk, it is dirty, or a failed sync has lost it.
type inode struct {
	now   []byte // what a process reads
	disk  []byte // what was written out
	dirty map[int]bool
}

// Cut ends the process that uses the disk: files that are open are dead and the lock is free. Nil rng leaves what the
// system remembers (the process was killed). Otherwise the machine lost its power: every dirty sector, size and name is as
// it was synced or newer, as rng draws.
func (m *Memory) Cut(rng *rand.Rand) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.era++
	m.locked = false
	if rng == nil {
		return
	}
	names := slices.Sorted(maps.Keys(m.now))
	for _, n := range slices.Sorted(maps.Keys(m.safe)) {
		if m.now[n] == nil {
			names = append(names, n)
		}
	}
	after := map[string]*inode{}
	for _, n := range names {
		i := m.now[n]
		if i != m.safe[n] && rng.IntN(2) == 0 {
			i = m.safe[n]
		}
		if i != nil {
			after[n] = i.survivor(rng)
		}
	}
	m.now, m.safe = after, maps.Clone(after)
}

// survivor returns the file that is found after a loss of power.
func (i *inode) survivor(rng *rand.Rand) *inode {
	size := len(i.disk)
	if n := len(i.now); n != size {
		low := min(size, n)
		size = low + rng.IntN(max(size, n)-low+1)
	}
	data := make([]byte, size)
	copy(data, i.disk)
	for _, s := range slices.Sorted(maps.Keys(i.dirty)) {
		at := s * Sector
		if end := min(at+Sector, size, len(i.now)); at < end && rng.IntN(2) == 0 {
			copy(data[at:end], i.now[at:end])
		}
	}
	return &inode{now: data, disk: slices.Clone(data), dirty: map[int]bool{}}
}

// Flip inverts one bit of a file, on the disk too: rot.
func (m *Memory) Flip(name string, off int64, bit uint) {
	m.mu.Lock()
	defer m.mu.Unlock()
	i := m.now[name]
	if i == nil {
		return
	}
	for _, b := range [][]byte{i.now, i.disk} {
		if off < int64(len(b)) {
			b[off] ^= 1 << (bit % 8)
		}
	}
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
		return nil, fault.New("lock directory", fault.Busy, "in use")
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

// Names implements Disk.
func (m *Memory) Names() ([]string, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return slices.Sorted(maps.Keys(m.now)), nil
}

// Open implements Disk.
func (m *Memory) Open(name string, create bool) (File, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	i := m.now[name]
	if i == nil {
		if !create {
			return nil, os.ErrNotExist
		}
		i = &inode{dirty: map[int]bool{}}
		m.now[name] = i
	}
	return &memFile{m, i, m.era}, nil
}

// Remove implements Disk.
func (m *Memory) Remove(name string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.now[name] == nil {
		return os.ErrNotExist
	}
	delete(m.now, name)
	return nil
}

// Sync implements Disk.
func (m *Memory) Sync() error {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.safe = maps.Clone(m.now)
	return nil
}

// memFile is an inode that was opened in an era.
type memFile struct {
	m   *Memory
	i   *inode
	era int
}

// lock takes the disk's lock, unless the file is dead.
func (f *memFile) lock() error {
	f.m.mu.Lock()
	if f.era != f.m.era {
		f.m.mu.Unlock()
		return os.ErrClosed
	}
	return nil
}

func (f *memFile) ReadAt(p []byte, off int64) (int, error) {
	if err := f.lock(); err != nil {
		return 0, err
	}
	defer f.m.mu.Unlock()
	if off >= int64(len(f.i.now)) {
		return 0, io.EOF
	}
	n := copy(p, f.i.now[off:])
	if n < len(p) {
		return n, io.EOF
	}
	return n, nil
}

func (f *memFile) WriteAll(off int64, parts ...[]byte) error {
	if err := f.lock(); err != nil {
		return err
	}
	defer f.m.mu.Unlock()
	for _, p := range parts {
		f.i.grow(off + int64(len(p)))
		copy(f.i.now[off:], p)
		f.i.touch(off, off+int64(len(p)))
		off += int64(len(p))
	}
	return nil
}

// grow makes the file at least size bytes long. What the disk holds there is void.
func (i *inode) grow(size int64) {
	was := int64(len(i.now))
	if was >= size {
		return
	}
	i.now = append(i.now, make([]byte, size-was)...)
	i.touch(was, min(size, int64(len(i.disk))))
}

// touch marks what lies in [from, to) as dirty.
func (i *inode) touch(from, to int64) {
	for s := from / Sector; s*Sector < to; s++ {
		i.dirty[int(s)] = true
	}
}

func (f *memFile) Truncate(size int64) error {
	if err := f.lock(); err != nil {
		return err
	}
	defer f.m.mu.Unlock()
	f.i.grow(size)
	f.i.now = f.i.now[:size:size]
	return nil
}

func (f *memFile) Allocate(size int64) error {
	if err := f.lock(); err != nil {
		return err
	}
	defer f.m.mu.Unlock()
	f.i.grow(size)
	return nil
}

func (f *memFile) Size() (int64, error) {
	if err := f.lock(); err != nil {
		return 0, err
	}
	defer f.m.mu.Unlock()
	return int64(len(f.i.now)), nil
}

func (f *memFile) Sync() error {
	if err := f.lock(); err != nil {
		return err
	}
	defer f.m.mu.Unlock()
	f.i.sync()
	return nil
}

func (i *inode) sync() {
	switch size := len(i.now); {
	case len(i.disk) > size:
		i.disk = i.disk[:size:size]
	case len(i.disk) < size:
		i.disk = append(i.disk, make([]byte, size-len(i.disk))...)
	}
	for s := range i.dirty {
		if at := s * Sector; at < len(i.now) {
			copy(i.disk[at:min(at+Sector, len(i.disk))], i.now[at:])
		}
	}
	clear(i.dirty)
}

// lose is what a failed sync does: the sectors are not written, and no later sync will write them.
func (f *memFile) lose() {
	if f.lock() != nil {
		return
	}
	defer f.m.mu.Unlock()
	clear(f.i.dirty)
}

func (f *memFile) Refresh() error {
	if err := f.lock(); err != nil {
		return err
	}
	defer f.m.mu.Unlock()
	f.i.sync()
	f.i.now = slices.Clone(f.i.disk)
	return nil
}

func (f *memFile) Close() error { return nil }
