package wal

import (
	"errors"
	"io/fs"
	"slices"
	"strings"

	"dfs/blockstore/disk"
	"dfs/cluster/fault"
	"dfs/net/wire"
)

// Seal makes rot of the newest records tell from a torn tail, by a record behind them which says that they were synced. It
// promises nothing itself, so it is not synced. Call it when nothing is being saved. Close does so too.
func (l *Log) Seal() error {
	if l.broken != nil {
		return l.broken
	}
	seg := l.segs[len(l.segs)-1]
	if l.sealed || len(l.buf) > 0 || seg.end != seg.synced {
		return nil
	}
	h := l.hard
	rec := appendRecord(nil, place{seg.seq, seg.end}, seg.synced, kindHard, func(p []byte) []byte { return appendHard(p, h) })
	if seg.end+int64(len(rec)) > seg.size {
		return nil // the next segment's head will say so
	}
	if err := seg.file.WriteAll(seg.end, rec); err != nil {
		l.broken = disk.Error("log seal", err)
		return l.broken
	}
	seg.end += int64(len(rec))
	l.sealed = true
	return nil
}

// Verify reads all segments of the log in d from the disk, open or not, and checks every record that was synced. fault.Corrupt.
func Verify(d disk.Disk) error {
	names, err := segmentsOf(d)
	for i, name := range names {
		if err != nil {
			break
		}
		// A segment that is being written to may look rotten for a moment, and one that is being deleted is not there.
		for range 3 {
			if err = verifyOne(d, name, i == len(names)-1); !errors.Is(err, fault.Corrupt) {
				break
			}
		}
	}
	return fault.Wrap("log verify", err)
}

func verifyOne(d disk.Disk, name string, newest bool) error {
	b, seq, err := readSegment(d, name)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	records, end := scan(b, seq)
	// One that became older meanwhile ends in zeros too.
	if rotten(b, seq, end) || !newest && (len(records) == 0 || !blank(b[end:])) {
		return fault.New("log read", fault.Corrupt, "segment %d at %d", seq, end)
	}
	return nil
}

func readSegment(d disk.Disk, name string) (b []byte, seq uint64, err error) {
	if seq, err = parseName(name); err != nil {
		return nil, 0, err
	}
	f, err := d.Open(name, false)
	if err != nil {
		return nil, 0, err
	}
	defer f.Close()
	b, err = readUpTo(f, 1<<62)
	return b, seq, err
}

func segmentsOf(d disk.Disk) ([]string, error) {
	names, err := d.Names()
	names = slices.DeleteFunc(names, func(n string) bool { return !strings.HasSuffix(n, ".log") })
	slices.Sort(names)
	return names, err
}

// Remains is what can still be read of a log that has rotted.
type Remains struct {
	Term uint64 // the highest of any vote or entry
	Last uint64 // the highest index of an entry
	Conf Conf   // the newest configuration; without data if none can be read
	Hole bool   // an entry after Last may have been there: what follows it cannot be read
}

// Salvage reads what is left of the log in d, which must not be open. Each, unless nil, is given every entry that can be read.
func Salvage(d disk.Disk, each func(Entry)) (r Remains, err error) {
	if each == nil {
		each = func(Entry) {}
	}
	names, err := segmentsOf(d)
	if err != nil {
		return r, disk.Error("log salvage", err)
	}
	for _, name := range names {
		b, seq, err := readSegment(d, name)
		if err != nil {
			if errors.Is(err, fault.Corrupt) {
				continue
			}
			return r, disk.Error("log salvage", err)
		}
		for off := int64(0); off+headerBytes <= int64(len(b)); {
			rec, ok := parse(b[off:], place{seq, off})
			if !ok {
				// Only a record of an entry can hide an entry.
				if n := b[off : off+headerBytes]; !blank(n) && (kind(n[16]) == kindEntry || kind(n[16]) > kindConf) {
					r.Hole = true
				}
				off += align
				continue
			}
			r.take(rec, each)
			off += rec.size
		}
	}
	return r, nil
}

func (r *Remains) take(rec record, each func(Entry)) {
	switch rec.kind {
	case kindHead:
		if h, err := readHead(rec.payload); err == nil {
			r.Term = max(r.Term, h.hard.Term, h.base.Term)
			r.Last = max(r.Last, h.base.Index)
			r.configured(h.conf)
		}
	case kindEntry:
		if e, err := readEntry(rec.payload); err == nil {
			each(e)
			r.Term = max(r.Term, e.Term)
			if e.Index > r.Last {
				r.Last, r.Hole = e.Index, false
			}
		}
	case kindHard:
		d := wire.NewReader(rec.payload)
		if h := readHard(d); d.Done() == nil {
			r.Term = max(r.Term, h.Term)
		}
	case kindConf:
		d := wire.NewReader(rec.payload)
		if c := readConf(d); d.Done() == nil {
			r.configured(c)
		}
	}
}

func (r *Remains) configured(c Conf) {
	if c.Index >= r.Conf.Index && len(c.Data) > 0 {
		r.Conf = c
	}
}

// Discard deletes the segments of the log in d, which must not be open: it begins anew, and knows whose it is.
func Discard(d disk.Disk) error {
	names, err := segmentsOf(d)
	for _, name := range names {
		if err == nil {
			err = d.Remove(name)
		}
	}
	if err == nil {
		err = d.Sync()
	}
	return disk.Error("log discard", err)
}
