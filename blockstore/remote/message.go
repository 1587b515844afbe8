package remote

import (
	"encoding/binary"
	"slices"

	"dfs/blockstore"
	"dfs/cluster/fault"
	"dfs/net/wire"
)

type message = wire.Message

// Kinds, all within wire.KindBlock's range. The numbers travel: append only.
const (
	kindPut    = wire.KindBlock + 0
	kindGet    = wire.KindBlock + 1
	kindDelete = wire.KindBlock + 2
	kindSync   = wire.KindBlock + 3
	kindList   = wire.KindBlock + 4
	kindHard   = wire.KindBlock + 5
	kindDone   = wire.KindBlock + 8
	kindBlocks = wire.KindBlock + 9
	kindPage   = wire.KindBlock + 10
)

// done answers put, delete and sync.
type done struct{}

func (*done) Kind() wire.Kind        { return kindDone }
func (*done) Append(b []byte) []byte { return b }
func (*done) Decode(b []byte) error  { return wire.NewReader(b).Done() }

// put carries whole extents, at most MaxBlocks blocks in all: their sums in the fields, their bytes in the payload.
type put struct {
	batches []blockstore.Batch
	blocks  int  // announced by the fields
	hard    bool // to be synced too; a kind of its own, not a field
}

func (m *put) Kind() wire.Kind {
	if m.hard {
		return kindHard
	}
	return kindPut
}

func (m *put) Append(b []byte) []byte {
	size := 0
	for i := range m.batches {
		size += 64 + 4*len(m.batches[i].Sums)
	}
	b = slices.Grow(b, size)
	b = wire.AppendUint(b, uint64(len(m.batches)))
	for i := range m.batches {
		x := &m.batches[i]
		b = append(b, x.ID[:]...)
		b = wire.AppendUint(b, x.Note.Ino)
		b = wire.AppendInt(b, x.Note.Off)
		b = wire.AppendUint(b, x.Note.Session)
		b = wire.AppendInt(b, x.Note.Time)
		b = appendSums(b, x.Sums)
	}
	return b
}

func (m *put) Decode(b []byte) error {
	r := wire.NewReader(b)
	n := r.Count(blockstore.MaxBlocks)
	m.batches, m.blocks = nil, 0
	for range n {
		x := blockstore.Batch{ID: blockstore.ID(r.Fixed(len(blockstore.ID{})))}
		x.Note = blockstore.Note{Ino: r.Uint(), Off: r.Int(), Session: r.Uint(), Time: r.Int()}
		x.Sums = readSums(r, blockstore.MaxBlocks-m.blocks)
		if r.Err() != nil {
			break
		}
		if len(x.Sums) == 0 {
			return fault.New("decode put", fault.Invalid, "extent %v is empty", x.ID)
		}
		m.blocks += len(x.Sums)
		m.batches = append(m.batches, x)
	}
	return r.Done()
}

func (m *put) Payload() [][]byte {
	parts := make([][]byte, len(m.batches))
	for i := range m.batches {
		parts[i] = m.batches[i].Data
	}
	return parts
}

func (m *put) SetPayload(p []byte) error {
	if len(p) != m.blocks*blockstore.Size {
		return fault.New("decode put", fault.Invalid, "%d bytes for %d blocks", len(p), m.blocks)
	}
	for i := range m.batches {
		n := len(m.batches[i].Sums) * blockstore.Size
		m.batches[i].Data, p = p[:n:n], p[n:]
	}
	return nil
}

// get asks for one span.
type get struct{ span blockstore.Span }

func (*get) Kind() wire.Kind { return kindGet }

func (m *get) Append(b []byte) []byte { return appendSpan(b, m.span) }

func (m *get) Decode(b []byte) error {
	r := wire.NewReader(b)
	m.span = readSpan(r)
	if err := r.Done(); err != nil {
		return err
	}
	if s := m.span; s.Count == 0 || s.Count > blockstore.MaxBlocks || s.First > blockstore.MaxBlocks-s.Count {
		return fault.New("decode get", fault.Invalid, "%v", s)
	}
	return nil
}

// blocks answers get: bytes and the sums they were stored with.
type blocks struct {
	sums []blockstore.Sum
	data []byte
	most uint32 // what was asked for
}

func (*blocks) Kind() wire.Kind { return kindBlocks }

func (m *blocks) Append(b []byte) []byte { return appendSums(slices.Grow(b, 4*len(m.sums)+4), m.sums) }

func (m *blocks) Decode(b []byte) error {
	r := wire.NewReader(b)
	m.sums = readSums(r, int(m.most))
	return r.Done()
}

func (m *blocks) Payload() [][]byte { return [][]byte{m.data} }

func (m *blocks) SetPayload(p []byte) error {
	if len(p) != len(m.sums)*blockstore.Size {
		return fault.New("decode blocks", fault.Invalid, "%d bytes for %d blocks", len(p), len(m.sums))
	}
	m.data = p
	return nil
}

// remove is a delete of at most maxSpans spans.
type remove struct{ spans []blockstore.Span }

func (*remove) Kind() wire.Kind { return kindDelete }

func (m *remove) Append(b []byte) []byte {
	b = wire.AppendUint(b, uint64(len(m.spans)))
	for _, s := range m.spans {
		b = appendSpan(b, s)
	}
	return b
}

func (m *remove) Decode(b []byte) error {
	r := wire.NewReader(b)
	m.spans = nil
	for range r.Count(maxSpans) {
		if m.spans = append(m.spans, readSpan(r)); r.Err() != nil {
			break
		}
	}
	return r.Done()
}

// syncStore asks for a sync.
type syncStore struct{}

func (*syncStore) Kind() wire.Kind        { return kindSync }
func (*syncStore) Append(b []byte) []byte { return b }
func (*syncStore) Decode(b []byte) error  { return wire.NewReader(b).Done() }

// list asks for a page of what the store holds.
type list struct {
	after blockstore.ID
	most  uint32
}

func (*list) Kind() wire.Kind { return kindList }

func (m *list) Append(b []byte) []byte {
	return wire.AppendUint(append(b, m.after[:]...), uint64(m.most))
}

func (m *list) Decode(b []byte) error {
	r := wire.NewReader(b)
	m.after = blockstore.ID(r.Fixed(len(m.after)))
	m.most = r.Uint32()
	if err := r.Done(); err != nil {
		return err
	}
	if m.most == 0 || m.most > pageExtents {
		return fault.New("decode list", fault.Invalid, "page of %d", m.most)
	}
	return nil
}

// page answers list, in ID order.
type page struct{ items []item }

type item struct {
	id     blockstore.ID
	blocks uint32
}

func (*page) Kind() wire.Kind { return kindPage }

func (m *page) Append(b []byte) []byte {
	b = wire.AppendUint(b, uint64(len(m.items)))
	for _, i := range m.items {
		b = wire.AppendUint(append(b, i.id[:]...), uint64(i.blocks))
	}
	return b
}

func (m *page) Decode(b []byte) error {
	r := wire.NewReader(b)
	m.items = nil
	for range r.Count(pageExtents) {
		i := item{id: blockstore.ID(r.Fixed(len(blockstore.ID{}))), blocks: r.Uint32()}
		if r.Err() != nil {
			break
		}
		m.items = append(m.items, i)
	}
	for i := 1; i < len(m.items); i++ { // or the asker might go round in circles
		if string(m.items[i-1].id[:]) >= string(m.items[i].id[:]) {
			return fault.New("decode page", fault.Invalid, "not in order")
		}
	}
	return r.Done()
}

func appendSpan(b []byte, s blockstore.Span) []byte {
	b = append(b, s.Extent[:]...)
	b = wire.AppendUint(b, uint64(s.First))
	return wire.AppendUint(b, uint64(s.Count))
}

func readSpan(r *wire.Reader) blockstore.Span {
	return blockstore.Span{Extent: blockstore.ID(r.Fixed(len(blockstore.ID{}))), First: r.Uint32(), Count: r.Uint32()}
}

// Sums travel as four bytes each, little-endian, with their count before them.
func appendSums(b []byte, sums []blockstore.Sum) []byte {
	b = wire.AppendUint(b, uint64(len(sums)))
	for _, s := range sums {
		b = binary.LittleEndian.AppendUint32(b, uint32(s))
	}
	return b
}

func readSums(r *wire.Reader, most int) []blockstore.Sum {
	n := r.Count(most)
	b := r.Fixed(4 * n)
	if r.Err() != nil {
		return nil
	}
	sums := make([]blockstore.Sum, n)
	for i := range sums {
		sums[i] = blockstore.Sum(binary.LittleEndian.Uint32(b[4*i:]))
	}
	return sums
}
