// Package blockstore says what it means to keep extents.
//
// A block is 512 bytes of a file: the unit of addressing, accounting, integrity and placement. An extent is a
// run of consecutive blocks that were written together; it is immutable, named by an ID that is used once, and
// stored, sent and checked as one. Every block carries a CRC-32C that the writing peer computed; every reader
// verifies it. Because an extent never changes, its replicas can be missing or rotten, never different.
//
// The implementations are segment (a peer's disk), mem (tests), remote (another peer's store), faulty (a wrapper
// that fails on purpose) and, over many of them, pool. All obey the one contract in storetest.
package blockstore

import (
	"context"
	"encoding/hex"
	"hash/crc32"

	"dfs/cluster/fault"
)

// Size is the number of bytes in a block.
const Size = 512

// MaxBlocks is the most blocks an extent may have: 4 MiB.
const MaxBlocks = 8192

// ID names one extent: 48 bits of milliseconds since 1970, 80 random bits. It sorts by time and is never reused.
type ID [16]byte

func (id ID) String() string { return hex.EncodeToString(id[:]) }

// MarshalText lets ids travel in JSON as their String.
func (id ID) MarshalText() ([]byte, error) { return []byte(id.String()), nil }

// Span is a run of consecutive blocks of one extent.
type Span struct {
	Extent       ID
	First, Count uint32 // in blocks
}

// Bytes returns the span's length in bytes.
func (s Span) Bytes() int64 { return int64(s.Count) * Size }

// Sum is the CRC-32C (Castagnoli) of one block, computed by the peer that made it.
type Sum uint32

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// SumOf returns the sum of one block.
func SumOf(block []byte) Sum { return Sum(crc32.Checksum(block, castagnoli)) }

// Sums returns one sum a block of data, whose length must be a multiple of Size.
func Sums(data []byte) []Sum {
	sums := make([]Sum, len(data)/Size)
	for i := range sums {
		sums[i] = SumOf(data[i*Size : (i+1)*Size])
	}
	return sums
}

// Verify checks every block of data against sums. fault.Corrupt names the first that fails.
func Verify(data []byte, sums []Sum) error {
	if len(data) != len(sums)*Size {
		return fault.New("verify", fault.Corrupt, "%d bytes with %d sums", len(data), len(sums))
	}
	for i, want := range sums {
		if got := SumOf(data[i*Size : (i+1)*Size]); got != want {
			return fault.New("verify", fault.Corrupt, "block %d of %d: sum %08x, want %08x", i, len(sums), got, want)
		}
	}
	return nil
}

// Batch is one whole extent on its way into a store. Data and Sums remain the caller's and must not change
// until Put has returned.
type Batch struct {
	ID   ID
	Data []byte // 1..MaxBlocks blocks
	Sums []Sum  // one a block
	Note Note
}

// Note is what an extent was written for. It is stored in the extent's header so that salvage can rebuild files
// without metadata; nothing else relies on it.
type Note struct {
	Ino     uint64 // inode, metadata shard in the top 8 bits
	Off     int64  // byte offset in the file at writing time, of the first block
	Session uint64 // of the writing mount
	Time    int64  // UTC nanoseconds
}

// Gathered, a bit of Note.Off that no block's offset has, says that the extent's blocks were written to several places from
// that offset on, which only the file's map knows.
const Gathered = 1

// Store keeps extents. All methods are safe for concurrent use.
type Store interface {
	// Put stores whole extents. On return the bytes survive a crash of the process, and of the machine too
	// once Sync has returned. The same bytes again under a known ID are no error; others are fault.Exist.
	// Data that does not match Sums is fault.Corrupt and nothing of the call's batches need have been stored.
	// fault.NoSpace when the store is full.
	Put(ctx context.Context, b ...Batch) error

	// Get fills p, which is s.Bytes() long, with the blocks of s, each verified against its sum.
	// fault.NotExist when any block of s is unknown or deleted, fault.Corrupt when one no longer matches.
	Get(ctx context.Context, s Span, p []byte) error

	// Delete forgets blocks. Absent ones are no error. An extent is gone when its last block is.
	Delete(ctx context.Context, s ...Span) error

	// Sync returns when everything put or deleted before the call survives a crash of the machine.
	// Concurrent calls share one disk sync. After a failed sync the store takes no more writes: fault.ReadOnly.
	Sync(ctx context.Context) error
}

// Hard is implemented by stores that can put and sync in one request.
type Hard interface {
	// PutHard is Put and, if that succeeds, Sync.
	PutHard(ctx context.Context, b ...Batch) error
}

// PutHard puts b into s and syncs it.
func PutHard(ctx context.Context, s Store, b ...Batch) error {
	if h, can := s.(Hard); can {
		return h.PutHard(ctx, b...)
	}
	if err := s.Put(ctx, b...); err != nil {
		return err
	}
	return s.Sync(ctx)
}

// Raw is implemented by stores that can leave the verifying to the reader, so that one check covers the disk, the
// memory and the way between.
type Raw interface {
	// GetRaw is Get without the check: p gets the blocks as the disk has them, sums, one a block, the sums they were
	// stored with.
	GetRaw(ctx context.Context, s Span, p []byte, sums []Sum) error
}

// Lister is implemented by stores that can enumerate what they hold, for scrub, sweep and status.
type Lister interface {
	// List calls fn for each extent after the ID given, in ID order, with its live blocks in total, until fn
	// returns false.
	List(ctx context.Context, after ID, fn func(id ID, blocks uint32) bool) error
}

// Noter is implemented by stores that can say what an extent was written for, for sweep and salvage.
type Noter interface {
	// NoteOf returns the note an extent was put with and how many blocks it had then. fault.NotExist, fault.Corrupt.
	NoteOf(ctx context.Context, id ID) (n Note, blocks uint32, err error)
}

// Usage is what a store holds and may hold, in bytes.
type Usage struct {
	Live     int64 // blocks that a Get would find
	Disk     int64 // what the files take
	Capacity int64 // the most it may take; 0 means unlimited
}

// Sizer is implemented by stores that know their usage.
type Sizer interface{ Usage() Usage }
