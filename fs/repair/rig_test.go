package repair_test

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"slices"
	"sync"
	"testing"

	"dfs/blockstore"
	"dfs/blockstore/faulty"
	"dfs/blockstore/kv/mem"
	blockmem "dfs/blockstore/mem"
	"dfs/blockstore/pool"
	"dfs/blockstore/runs"
	"dfs/cluster"
	"dfs/cluster/placement"
	"dfs/cluster/raft"
	"dfs/cluster/state"
	"dfs/fs/extent"
	"dfs/fs/meta"
	"dfs/fs/repair"
)

var ctx = context.Background()

// rig is a cluster without a network: one replica of the state, a store a member, a pool over them, the leader's
// Keeper. Its members come and go.
type rig struct {
	*repair.Keeper
	t       *testing.T
	machine *state.Machine
	pool    *pool.Pool
	ids     []cluster.PeerID
	members []cluster.Member
	stores  []*blockmem.Store
	faults  []*faulty.Store
	drops   []*repair.Dropper

	mu      sync.Mutex
	index   uint64
	seqs    map[uint64]uint64
	session uint64 // that ops are proposed in
	away    map[cluster.PeerID]bool
	before  func(meta.Op) // called before the keeper's op is applied
	ops     []meta.Op     // the keeper's
}

func newRig(t *testing.T, peers int) *rig {
	t.Helper()
	r := &rig{t: t, seqs: map[uint64]uint64{}, session: 1, away: map[cluster.PeerID]bool{}}
	m, err := state.New(mem.New(), state.Options{Parts: map[byte]state.Part{state.TagMeta: meta.Part{}}})
	if err != nil {
		t.Fatal(err)
	}
	r.machine = m
	r.pool = pool.New(pool.Options{View: r.view, Store: r.store})
	r.Keeper = repair.New(repair.Options{
		Session: 1, View: r.newest, Propose: r.propose, Members: r.pool.View, Pool: r.pool, Pick: r.pool.Policy,
	})
	for range peers {
		r.join()
	}
	r.do(meta.Format{Mode: 0o755})
	return r
}

// join admits one more member with an empty store.
func (r *rig) join() cluster.PeerID {
	key := ed25519.PublicKey(make([]byte, 32))
	key[0] = byte(len(r.ids) + 1)
	m := cluster.Member{ID: cluster.IDOf(key), Key: key, Host: string(rune('a' + len(r.ids))), Capacity: 1 << 30}
	token := state.Token{ID: state.TokenID{key[0]}, Uses: 1}
	if len(r.ids) == 0 {
		r.fact(state.OpenSession{Peer: m.ID})
		r.fact(state.Genesis{First: m})
	} else {
		r.fact(state.TokenCreate{Token: token})
		r.fact(state.Admit{Token: token.ID, Member: m})
	}
	s := blockmem.New()
	r.mu.Lock()
	defer r.mu.Unlock()
	r.ids, r.members, r.stores = append(r.ids, m.ID), append(r.members, m), append(r.stores, s)
	r.faults = append(r.faults, faulty.New(s))
	r.drops = append(r.drops, &repair.Dropper{Self: m.ID, View: r.newest, Store: s})
	return m.ID
}

func (r *rig) view() cluster.View {
	r.mu.Lock()
	defer r.mu.Unlock()
	var peers []cluster.Peer
	for _, m := range r.members {
		p := cluster.Peer{Member: m}
		if r.away[m.ID] {
			p.Seen = cluster.Dead
		}
		peers = append(peers, p)
	}
	return cluster.NewView(r.ids[0], r.index, peers)
}

func (r *rig) store(id cluster.PeerID) blockstore.Store {
	r.mu.Lock()
	defer r.mu.Unlock()
	if i := slices.Index(r.ids, id); i >= 0 && !r.away[id] {
		return r.faults[i]
	}
	return nil
}

func (r *rig) newest() (*meta.Image, error) {
	kvs, at := r.machine.At(0)
	return meta.NewView(kvs, at), nil
}

func (r *rig) image() *meta.Image {
	v, _ := r.newest()
	return v
}

// entry applies one proposal as a log entry of its own.
func (r *rig) entry(session uint64, body []byte) ([]byte, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.index++
	r.seqs[session]++
	n := r.seqs[session]
	rs, err := r.machine.Apply(r.index, []raft.Proposal{{Session: session, Seq: n, Low: n, Time: int64(r.index), Body: body}})
	if err != nil {
		r.t.Error(err)
		return nil, err
	}
	return rs[0], nil
}

func (r *rig) fact(f state.Fact) {
	r.t.Helper()
	raw, err := r.entry(r.session, state.Encode(f))
	if err == nil {
		_, err = state.DecodeResult(raw)
	}
	if err != nil {
		r.t.Fatalf("%T: %v", f, err)
	}
}

func (r *rig) apply(op meta.Op) (meta.Result, error) {
	raw, err := r.entry(r.session, meta.Encode(op))
	if err != nil {
		return meta.Result{}, err
	}
	return meta.ResultOf(raw)
}

func (r *rig) do(op meta.Op) meta.Result {
	r.t.Helper()
	res, err := r.apply(op)
	if err != nil {
		r.t.Fatalf("%T: %v", op, err)
	}
	return res
}

// propose is the keeper's.
func (r *rig) propose(ctx context.Context, op meta.Op) (meta.Result, error) {
	r.mu.Lock()
	r.ops = append(r.ops, op)
	before := r.before
	r.mu.Unlock()
	if before != nil {
		before(op)
	}
	return r.apply(op)
}

func (r *rig) proposed() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return len(r.ops)
}

func (r *rig) setAway(away bool, ids ...cluster.PeerID) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, id := range ids {
		r.away[id] = away
	}
}

func (r *rig) file(name string, w placement.Wish) meta.Ino {
	r.t.Helper()
	ino := r.do(meta.Create{Dir: meta.Root, Name: name, Type: meta.File, Mode: 0o644}).Inode.Ino
	r.do(meta.SetAttr{Ino: ino, Mask: meta.SetWish, Wish: w})
	return ino
}

func (r *rig) stat(ino meta.Ino) meta.Inode {
	r.t.Helper()
	v := r.image()
	defer v.Close()
	n, err := v.Stat(ino)
	if err != nil {
		r.t.Fatal(err)
	}
	return n
}

// write puts whole blocks into a file at off, as a mount does.
func (r *rig) write(ino meta.Ino, off int64, data []byte) (meta.Result, error) {
	n := r.stat(ino)
	pieces, err := r.pool.Write(ctx, data, blockstore.Note{Ino: uint64(ino), Off: off, Session: r.session}, n.Wish)
	if err != nil {
		return meta.Result{}, err
	}
	return r.commit(ino, off, pieces)
}

// commit makes what was written visible at off.
func (r *rig) commit(ino meta.Ino, off int64, pieces []pool.Piece) (meta.Result, error) {
	op := meta.Commit{Ino: ino, TruncGen: r.stat(ino).TruncGen}
	for _, p := range pieces {
		op.Extents = append(op.Extents, extent.Extent{Off: off + p.Off, Span: p.Span, Layout: p.Layout})
		op.End = off + p.Off + p.Span.Bytes()
	}
	return r.apply(op)
}

func (r *rig) mustWrite(ino meta.Ino, off int64, data []byte) {
	r.t.Helper()
	if _, err := r.write(ino, off, data); err != nil {
		r.t.Fatal(err)
	}
}

// read returns the whole file as any mount would see it.
func (r *rig) read(ino meta.Ino) []byte {
	r.t.Helper()
	v := r.image()
	defer v.Close()
	n, err := v.Stat(ino)
	if err != nil {
		r.t.Fatal(err)
	}
	m, err := v.Extents(ino, 0, meta.SizeMax)
	if err != nil {
		r.t.Fatal(err)
	}
	p := make([]byte, n.Size)
	for _, e := range m {
		b := make([]byte, e.Span.Bytes())
		if err := r.pool.Read(ctx, e.Span, e.Layout, b); err != nil {
			r.t.Fatalf("inode %d at %d: %v", ino, e.Off, err)
		}
		if e.Off < n.Size {
			copy(p[e.Off:], b[:e.Shown()-e.Off])
		}
	}
	return p
}

func (r *rig) extents(ino meta.Ino) extent.Map {
	r.t.Helper()
	v := r.image()
	defer v.Close()
	m, err := v.Extents(ino, 0, meta.SizeMax)
	if err != nil {
		r.t.Fatal(err)
	}
	return m
}

func (r *rig) below() uint64 {
	r.t.Helper()
	v := r.image()
	defer v.Close()
	u, err := v.Usage()
	if err != nil {
		r.t.Fatal(err)
	}
	return u.BelowExtents
}

func (r *rig) raise() (raised, left int) {
	r.t.Helper()
	raised, left, err := r.Raise(ctx)
	if err != nil {
		r.t.Fatal(err)
	}
	return raised, left
}

func (r *rig) now() uint64 {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.index
}

// words is what the members that are there say: everything synced, dropped, taken in; nothing held open.
func (r *rig) words() (words []repair.Word, absent []cluster.PeerID) {
	r.t.Helper()
	for i, id := range r.ids {
		if r.away[id] {
			absent = append(absent, id)
			continue
		}
		at := r.now()
		if err := r.stores[i].Sync(ctx); err != nil {
			r.t.Fatal(err)
		}
		dropped, err := r.drops[i].Pass(ctx, at)
		if err != nil {
			r.t.Fatal(err)
		}
		w := repair.Word{Peer: id, Taken: at, Synced: at, Dropped: dropped}
		if i == 0 {
			w.Session = 1
		}
		words = append(words, w)
	}
	return words, absent
}

func (r *rig) settle() {
	r.t.Helper()
	words, absent := r.words()
	if err := r.Settle(ctx, words, absent); err != nil {
		r.t.Fatal(err)
	}
}

func (r *rig) bury() {
	r.t.Helper()
	words, _ := r.words()
	if err := r.Bury(ctx, words, []uint64{1}); err != nil {
		r.t.Fatal(err)
	}
}

// quiet runs every pass until there is nothing left for any of them.
func (r *rig) quiet() {
	r.t.Helper()
	for range 50 {
		before := r.proposed()
		r.raise()
		for range 3 { // an orphan is seen, reaped, forgotten
			r.settle()
			r.bury()
		}
		if r.proposed() == before {
			return
		}
	}
	r.t.Fatal("the passes do not come to an end")
}

// held returns the blocks that each store has, by extent.
func (r *rig) held(i int) map[blockstore.ID]uint32 {
	r.t.Helper()
	held := map[blockstore.ID]uint32{}
	if err := r.stores[i].List(ctx, blockstore.ID{}, func(id blockstore.ID, n uint32) bool {
		held[id] = n
		return true
	}); err != nil {
		r.t.Fatal(err)
	}
	return held
}

// exact fails unless every store has exactly the blocks that the maps of inos place there, and can read them.
func (r *rig) exact(inos ...meta.Ino) {
	r.t.Helper()
	for i, id := range r.ids {
		want := map[blockstore.ID]runs.Set{} // files may share blocks
		for _, ino := range inos {
			for _, e := range r.extents(ino) {
				if !slices.Contains(e.Layout.Peers, id) {
					continue
				}
				want[e.Span.Extent] = want[e.Span.Extent].Union(runs.Of(e.Span.First, e.Span.Count))
				if err := r.stores[i].Get(ctx, e.Span, make([]byte, e.Span.Bytes())); err != nil {
					r.t.Errorf("peer %d should have %v of inode %d: %v", i, e.Span, ino, err)
				}
			}
		}
		have := r.held(i)
		for x, n := range have {
			if want[x].Len() != n {
				r.t.Errorf("peer %d has %d blocks of %v, the maps say %d", i, n, x, want[x].Len())
			}
		}
		if len(have) < len(want) {
			r.t.Errorf("peer %d has %d extents of %d", i, len(have), len(want))
		}
	}
}

func (r *rig) same(ino meta.Ino, want []byte) {
	r.t.Helper()
	if got := r.read(ino); !bytes.Equal(got, want) {
		r.t.Fatalf("inode %d: other bytes (%d of %d)", ino, len(got), len(want))
	}
}

// blocks returns n blocks that differ from each other and from those of another seed.
func blocks(n int, seed byte) []byte {
	b := make([]byte, n*blockstore.Size)
	for i := range b {
		b[i] = seed ^ byte(i/blockstore.Size*7) ^ byte(i)
	}
	return b
}
