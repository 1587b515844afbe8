package state

import (
	"encoding/binary"
	"hash/crc32"

	"dfs/blockstore/kv"
	"dfs/cluster/fault"
	"dfs/cluster/raft"
	"dfs/net/wire"
)

// A snapshot is the map at one version, cut into chunks of at most ChunkBytes:
//
//	crc32c of what follows, 4 bytes little-endian
//	index, number of the chunk from 0, 1 if it is the last else 0   varints
//	pairs                                                            varint
//	key, value                                                       byte strings, pairs times
//
// Keys ascend within and across chunks. Only the last chunk says so, hence a stream that was cut is recognised.
const (
	ChunkBytes = 1 << 20
	chunkFill  = ChunkBytes - 128<<10 // where a chunk takes no further pair: one pair is below 70 KiB
	keyMax     = 1024
	valueMax   = 64 << 10
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// Snapshot returns the state as of Applied. It stays readable while later entries are applied. Close it.
func (m *Machine) Snapshot() (raft.Snapshot, error) {
	index := m.Applied()
	return &snapshot{index: index, r: m.store.At(index)}, nil
}

type snapshot struct {
	index  uint64
	r      kv.Reader
	from   []byte // first key not yet sent
	number uint64
	done   bool
}

func (s *snapshot) Index() uint64 { return s.index }
func (s *snapshot) Close()        { s.r.Close() }

func (s *snapshot) Next() ([]byte, error) {
	if s.done {
		return nil, nil
	}
	var body []byte
	pairs, more := uint64(0), false
	err := s.r.Scan(nil, s.from, func(k, v []byte) bool {
		if len(body)+len(k)+len(v) > chunkFill && pairs > 0 {
			s.from, more = append([]byte(nil), k...), true
			return false
		}
		body = wire.AppendBytes(wire.AppendBytes(body, k), v)
		pairs++
		return true
	})
	if err != nil {
		return nil, fault.Wrap("state snapshot", err)
	}
	s.done = !more
	b := make([]byte, 4, len(body)+40)
	b = wire.AppendUint(b, s.index)
	b = wire.AppendUint(b, s.number)
	b = wire.AppendBool(b, s.done)
	b = append(wire.AppendUint(b, pairs), body...)
	binary.LittleEndian.PutUint32(b, crc32.Checksum(b[4:], castagnoli))
	s.number++
	return b, nil
}

// chunk is one decoded chunk; its pairs alias the bytes it came in.
type chunk struct {
	index, number uint64
	last          bool
	keys, values  [][]byte
}

func decodeChunk(b []byte) (c chunk, err error) {
	if len(b) < 4 || len(b) > ChunkBytes {
		return c, fault.New("state restore", fault.Invalid, "a chunk of %d bytes", len(b))
	}
	if binary.LittleEndian.Uint32(b) != crc32.Checksum(b[4:], castagnoli) {
		return c, fault.New("state restore", fault.Corrupt, "a chunk does not match its sum")
	}
	d := wire.NewReader(b[4:])
	c.index, c.number, c.last = d.Uint(), d.Uint(), d.Bool()
	n := d.Count(ChunkBytes)
	for range n {
		k, v := d.Bytes(keyMax), d.Bytes(valueMax)
		if d.Err() == nil && len(k) == 0 {
			return c, fault.New("state restore", fault.Invalid, "an empty key")
		}
		c.keys, c.values = append(c.keys, k), append(c.values, v)
	}
	return c, d.Done()
}

// Restore replaces the state by a snapshot of index that arrives in chunks. If it fails, or the process ends
// before it is done, the state is incomplete and New says so; Restore may be called again at once.
func (m *Machine) Restore(index uint64, next func() ([]byte, error)) error {
	if index == 0 {
		return fault.New("state restore", fault.Invalid, "index 0")
	}
	m.Unprepare()
	if err := m.wipe(); err != nil {
		return fault.Wrap("state restore", err)
	}
	in := installing{store: m.store, index: index}
	if err := in.run(next); err != nil {
		return err
	}
	m.setApplied(index)
	for _, f := range m.followers {
		f.Reset(index)
	}
	return nil
}

// wipe leaves an empty state. Readers that are open keep theirs.
func (m *Machine) wipe() error {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.applied = 0
	return m.store.Wipe()
}

// installing makes transactions of at most a chunk and installPairs each, at versions 1, 2, ... The last one makes the
// snapshot's own version; should the versions below it run out first, it takes the rest of the chunks too.
type installing struct {
	store   kv.Store
	index   uint64
	from    uint64 // of the snapshot: below index where the entries between the two carry no proposals
	version uint64 // of tx
	chunks  uint64 // seen
	pairs   int    // in tx
	tx      kv.Txn
}

// installPairs is what any kv.Store takes in one transaction, however small the pairs.
const installPairs = 8192

func (in *installing) run(next func() ([]byte, error)) error {
	defer func() {
		if in.tx != nil {
			in.tx.Close()
		}
	}()
	if err := in.begin(); err != nil {
		return err
	}
	for {
		b, err := next()
		if err != nil {
			return fault.Wrap("state restore", err)
		}
		if b == nil {
			return fault.New("state restore", fault.Invalid, "the snapshot ended early, after %d chunks", in.chunks)
		}
		c, err := decodeChunk(b)
		if err != nil {
			return err
		}
		if in.chunks == 0 {
			in.from = c.index
		}
		if c.index != in.from || c.index > in.index || c.number != in.chunks {
			return fault.New("state restore", fault.Invalid, "chunk %d of snapshot %d, want %d of %d", c.number, c.index, in.chunks, in.index)
		}
		in.chunks++
		if err := in.take(c); err != nil {
			return fault.Wrap("state restore", err)
		}
		if c.last {
			return in.finish(next)
		}
	}
}

// begin starts the next transaction. All but the one that makes the final version leave the mark of incompleteness.
func (in *installing) begin() error {
	in.version++
	in.pairs = 0
	in.tx = in.store.Begin(in.version)
	if in.version < in.index {
		return in.tx.Set(incompleteKey, wire.AppendUint(nil, in.index))
	}
	return in.tx.Delete(incompleteKey)
}

func (in *installing) take(c chunk) error {
	for i, k := range c.keys {
		if in.pairs >= installPairs {
			if err := in.next(); err != nil {
				return err
			}
		}
		if err := in.tx.Set(k, c.values[i]); err != nil {
			return err
		}
		in.pairs++
	}
	if c.last {
		return nil
	}
	return in.next()
}

// next ends the transaction and begins another, where there is a version for it.
func (in *installing) next() error {
	if in.version >= in.index {
		return nil
	}
	if err := in.tx.Commit(); err != nil {
		return err
	}
	return in.begin()
}

// finish makes the final version.
func (in *installing) finish(next func() ([]byte, error)) error {
	if b, err := next(); err != nil {
		return fault.Wrap("state restore", err)
	} else if b != nil {
		return fault.New("state restore", fault.Invalid, "chunks after the last one")
	}
	if in.version < in.index {
		if err := in.tx.Commit(); err != nil {
			return fault.Wrap("state restore", err)
		}
		in.version = in.index - 1
		if err := in.begin(); err != nil {
			return err
		}
	}
	if err := in.tx.Set(appliedKey, wire.AppendUint(nil, in.index)); err != nil {
		return fault.Wrap("state restore", err)
	}
	return fault.Wrap("state restore", in.tx.Commit())
}
