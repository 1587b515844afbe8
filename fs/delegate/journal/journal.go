// Package journal keeps what a mount has done and the log does not have yet, so that it outlives the process: ops in their order,
// and the bytes of files that were closed before they were flushed. It is written without syncs: it covers a daemon that dies,
// not a machine that does.
//
// A journal is a few files of records. Each record counts until somebody says Done; the oldest file is dropped once none in it
// counts any more, so that the journal is as long as what is under way, and empty after a clean end.
//
// It is not synced, so what another run of the machine wrote may have holes: that is not believed. A journal whose disk fails is given
// up (Spoil), because a record that says that others do not count any more must never be the one that is missing.
//
// On disk: "dfsj", a version, the session and a sum of the boot's name (8 bytes each, little-endian), CRC-32C of these (4), then records: length of the body (4), CRC-32C of the rest (4), kind (1),
// body. A record that is cut short or does not match ends its file.
package journal

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"hash/fnv"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"

	"dfs/cluster/fault"
)

const (
	version    = 2
	headLen    = 4 + 1 + 8 + 8 + 4
	recordLen  = 4 + 4 + 1
	bodyMax    = 4 << 20
	rotateAt   = 8 << 20   // a file is not continued beyond
	trimAt     = 256 << 10 // a file in which nothing counts is begun anew beyond
	defaultMax = 256 << 20
	smallMax   = 64 // records of up to so many bytes find room beyond Options.Max: those that take others back
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// Record is one record of a journal that was left behind.
type Record struct {
	Kind byte
	Body []byte
}

// Left is what an earlier session left behind, in order.
type Left struct {
	Session uint64
	Records []Record
}

// Options of a Journal. The zero value works.
type Options struct {
	Max  int64  // bytes of all files; default 256 MiB
	Boot string // names the run of the machine; "": what was left is never believed
}

// Journal is the journal of one session. Safe for concurrent use.
type Journal struct {
	dir string
	o   Options

	mu      sync.Mutex
	session uint64
	files   []*file // the last one is written to
	next    int
	size    int64
	buf     []byte
	old     []string // files of earlier sessions
	spoilt  bool
}

type file struct {
	f    *os.File
	path string
	size int64
	open int // records that count
}

// Ticket is a record that counts.
type Ticket struct{ in *file }

// Open opens the journal in dir, which is made if it is not there, for a new session. What earlier ones left stays there until
// Forget; of sessions in another run of the machine there are no records.
func Open(dir string, session uint64, o Options) (*Journal, []Left, error) {
	if o.Max == 0 {
		o.Max = defaultMax
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, nil, fault.Because("journal", fault.KindOf(err), err)
	}
	j := &Journal{dir: dir, o: o, session: session}
	names, err := j.names()
	if err != nil {
		return nil, nil, err
	}
	var left []Left
	for _, n := range names {
		path := j.path(n)
		j.old = append(j.old, path)
		j.next = n + 1
		b, err := os.ReadFile(path)
		if err != nil {
			return nil, nil, fault.Because("journal", fault.KindOf(err), err)
		}
		s, boot, rs, ok := parse(b)
		if o.Boot == "" || boot != bootSum(o.Boot) {
			rs = nil
		}
		switch {
		case !ok:
		case len(left) > 0 && left[len(left)-1].Session == s:
			left[len(left)-1].Records = append(left[len(left)-1].Records, rs...)
		default:
			left = append(left, Left{s, rs})
		}
	}
	return j, left, nil
}

func (j *Journal) path(n int) string { return filepath.Join(j.dir, fmt.Sprintf("journal.%08d", n)) }

func (j *Journal) names() (ns []int, err error) {
	es, err := os.ReadDir(j.dir)
	if err != nil {
		return nil, fault.Because("journal", fault.KindOf(err), err)
	}
	for _, e := range es {
		if s, ok := strings.CutPrefix(e.Name(), "journal."); ok {
			if n, err := strconv.Atoi(s); err == nil {
				ns = append(ns, n)
			}
		}
	}
	slices.Sort(ns)
	return ns, nil
}

// parse reads a file as far as it is whole.
func parse(b []byte) (session, boot uint64, rs []Record, ok bool) {
	const sum = headLen - 4
	if len(b) < headLen || string(b[:4]) != "dfsj" || b[4] != version || binary.LittleEndian.Uint32(b[sum:]) != crc32.Checksum(b[:sum], castagnoli) {
		return 0, 0, nil, false
	}
	session, boot = binary.LittleEndian.Uint64(b[5:]), binary.LittleEndian.Uint64(b[13:])
	for b = b[headLen:]; len(b) >= recordLen; {
		n := int(binary.LittleEndian.Uint32(b))
		if n > bodyMax || len(b) < recordLen+n || binary.LittleEndian.Uint32(b[4:]) != crc32.Checksum(b[8:recordLen+n], castagnoli) {
			break
		}
		rs = append(rs, Record{Kind: b[8], Body: b[recordLen : recordLen+n]})
		b = b[recordLen+n:]
	}
	return session, boot, rs, true
}

func bootSum(name string) uint64 {
	h := fnv.New64a()
	h.Write([]byte(name))
	return h.Sum64()
}

// Forget drops what earlier sessions left behind.
func (j *Journal) Forget() error {
	j.mu.Lock()
	defer j.mu.Unlock()
	var errs []error
	for _, p := range j.old {
		if err := os.Remove(p); err != nil && !errors.Is(err, fs.ErrNotExist) {
			errs = append(errs, err)
		}
	}
	j.old = nil
	return errors.Join(errs...)
}

// Append writes a record whose body is the parts. fault.NoSpace when the journal or the disk is full, and whatever writing
// says; then nothing was written that counts.
func (j *Journal) Append(kind byte, parts ...[]byte) (Ticket, error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	n := 0
	for _, p := range parts {
		n += len(p)
	}
	if j.spoilt {
		return Ticket{}, fault.New("journal", fault.ReadOnly, "its disk has failed")
	}
	f, err := j.current()
	if err != nil {
		return Ticket{}, err
	}
	if n > bodyMax || n > smallMax && j.size+int64(n) > j.o.Max {
		return Ticket{}, fault.New("journal", fault.NoSpace, "%d bytes wait for the log", j.size)
	}
	b := append(j.buf[:0], 0, 0, 0, 0, 0, 0, 0, 0, kind)
	for _, p := range parts {
		b = append(b, p...)
	}
	if cap(b) <= 1<<20 {
		j.buf = b
	}
	binary.LittleEndian.PutUint32(b, uint32(n))
	binary.LittleEndian.PutUint32(b[4:], crc32.Checksum(b[8:], castagnoli))
	if _, err := f.f.WriteAt(b, f.size); err != nil {
		_ = f.f.Truncate(f.size) // or the next record overwrites it
		return Ticket{}, fault.Because("journal", kindOf(err), err)
	}
	f.size += int64(len(b))
	j.size += int64(len(b))
	f.open++
	return Ticket{f}, nil
}

func kindOf(err error) fault.Kind {
	if errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT) {
		return fault.NoSpace
	}
	return fault.KindOf(err)
}

// current returns the file to write to. The caller has mu.
func (j *Journal) current() (*file, error) {
	if k := len(j.files); k > 0 {
		f := j.files[k-1]
		if k == 1 && f.open == 0 && f.size > min(trimAt, j.o.Max/2) {
			if err := f.f.Truncate(headLen); err != nil {
				return nil, fault.Because("journal", kindOf(err), err)
			}
			j.size -= f.size - headLen
			f.size = headLen
		}
		if f.size < rotateAt {
			return f, nil
		}
	}
	path := j.path(j.next)
	f, err := os.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_RDWR, 0o600)
	if err != nil {
		return nil, fault.Because("journal", kindOf(err), err)
	}
	head := binary.LittleEndian.AppendUint64(append([]byte("dfsj"), version), j.session)
	head = binary.LittleEndian.AppendUint64(head, bootSum(j.o.Boot))
	head = binary.LittleEndian.AppendUint32(head, crc32.Checksum(head, castagnoli))
	if _, err := f.WriteAt(head, 0); err != nil {
		f.Close()
		os.Remove(path)
		return nil, fault.Because("journal", kindOf(err), err)
	}
	j.next++
	j.size += headLen
	n := &file{f: f, path: path, size: headLen}
	j.files = append(j.files, n)
	j.drop()
	return n, nil
}

// Done says that a record need not be kept. The zero Ticket is nobody's.
func (j *Journal) Done(ts ...Ticket) {
	j.mu.Lock()
	defer j.mu.Unlock()
	for _, t := range ts {
		if t.in != nil {
			t.in.open--
		}
	}
	j.drop()
}

// drop removes files that nothing counts in, oldest first: a record may take back one of an older file, never of a newer. The
// caller has mu.
func (j *Journal) drop() {
	for len(j.files) > 1 && j.files[0].open == 0 {
		f := j.files[0]
		j.files = j.files[1:]
		j.size -= f.size
		f.f.Close()
		os.Remove(f.path) // one that stays is found at the next start, and says nothing new
	}
}

// Spoil gives the journal up: nothing in it counts any more, and it takes nothing.
func (j *Journal) Spoil() {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.spoilt = true
	for _, f := range j.files {
		_ = f.f.Truncate(0)
		f.f.Close()
		os.Remove(f.path)
	}
	j.files, j.size = nil, 0
}

// Open returns how many records count.
func (j *Journal) Open() (n int) {
	j.mu.Lock()
	defer j.mu.Unlock()
	for _, f := range j.files {
		n += f.open
	}
	return n
}

// Size returns the bytes of all files.
func (j *Journal) Size() int64 {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.size
}

// Close closes the files and removes those in which nothing counts.
func (j *Journal) Close() error {
	j.mu.Lock()
	defer j.mu.Unlock()
	var errs []error
	for _, f := range j.files {
		errs = append(errs, f.f.Close())
	}
	for _, f := range j.files {
		if f.open > 0 {
			break
		}
		errs = append(errs, os.Remove(f.path))
	}
	j.files = nil
	return errors.Join(errs...)
}
