// Package wal is the log's disk: what a peer promised to the others, kept through a loss of power.
//
// A Log is a directory of preallocated segment files. A segment begins with a head that says after which entry it
// goes on, and repeats the newest vote and configuration, so that older segments can be deleted whole:
//
//	segment   head  record*  zeros
//	record    length u32 | crc u32 | synced u64 | kind u8 | 0 (7 bytes) | payload | 0 (to a multiple of 8)
//
// The crc is CRC-32C over the segment's number, the record's offset, and everything but itself. Synced is the offset
// up to which the file was on disk when the record was written. It tells a torn tail from rot: a bad record is
// the end of the log only if no good record behind it was written after it had been synced; otherwise bytes that were
// promised are gone, and the log refuses to open with fault.Corrupt.
//
// Entries of one segment are consecutive. An entry that replaces a conflicting one begins a new segment, so that no
// segment ever contradicts itself; replaying the segments in order, each cutting what came before to where it
// begins, keeps the newest.
//
// On paper: one write and one fdatasync for everything that waits, however many entries that is. Room that is merely
// preallocated becomes part of the file at its first sync, which costs that a second write of the disk: so zeros are written ahead. Memory is about 64
// bytes an entry, and the data of the newest entries up to Options.CacheBytes; older ones are read from disk.
//
// The last records of all have none behind them, until Seal writes one a little later, or Close. Rot within that while
// passes for a torn tail.
//
// A failed write or sync ends the Log: nothing is ever retried, because after a failed sync nobody knows what the
// disk holds.
package wal

import (
	"io"
	"sync"

	"dfs/blockstore/disk"
	"dfs/cluster/fault"
)

// Entry is one entry of the log.
type Entry struct {
	Index, Term uint64
	Kind        uint8 // opaque here
	Data        []byte
}

// Hard is what a peer must remember of elections.
type Hard struct{ Term, Vote, Commit uint64 }

// Conf is the configuration as of an index; its encoding is opaque here.
type Conf struct {
	Index uint64
	Data  []byte
}

// Mark is a place in the log.
type Mark struct{ Index, Term uint64 }

// Batch is what one Save makes durable, all of it or, should the power fail, none or a part from the start.
type Batch struct {
	// Base, if not nil, replaces the whole log by a snapshot's place: entries go on behind it. Conf is required.
	Base *Mark
	// Entries are consecutive, and begin at most one behind the last. Those they overlap are replaced.
	Entries []Entry
	Hard    *Hard
	Conf    *Conf
	// Lazy says that nothing was promised yet: the batch may wait for the next one that is not lazy.
	Lazy bool
}

// Limits.
const (
	DataMax = 4 << 20  // bytes of data in an entry
	ConfMax = 64 << 10 // bytes of a configuration
)

// Options of a Log. The zero value works.
type Options struct {
	SegmentBytes int64 // size of a segment file; 0: 16 MiB. At least 1 KiB
	CacheBytes   int64 // data of entries kept in memory; 0: 8 MiB, as much as is on its way to a follower
}

// Log is an open log. Save, Compact and Close are for one goroutine; the rest is safe for concurrent use.
type Log struct {
	disk disk.Disk
	lock io.Closer
	o    Options

	// Of the writing goroutine.
	segs   []*segment // the last one is written to
	buf    []byte     // records not yet written
	fresh  []slot     // the entries among them
	broken error
	sealed bool // nothing was saved since the last Seal

	mu    sync.RWMutex
	base  Mark   // the entry before the first
	slots []slot // slots[i] is entry base.Index+1+i
	hard  Hard
	conf  Conf
	cold  int   // slots below it have no data in memory
	warm  int64 // bytes of data in memory
}

// segment is one file.
type segment struct {
	seq    uint64
	base   Mark
	file   disk.File
	size   int64
	end    int64 // offset of the next record
	ahead  disk.Ahead
	synced int64
}

// slot is where an entry is.
type slot struct {
	term uint64
	seg  *segment
	off  int64
	kind uint8
	size uint32 // bytes of data
	data []byte // nil if cold
}

// First returns the index of the first entry that is kept; it is Last+1 in a log without entries.
func (l *Log) First() uint64 {
	l.mu.RLock()
	defer l.mu.RUnlock()
	return l.base.Index + 1
}

// Last returns the index of the newest entry, or of the place where the log begins.
func (l *Log) Last() uint64 {
	l.mu.RLock()
	defer l.mu.RUnlock()
	return l.last()
}

func (l *Log) last() uint64 { return l.base.Index + uint64(len(l.slots)) }

// Term returns the term of an entry from First-1 to Last. fault.NotExist otherwise.
func (l *Log) Term(index uint64) (uint64, error) {
	l.mu.RLock()
	defer l.mu.RUnlock()
	switch {
	case index == l.base.Index:
		return l.base.Term, nil
	case index < l.base.Index || index > l.last():
		return 0, fault.New("log term", fault.NotExist, "entry %d", index)
	}
	return l.slots[index-l.base.Index-1].term, nil
}

// Hard returns what was last saved.
func (l *Log) Hard() Hard {
	l.mu.RLock()
	defer l.mu.RUnlock()
	return l.hard
}

// Conf returns the newest configuration saved.
func (l *Log) Conf() Conf {
	l.mu.RLock()
	defer l.mu.RUnlock()
	return l.conf
}

// Entries returns the entries [lo, hi), ending early rather than exceed max bytes of data, but at least one. The data
// must not be changed. fault.NotExist if one of them is not kept, fault.Corrupt if the disk lost it.
func (l *Log) Entries(lo, hi, max uint64) ([]Entry, error) {
	l.mu.RLock()
	defer l.mu.RUnlock()
	if lo <= l.base.Index || hi > l.last()+1 || lo >= hi {
		return nil, fault.New("log entries", fault.NotExist, "[%d, %d)", lo, hi)
	}
	var out []Entry
	var size uint64
	for i := lo; i < hi; i++ {
		s := &l.slots[i-l.base.Index-1]
		size += uint64(s.size)
		if len(out) > 0 && size > max {
			break
		}
		data := s.data
		if data == nil && s.size > 0 {
			e, err := s.seg.read(s.off, int(s.size))
			if err != nil {
				return nil, err
			}
			if e.Index != i || e.Term != s.term {
				return nil, fault.New("log entries", fault.Corrupt, "entry %d", i)
			}
			data = e.Data
		}
		out = append(out, Entry{Index: i, Term: s.term, Kind: s.kind, Data: data})
	}
	return out, nil
}

// Close writes what was lazy, and closes the files. The Log must not be used any more.
func (l *Log) Close() error {
	err := l.broken
	if err == nil {
		err = l.flush()
	}
	if err == nil {
		err = l.Seal()
	}
	for _, s := range l.segs {
		s.file.Close()
	}
	if cerr := l.lock.Close(); err == nil {
		err = cerr
	}
	return err
}

// Kind returns an entry's kind, if it is kept.
func (l *Log) Kind(index uint64) (uint8, bool) {
	l.mu.RLock()
	defer l.mu.RUnlock()
	if index <= l.base.Index || index > l.last() {
		return 0, false
	}
	return l.slots[index-l.base.Index-1].kind, true
}

// Size returns how many bytes the segments take. For the writing goroutine.
func (l *Log) Size() (n int64) {
	for _, s := range l.segs {
		n += s.size
	}
	return n
}
