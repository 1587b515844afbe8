package wal

import (
	"encoding/binary"
	"hash/crc32"

	"dfs/cluster/fault"
	"dfs/net/wire"
)

// kind is the type of a record. The numbers are stored: append only.
type kind uint8

const (
	kindHead  kind = 1 + iota // first in a segment, and only there
	kindEntry                 // one entry
	kindHard                  // Hard
	kindConf                  // Conf
)

const (
	headerBytes = 24
	align       = 8
	payloadMax  = DataMax + 64
	magic       = "dfs log 1"
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// place is where a record is; a record is good in one place only.
type place struct {
	seq uint64 // of the segment
	off int64
}

// sum returns the checksum of a record, header included.
func (p place) sum(rec []byte) uint32 {
	var at [20]byte
	binary.LittleEndian.PutUint64(at[0:], p.seq)
	binary.LittleEndian.PutUint64(at[8:], uint64(p.off))
	copy(at[16:], rec[:4])
	return crc32.Update(crc32.Checksum(at[:], castagnoli), castagnoli, rec[8:])
}

// record is one record as it was read.
type record struct {
	kind    kind
	synced  int64
	payload []byte
	size    int64 // bytes in the file, padding included
}

// appendRecord appends a record that will be written at p, payload by the function.
func appendRecord(b []byte, p place, synced int64, k kind, payload func([]byte) []byte) []byte {
	start := len(b)
	b = append(b, make([]byte, headerBytes)...)
	b = payload(b)
	rec := b[start:]
	binary.LittleEndian.PutUint32(rec, uint32(len(rec)-headerBytes))
	binary.LittleEndian.PutUint64(rec[8:], uint64(synced))
	rec[16] = byte(k)
	binary.LittleEndian.PutUint32(rec[4:], p.sum(rec))
	for len(b)%align != start%align {
		b = append(b, 0)
	}
	return b
}

// parse reads the record at the start of b, which is the segment's bytes from p on. It returns false if there is no
// good record. The payload aliases b.
func parse(b []byte, p place) (record, bool) {
	if len(b) < headerBytes {
		return record{}, false
	}
	n := int64(binary.LittleEndian.Uint32(b))
	if n == 0 || n > payloadMax || headerBytes+n > int64(len(b)) {
		return record{}, false
	}
	rec := b[:headerBytes+n]
	if binary.LittleEndian.Uint32(rec[4:]) != p.sum(rec) {
		return record{}, false
	}
	size := (headerBytes + n + align - 1) / align * align
	r := record{
		kind:    kind(rec[16]),
		synced:  int64(binary.LittleEndian.Uint64(rec[8:])),
		payload: rec[headerBytes:],
		size:    min(size, int64(len(b))),
	}
	return r, true
}

// head is what a segment begins with.
type head struct {
	seq   uint64
	base  Mark
	reset bool // a snapshot: everything before this segment is void
	hard  Hard
	conf  Conf
}

func (h *head) append(b []byte) []byte {
	b = wire.AppendString(b, magic)
	b = wire.AppendUint(b, h.seq)
	b = wire.AppendUint(b, h.base.Index)
	b = wire.AppendUint(b, h.base.Term)
	b = wire.AppendBool(b, h.reset)
	b = appendHard(b, h.hard)
	return appendConf(b, h.conf)
}

func readHead(b []byte) (head, error) {
	r := wire.NewReader(b)
	if r.String(len(magic)) != magic {
		return head{}, fault.New("log head", fault.Corrupt, "not a log, or of another version")
	}
	h := head{seq: r.Uint(), base: Mark{Index: r.Uint(), Term: r.Uint()}, reset: r.Bool()}
	h.hard = readHard(r)
	h.conf = readConf(r)
	return h, r.Done()
}

func appendHard(b []byte, h Hard) []byte {
	return wire.AppendUint(wire.AppendUint(wire.AppendUint(b, h.Term), h.Vote), h.Commit)
}

func readHard(r *wire.Reader) Hard { return Hard{Term: r.Uint(), Vote: r.Uint(), Commit: r.Uint()} }

func appendConf(b []byte, c Conf) []byte {
	return wire.AppendBytes(wire.AppendUint(b, c.Index), c.Data)
}

func readConf(r *wire.Reader) Conf {
	return Conf{Index: r.Uint(), Data: append([]byte(nil), r.Bytes(ConfMax)...)}
}

func appendEntry(b []byte, e Entry) []byte {
	b = wire.AppendUint(b, e.Index)
	b = wire.AppendUint(b, e.Term)
	b = append(b, e.Kind)
	return append(b, e.Data...)
}

// readEntry reads what appendEntry wrote. Data aliases b.
func readEntry(b []byte) (Entry, error) {
	r := wire.NewReader(b)
	e := Entry{Index: r.Uint(), Term: r.Uint(), Kind: r.Byte()}
	e.Data = r.Rest()
	if err := r.Err(); err != nil {
		return Entry{}, err
	}
	if e.Index == 0 || len(e.Data) > DataMax {
		return Entry{}, fault.New("log entry", fault.Corrupt, "entry %d of %d bytes", e.Index, len(e.Data))
	}
	return e, nil
}

// read returns the entry whose record is at off and has n bytes of data.
func (s *segment) read(off int64, n int) (Entry, error) {
	const varints = 10 + 10 + 1
	b := make([]byte, min(int64(headerBytes+varints+n+align), s.size-off))
	if _, err := s.file.ReadAt(b, off); err != nil {
		return Entry{}, fault.Because("log read", fault.Corrupt, err)
	}
	rec, ok := parse(b, place{s.seq, off})
	if !ok || rec.kind != kindEntry {
		return Entry{}, fault.New("log read", fault.Corrupt, "segment %d at %d", s.seq, off)
	}
	return readEntry(rec.payload)
}
