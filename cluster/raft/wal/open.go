package wal

import (
	"encoding/binary"
	"errors"
	"io"
	"math"
	"os"
	"strings"

	"dfs/blockstore/disk"
	"dfs/cluster/fault"
	"dfs/net/wire"
)

const idName = "id"

// Open opens the log in d, or makes an empty one. Id says whose it is; a log that says otherwise is
// fault.Conflict, and nothing is changed. A torn tail is cut off; fault.Corrupt if anything that was synced is
// missing or rotten. fault.Busy if another process has it open.
func Open(d disk.Disk, id string, o Options) (*Log, error) {
	if o.SegmentBytes == 0 {
		o.SegmentBytes = 16 << 20
	}
	if o.CacheBytes == 0 {
		o.CacheBytes = 8 << 20
	}
	o.SegmentBytes = max(o.SegmentBytes, 1<<10)
	lock, err := d.Lock()
	if err != nil {
		return nil, disk.Error("log open", err)
	}
	l := &Log{disk: d, lock: lock, o: o}
	if err := l.open(id); err != nil {
		for _, s := range l.segs {
			s.file.Close()
		}
		lock.Close()
		return nil, fault.Wrap("log open", err)
	}
	return l, nil
}

func (l *Log) open(id string) error {
	names, err := segmentsOf(l.disk)
	if err != nil {
		return disk.Error("log open", err)
	}
	if err := l.checkID(id, len(names) > 0); err != nil {
		return err
	}
	for i, name := range names {
		if err := l.load(name, i == len(names)-1); err != nil {
			return err
		}
	}
	if len(l.segs) == 0 {
		return l.cut(Mark{}, true, 0)
	}
	// The process before may have ended between making a segment and making its name safe.
	if err := l.disk.Sync(); err != nil {
		return disk.Error("log sync", err)
	}
	l.coolLocked() // nobody else knows of the log yet
	return nil
}

// idNames are the files that say whose the log is: one that rots is written anew from the other.
var idNames = []string{idName, idName + ".copy"}

// Owner returns the id of the log in d, "" if there is none or it cannot be read. It changes nothing.
func Owner(d disk.Disk) (id string, err error) {
	id, _, err = readID(d)
	return id, err
}

// readID returns what the files say, "" if nothing, and which of them are to be written.
func readID(d disk.Disk) (id string, lost []string, err error) {
	for _, name := range idNames {
		one, err := readIDFile(d, name)
		switch {
		case err != nil:
			return "", nil, disk.Error("log id", err)
		case one == "":
			lost = append(lost, name)
		case id == "":
			id = one
		case id != one:
			return "", nil, fault.New("log id", fault.Conflict, "the log says that it is of %s, and of %s", id, one)
		}
	}
	return id, lost, nil
}

func readIDFile(d disk.Disk, name string) (id string, err error) {
	f, err := d.Open(name, false)
	if errors.Is(err, os.ErrNotExist) {
		return "", nil
	}
	if err != nil {
		return "", err
	}
	defer f.Close()
	if err := f.Refresh(); err != nil { // it may be there without ever having been synced
		return "", err
	}
	b, err := readUpTo(f, 1<<10)
	if rec, ok := parse(b, place{}); err == nil && ok {
		id = string(rec.payload)
	}
	return id, err
}

// checkID compares the id files, or writes them where there is no log yet.
func (l *Log) checkID(id string, used bool) error {
	is, lost, err := readID(l.disk)
	switch {
	case err != nil:
		return err
	case is != "" && is != id:
		return fault.New("log id", fault.Conflict, "the log is of %s, not of %s", is, id)
	case is == "" && used:
		return fault.New("log id", fault.Conflict, "a log whose owner is not known")
	}
	out := appendRecord(nil, place{}, 0, kindHead, func(b []byte) []byte { return append(b, id...) })
	for _, name := range lost { // one after the other, so that one is whole at any moment
		f, err := l.disk.Open(name, true)
		if err != nil {
			return disk.Error("log id", err)
		}
		if err = f.Truncate(0); err == nil {
			err = f.WriteAll(0, out)
		}
		if err == nil {
			err = f.Sync()
		}
		f.Close()
		if err == nil {
			err = l.disk.Sync()
		}
		if err != nil {
			return disk.Error("log id", err)
		}
	}
	return nil
}

// readUpTo returns the bytes of a file, the first most of them if there are more.
func readUpTo(f disk.File, most int64) ([]byte, error) {
	size, err := f.Size()
	if err != nil {
		return nil, err
	}
	b := make([]byte, min(size, most))
	if n, err := f.ReadAt(b, 0); err != nil && (err != io.EOF || n < len(b)) {
		return nil, err
	}
	return b, nil
}

// load replays one segment. The newest may hold what was never synced, or what a sync failed for: it is read from the
// disk itself, so that nothing counts that is not there.
func (l *Log) load(name string, newest bool) error {
	f, err := l.disk.Open(name, false)
	if err != nil {
		return disk.Error("log read", err)
	}
	if newest {
		err = f.Refresh()
	}
	var b []byte
	if err == nil {
		b, err = readUpTo(f, math.MaxInt64)
	}
	if err != nil {
		f.Close()
		return disk.Error("log read", err)
	}
	seq, err := parseName(name)
	if err != nil {
		f.Close()
		return err
	}
	records, end := scan(b, seq)
	switch {
	case rotten(b, seq, end), !newest && len(records) == 0, !newest && !blank(b[end:]):
		f.Close()
		return fault.New("log read", fault.Corrupt, "segment %d at %d", seq, end)
	case len(records) == 0: // it was being made when the power failed: nothing was promised in it
		f.Close()
		if err := l.disk.Remove(name); err != nil {
			return disk.Error("log read", err)
		}
		return disk.Error("log read", l.disk.Sync())
	}
	size := int64(len(b))
	seg := &segment{seq: seq, file: f, size: size, end: end, synced: end}
	l.segs = append(l.segs, seg)
	if err := l.replay(seg, records); err != nil {
		return err
	}
	if !newest || blank(b[end:]) {
		return nil
	}
	// What is behind the end must never be taken for records once new ones have been written up to it.
	if err = f.Truncate(end); err == nil {
		err = f.Allocate(size)
	}
	if err == nil {
		err = f.Sync()
	}
	return disk.Error("log repair", err)
}

func parseName(name string) (uint64, error) {
	var seq uint64
	for _, c := range strings.TrimSuffix(name, ".log") {
		d := strings.IndexRune("0123456789abcdef", c)
		if d < 0 || seq >= 1<<60 {
			return 0, fault.New("log read", fault.Corrupt, "a file named %q", name)
		}
		seq = seq<<4 | uint64(d)
	}
	return seq, nil
}

type placed struct {
	record
	off int64
}

// scan returns the good records from the start of a segment's bytes, and where they end.
func scan(b []byte, seq uint64) (records []placed, end int64) {
	for {
		rec, ok := parse(b[end:], place{seq, end})
		if !ok || (end == 0) != (rec.kind == kindHead) {
			return records, end
		}
		records = append(records, placed{rec, end})
		end += rec.size
	}
}

// rotten reports whether a record behind end proves that what should be at end had been synced.
func rotten(b []byte, seq uint64, end int64) bool {
	for off := end; off+headerBytes <= int64(len(b)); off += align {
		if binary.LittleEndian.Uint64(b[off:]) == 0 {
			continue
		}
		if rec, ok := parse(b[off:], place{seq, off}); ok && rec.synced > end {
			return true
		}
	}
	return false
}

func blank(b []byte) bool {
	for _, c := range b {
		if c != 0 {
			return false
		}
	}
	return true
}

// replay takes a segment's records in.
func (l *Log) replay(seg *segment, records []placed) error {
	corrupt := func(err error) error { return fault.Because("log replay", fault.Corrupt, err) }
	h, err := readHead(records[0].payload)
	if err != nil || h.seq != seg.seq {
		return corrupt(fault.New("head", fault.Corrupt, "segment %d: %v", seg.seq, err))
	}
	seg.base = h.base
	first := len(l.segs) == 1
	switch {
	case !first && seg.seq != l.segs[len(l.segs)-2].seq+1:
		return fault.New("log replay", fault.Corrupt, "segment %d is missing", seg.seq-1)
	case first || h.reset || h.base.Index < l.base.Index: // older ones are void, and were being removed
		if err := l.remove(l.segs[:len(l.segs)-1]); err != nil {
			return err
		}
		l.segs = []*segment{seg}
		l.base, l.slots, l.cold, l.warm = h.base, nil, 0, 0
	case h.base.Index > l.last():
		return fault.New("log replay", fault.Corrupt, "segment %d goes on after entry %d, the log has %d to %d",
			seg.seq, h.base.Index, l.base.Index+1, l.last())
	default:
		if term, err := l.Term(h.base.Index); err != nil || term != h.base.Term {
			return fault.New("log replay", fault.Corrupt, "segment %d after entry %d of term %d", seg.seq, h.base.Index, h.base.Term)
		}
		l.slots = l.slots[:h.base.Index-l.base.Index]
	}
	l.hard, l.conf = h.hard, h.conf
	for _, rec := range records[1:] {
		if err := l.take(seg, rec); err != nil {
			return corrupt(err)
		}
	}
	l.warm = 0
	for _, s := range l.slots {
		l.warm += int64(len(s.data))
	}
	l.cold = min(l.cold, len(l.slots))
	l.coolLocked()
	return nil
}

func (l *Log) take(seg *segment, rec placed) error {
	switch rec.kind {
	case kindEntry:
		e, err := readEntry(rec.payload)
		if err != nil {
			return err
		}
		if e.Index != l.last()+1 {
			return fault.New("entry", fault.Corrupt, "%d after %d", e.Index, l.last())
		}
		data := append([]byte{}, e.Data...) // not the whole segment's bytes
		l.slots = append(l.slots, slot{term: e.Term, seg: seg, off: rec.off, kind: e.Kind, size: uint32(len(data)), data: data})
	case kindHard:
		r := wire.NewReader(rec.payload)
		h := readHard(r)
		if err := r.Done(); err != nil {
			return err
		}
		l.hard = h
	case kindConf:
		r := wire.NewReader(rec.payload)
		c := readConf(r)
		if err := r.Done(); err != nil {
			return err
		}
		l.conf = c
	default:
		return fault.New("record", fault.Corrupt, "of kind %d", rec.kind)
	}
	return nil
}
