package pool

import (
	"bytes"
	"math/rand/v2"
	"testing"

	"dfs/blockstore"
	"dfs/blockstore/mem"
	"dfs/cluster"
	"dfs/cluster/fault"
	"dfs/cluster/placement"
)

// TestOverRealStores writes, loses replicas, reads any span and repairs, over the stores that obey the contract.
func TestOverRealStores(t *testing.T) {
	for seed := range uint64(20) {
		rng := rand.New(rand.NewPCG(seed, 4))
		stores := map[cluster.PeerID]*mem.Store{}
		r := newRig(4, seed, func(o *Options) {
			o.Store = func(id cluster.PeerID) blockstore.Store { return stores[id] }
		})
		for _, id := range r.ids {
			stores[id] = mem.New()
		}
		data := blocks(1+rng.IntN(40), seed)
		pieces, err := r.Write(t.Context(), data, blockstore.Note{}, placement.Wish{Copies: 2, UnitBlocks: uint32(1 + rng.IntN(16))})
		if err != nil {
			t.Fatal(err)
		}
		if err := r.Sync(t.Context(), r.ids); err != nil {
			t.Fatal(err)
		}
		for _, x := range pieces {
			lost, kept := x.Layout.Peers[seed%2], x.Layout.Peers[1-seed%2]
			if err := r.Delete(t.Context(), lost, x.Span); err != nil {
				t.Fatal(err)
			}
			part := x.Span
			part.First = rng.Uint32N(x.Span.Count)
			part.Count = 1 + rng.Uint32N(x.Span.Count-part.First)
			p := make([]byte, part.Bytes())
			off := x.Off + int64(part.First)*blockstore.Size
			if err := r.Read(t.Context(), part, x.Layout, p); err != nil || !bytes.Equal(p, data[off:off+part.Bytes()]) {
				t.Fatalf("seed %d: one replica lost: %v", seed, err)
			}
			if err := r.Copy(t.Context(), x.Span, blockstore.Note{}, x.Layout, lost); err != nil {
				t.Fatalf("seed %d: copy: %v", seed, err)
			}
			if err := r.Delete(t.Context(), kept, x.Span); err != nil {
				t.Fatal(err)
			}
		}
		if !bytes.Equal(r.whole(t, pieces), data) {
			t.Fatalf("seed %d: other bytes after the repair", seed)
		}
		x := pieces[0]
		for _, id := range x.Layout.Peers {
			r.Delete(t.Context(), id, x.Span)
		}
		if err := r.Read(t.Context(), x.Span, x.Layout, make([]byte, x.Span.Bytes())); fault.KindOf(err) != fault.Damaged {
			t.Fatalf("seed %d: no replica left: %v", seed, err)
		}
	}
}

// TestRotInDifferentPlaces reads what no single replica can give: every block is good somewhere.
func TestRotInDifferentPlaces(t *testing.T) {
	stores := map[cluster.PeerID]*mem.Store{}
	r := newRig(2, 1, func(o *Options) {
		o.Store = func(id cluster.PeerID) blockstore.Store { return stores[id] }
	})
	for _, id := range r.ids {
		stores[id] = mem.New()
	}
	data := blocks(100, 7)
	pieces, err := r.Write(t.Context(), data, blockstore.Note{}, placement.Wish{Copies: 2, UnitBlocks: 128})
	if err != nil {
		t.Fatal(err)
	}
	x := pieces[0]
	for _, b := range []uint32{0, 1, 50, 99} {
		stores[x.Layout.Peers[b%2]].Rot(x.Span.Extent, b)
	}
	if !bytes.Equal(r.whole(t, pieces), data) {
		t.Fatal("other bytes")
	}
	stores[x.Layout.Peers[0]].Rot(x.Span.Extent, 99)
	if err := r.Read(t.Context(), x.Span, x.Layout, make([]byte, x.Span.Bytes())); fault.KindOf(err) != fault.Damaged {
		t.Fatal("a block that rotted everywhere:", err)
	}
}
