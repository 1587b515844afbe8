package segment

import (
	"encoding/binary"
	"hash/crc32"

	"dfs/blockstore"
	"dfs/blockstore/runs"
	"dfs/cluster/fault"
)

// kind of a record.
type kind uint8

const (
	kindPut       kind = 1
	kindMove      kind = 2
	kindTombstone kind = 3
)

const (
	magic      = 0x5b736664 // "dfs["
	format     = 1
	headerSize = 128
	alignment  = 64
	maxRuns    = blockstore.MaxBlocks / 2
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// header is the fixed part of a record; runs and sums follow it.
//
//	0 magic 4 | format 1 | kind 1 | flags 2 | segment 8 | offset 8 | seq 8 | cluster 16 | extent 16
//	64 inode 8 | file offset 8 | session 8 | time 8 | blocks 4 | held 4 | runs 4 | key 4 | from 8 | meta sum 4 | sum 4
//
// All little-endian. Flags and key are zero: room for compression and encryption.
type header struct {
	kind    kind
	segment uint64 // where it lies: bytes that a disk returns from elsewhere are recognised
	offset  int64
	seq     uint64
	cluster [16]byte
	extent  blockstore.ID
	note    blockstore.Note
	blocks  uint32 // of the extent
	held    uint32 // blocks in this record; 0 in a tombstone
	runs    uint32 // runs that follow; 0 means all blocks
	from    uint64 // a move: the segment copied from; a tombstone: the segment of the record it speaks of
	metaSum uint32
}

func (h *header) metaLen() int { return int(h.runs)*8 + int(h.held)*4 }

// dataAt returns where the blocks begin, relative to the record.
func (h *header) dataAt() int64 { return aligned(headerSize + int64(h.metaLen())) }

// size returns the record's length.
func (h *header) size() int64 { return h.dataAt() + int64(h.held)*blockstore.Size }

func aligned(n int64) int64 { return (n + alignment - 1) &^ (alignment - 1) }

// encode returns the record without its blocks. set is the blocks the record is about (nil: all); sums are those of
// the blocks held.
func (h *header) encode(store [16]byte, set runs.Set, sums []blockstore.Sum) []byte {
	h.runs, h.held = uint32(len(set)), uint32(len(sums))
	b := make([]byte, h.dataAt())
	le := binary.LittleEndian
	meta := b[headerSize : headerSize+h.metaLen()]
	at := 0
	for _, r := range set {
		le.PutUint32(meta[at:], r.First)
		le.PutUint32(meta[at+4:], r.End)
		at += 8
	}
	for _, s := range sums {
		le.PutUint32(meta[at:], uint32(s))
		at += 4
	}
	h.metaSum = crc32.Checksum(meta, castagnoli)
	le.PutUint32(b[0:], magic)
	b[4], b[5] = format, byte(h.kind)
	le.PutUint64(b[8:], h.segment)
	le.PutUint64(b[16:], uint64(h.offset))
	le.PutUint64(b[24:], h.seq)
	copy(b[32:], h.cluster[:])
	copy(b[48:], h.extent[:])
	le.PutUint64(b[64:], h.note.Ino)
	le.PutUint64(b[72:], uint64(h.note.Off))
	le.PutUint64(b[80:], h.note.Session)
	le.PutUint64(b[88:], uint64(h.note.Time))
	le.PutUint32(b[96:], h.blocks)
	le.PutUint32(b[100:], h.held)
	le.PutUint32(b[104:], h.runs)
	le.PutUint64(b[112:], h.from)
	le.PutUint32(b[120:], h.metaSum)
	le.PutUint32(b[124:], headSum(store, b))
	return b
}

// headSum is seeded with the store's random id: bytes of a user's file are never taken for a record.
func headSum(store [16]byte, b []byte) uint32 {
	return crc32.Update(crc32.Checksum(store[:], castagnoli), castagnoli, b[:124])
}

// decodeHeader believes nothing: fault.Corrupt unless b begins with a whole header whose numbers make sense.
func decodeHeader(store [16]byte, b []byte) (h header, err error) {
	le := binary.LittleEndian
	if len(b) < headerSize || le.Uint32(b) != magic || headSum(store, b) != le.Uint32(b[124:]) {
		return h, fault.New("segment header", fault.Corrupt, "not a record")
	}
	h = header{
		kind: kind(b[5]), segment: le.Uint64(b[8:]), offset: int64(le.Uint64(b[16:])), seq: le.Uint64(b[24:]),
		cluster: [16]byte(b[32:]), extent: blockstore.ID(b[48:]),
		note: blockstore.Note{Ino: le.Uint64(b[64:]), Off: int64(le.Uint64(b[72:])),
			Session: le.Uint64(b[80:]), Time: int64(le.Uint64(b[88:]))},
		blocks: le.Uint32(b[96:]), held: le.Uint32(b[100:]), runs: le.Uint32(b[104:]),
		from: le.Uint64(b[112:]), metaSum: le.Uint32(b[120:]),
	}
	flags, key := le.Uint16(b[6:]), le.Uint32(b[108:])
	sound := h.blocks > 0 && h.blocks <= blockstore.MaxBlocks && h.held <= h.blocks && h.runs <= maxRuns
	switch h.kind {
	case kindPut:
		sound = sound && h.held == h.blocks && h.runs == 0
	case kindMove:
		sound = sound && h.held > 0
	case kindTombstone:
		sound = sound && h.held == 0 && h.runs > 0
	default:
		sound = false
	}
	if b[4] != format || flags != 0 || key != 0 {
		return h, fault.New("segment header", fault.Unsupported, "format %d, flags %x, key %d", b[4], flags, key)
	}
	if !sound {
		return h, fault.New("segment header", fault.Corrupt, "kind %d: %d blocks, %d held, %d runs", h.kind, h.blocks, h.held, h.runs)
	}
	return h, nil
}

// decodeMeta returns the runs (nil: all blocks) and sums that follow h.
func (h *header) decodeMeta(meta []byte) (runs.Set, []blockstore.Sum, error) {
	if len(meta) != h.metaLen() || crc32.Checksum(meta, castagnoli) != h.metaSum {
		return nil, nil, fault.New("segment header", fault.Corrupt, "runs or sums of extent %v", h.extent)
	}
	le := binary.LittleEndian
	var set runs.Set
	at, last := 0, uint32(0)
	for i := range h.runs {
		r := runs.Run{First: le.Uint32(meta[at:]), End: le.Uint32(meta[at+4:])}
		if r.First >= r.End || r.End > h.blocks || i > 0 && r.First <= last {
			return nil, nil, fault.New("segment header", fault.Corrupt, "runs of extent %v", h.extent)
		}
		set, last = append(set, r), r.End
		at += 8
	}
	if h.kind == kindMove && h.runs > 0 && set.Len() != h.held {
		return nil, nil, fault.New("segment header", fault.Corrupt, "extent %v holds %d blocks", h.extent, h.held)
	}
	sums := make([]blockstore.Sum, h.held)
	for i := range sums {
		sums[i] = blockstore.Sum(le.Uint32(meta[at:]))
		at += 4
	}
	return set, sums, nil
}
