package segment

import (
	"bytes"
	"slices"
	"testing"

	"dfs/blockstore"
	"dfs/blockstore/runs"
	"dfs/blockstore/storetest"
	"dfs/cluster/fault"
)

var storeID = [16]byte{7, 7, 7}

func TestHeader(t *testing.T) {
	b := storetest.Extent(3, 40)
	h := header{kind: kindMove, segment: 9, offset: 4096, seq: 77, cluster: [16]byte{1}, extent: b.ID, note: b.Note,
		blocks: 60, from: 8}
	set := runs.Set{{First: 0, End: 30}, {First: 50, End: 60}}
	enc := h.encode(storeID, set, b.Sums)
	if int64(len(enc)) != h.dataAt() || h.size() != h.dataAt()+40*512 || h.dataAt()%alignment != 0 {
		t.Fatalf("%d bytes encoded, data at %d, size %d", len(enc), h.dataAt(), h.size())
	}
	got, err := decodeHeader(storeID, enc)
	if err != nil || got != h {
		t.Fatalf("%+v, %v; want %+v", got, err, h)
	}
	gotSet, sums, err := got.decodeMeta(enc[headerSize : headerSize+got.metaLen()])
	if err != nil || !slices.Equal(gotSet, set) || !slices.Equal(sums, b.Sums) {
		t.Fatalf("%v, %v", gotSet, err)
	}
	for i := range enc[:headerSize+h.metaLen()] { // every flip is found
		flipped := bytes.Clone(enc)
		flipped[i] ^= 0x20
		x, err := decodeHeader(storeID, flipped)
		if err == nil {
			_, _, err = x.decodeMeta(flipped[headerSize : headerSize+x.metaLen()])
		}
		if fault.KindOf(err) != fault.Corrupt {
			t.Fatalf("byte %d flipped: %v", i, err)
		}
	}
	if _, err := decodeHeader([16]byte{8}, enc); fault.KindOf(err) != fault.Corrupt {
		t.Fatalf("a record of another store: %v", err)
	}
}

// FuzzSegmentHeader: no bytes crash the parser, and what it accepts is sound.
func FuzzSegmentHeader(f *testing.F) {
	b := storetest.Extent(1, 5)
	for _, c := range []struct {
		h    header
		set  runs.Set
		sums []blockstore.Sum
	}{
		{header{kind: kindPut, blocks: 5}, nil, b.Sums},
		{header{kind: kindMove, blocks: 9}, runs.Set{{First: 1, End: 3}, {First: 5, End: 8}}, b.Sums},
		{header{kind: kindTombstone, blocks: 9}, runs.Set{{First: 1, End: 3}}, nil},
	} {
		f.Add(c.h.encode(storeID, c.set, c.sums), true)
	}
	f.Fuzz(func(t *testing.T, b []byte, seal bool) {
		b = bytes.Clone(b)
		if seal && len(b) >= headerSize { // let the fuzzer past the sums
			if n := uint64(len(b)); n > headerSize {
				h, err := peek(b)
				if err == nil && headerSize+h.metaLen() <= len(b) {
					sealMeta(b, h.metaLen())
				}
			}
			sealHead(b)
		}
		h, err := decodeHeader(storeID, b)
		if err != nil {
			return
		}
		if h.size() <= 0 || h.size()%alignment != 0 || h.dataAt() > headerSize+8*maxRuns+4*blockstore.MaxBlocks+alignment {
			t.Fatalf("size %d, data at %d", h.size(), h.dataAt())
		}
		if len(b) < headerSize+h.metaLen() {
			return
		}
		set, sums, err := h.decodeMeta(b[headerSize : headerSize+h.metaLen()])
		if err != nil {
			return
		}
		if len(sums) != int(h.held) || set.Len() > h.blocks {
			t.Fatalf("%d sums of %d blocks, %v of %d", len(sums), h.held, set, h.blocks)
		}
		again := h.encode(storeID, set, sums)
		back, err := decodeHeader(storeID, again)
		if err != nil || back != h {
			t.Fatalf("%+v becomes %+v, %v", h, back, err)
		}
	})
}

// FuzzEntry: the same for the index's values.
func FuzzEntry(f *testing.F) {
	f.Add((&entry{segment: 3, offset: 640, blocks: 20, dead: runs.Set{{First: 2, End: 5}}}).append(nil))
	f.Add((&entry{segment: 3, blocks: 20, kept: runs.Set{{First: 0, End: 9}}, dead: runs.Set{{First: 2, End: 5}}}).append(nil))
	f.Add([]byte("00\x00\x00\x0100")) // more blocks than an extent has
	f.Fuzz(func(t *testing.T, b []byte) {
		e, err := decodeEntry(b)
		if err != nil {
			return
		}
		if again, err := decodeEntry(e.append(nil)); err != nil || again.segment != e.segment || again.offset != e.offset {
			t.Fatalf("%+v becomes %+v, %v", e, again, err)
		}
	})
}
