package segment

import (
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"slices"
	"sync"
)

// disk is a Disk in memory with a power switch: it knows what was synced, and cut gives the disk that is found after
// the power failed, where each 512 bytes of what was not synced may be there or not.
type disk struct {
	mu      sync.Mutex
	rng     *rand.Rand
	files   map[string]*memFile
	durable map[string]*memFile // names that were synced
	calls   int                 // made so far
	failAt  int                 // the call that fails; 0: none
	fail    error
	offAt   int  // the call at which the power fails; 0: none
	off     bool // no power: every call fails
}

// memFile is one file: now, and as of its last sync.
type memFile struct {
	data, synced []byte
}

func newDisk(seed uint64) *disk {
	return &disk{rng: rand.New(rand.NewPCG(seed, 2)), files: map[string]*memFile{}, durable: map[string]*memFile{}}
}

// step counts a call and fails it if it is its turn.
func (d *disk) step(what string) error {
	d.calls++
	if d.off = d.off || d.calls == d.offAt; d.off {
		return fmt.Errorf("%s: no power", what)
	}
	if d.calls == d.failAt {
		return fmt.Errorf("%s: call %d: %w", what, d.calls, d.fail)
	}
	return nil
}

func (d *disk) Names() ([]string, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	var names []string
	for n := range d.files {
		names = append(names, n)
	}
	slices.Sort(names)
	return names, d.step("names")
}

func (d *disk) Open(name string, create bool) (File, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if err := d.step("open"); err != nil {
		return nil, err
	}
	if d.files[name] == nil {
		if !create {
			return nil, os.ErrNotExist
		}
		d.files[name] = &memFile{}
	}
	return &handle{d, d.files[name]}, nil
}

func (d *disk) Remove(name string) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if err := d.step("remove"); err != nil {
		return err
	}
	delete(d.files, name)
	return nil
}

func (d *disk) Sync() error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if err := d.step("sync names"); err != nil {
		return err
	}
	d.durable = map[string]*memFile{}
	for n, f := range d.files {
		d.durable[n] = f
	}
	return nil
}

type handle struct {
	d *disk
	f *memFile
}

func (h *handle) ReadAt(p []byte, off int64) (int, error) {
	h.d.mu.Lock()
	defer h.d.mu.Unlock()
	if err := h.d.step("read"); err != nil {
		return 0, err
	}
	if off >= int64(len(h.f.data)) {
		return 0, io.EOF
	}
	n := copy(p, h.f.data[off:])
	if n < len(p) {
		return n, io.EOF
	}
	return n, nil
}

// WriteAll that fails has written some of it.
func (h *handle) WriteAll(off int64, parts [][]byte) error {
	h.d.mu.Lock()
	defer h.d.mu.Unlock()
	err := h.d.step("write")
	if h.d.off {
		return err
	}
	all := slices.Concat(parts...)
	if err != nil {
		all = all[:h.d.rng.IntN(len(all)+1)]
	}
	if end := int(off) + len(all); end > len(h.f.data) {
		h.f.data = append(h.f.data, make([]byte, end-len(h.f.data))...)
	}
	copy(h.f.data[off:], all)
	return err
}

func (h *handle) Sync() error {
	h.d.mu.Lock()
	defer h.d.mu.Unlock()
	if err := h.d.step("sync"); err != nil {
		return err
	}
	h.f.synced = slices.Clone(h.f.data)
	return nil
}

func (h *handle) Truncate(size int64) error {
	h.d.mu.Lock()
	defer h.d.mu.Unlock()
	if err := h.d.step("truncate"); err != nil {
		return err
	}
	h.f.data = h.f.data[:size:size]
	return nil
}

func (h *handle) Size() (int64, error) {
	h.d.mu.Lock()
	defer h.d.mu.Unlock()
	return int64(len(h.f.data)), h.d.step("size")
}

func (h *handle) Close() error { return nil }

// cut returns what a machine finds that lost power now. The old disk fails every call from here on.
func (d *disk) cut() *disk {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.off = true
	after := newDisk(d.rng.Uint64())
	names := map[string]*memFile{}
	for n, f := range d.durable {
		if d.files[n] == f || d.rng.IntN(2) == 0 { // removed, but not for certain
			names[n] = f
		}
	}
	for n, f := range d.files {
		if d.durable[n] != f && d.rng.IntN(2) == 0 {
			names[n] = f
		}
	}
	order := make([]string, 0, len(names))
	for n := range names {
		order = append(order, n)
	}
	slices.Sort(order)
	for _, n := range order {
		f := names[n]
		size := len(f.synced)
		if len(f.data) != size { // the size in between is anything
			size = min(size, len(f.data)) + d.rng.IntN(max(len(f.data), size)-min(size, len(f.data))+1)
		}
		data := make([]byte, size)
		copy(data, f.synced)
		for at := 0; at < size; at += 512 {
			end := min(at+512, size)
			if d.rng.IntN(2) == 0 && at < len(f.data) {
				copy(data[at:end], f.data[at:min(end, len(f.data))])
			}
		}
		after.files[n] = &memFile{data: data, synced: slices.Clone(data)}
		after.durable[n] = after.files[n]
	}
	return after
}
