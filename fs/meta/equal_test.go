package meta

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"dfs/blockstore/kv"
	"dfs/blockstore/kv/badger"
	"dfs/blockstore/kv/mem"
	"dfs/cluster"
	"dfs/cluster/placement"
	"dfs/cluster/raft"
	"dfs/cluster/state"
	"dfs/fs/acl"
	"dfs/fs/extent"
	"dfs/fs/lock"
)

// history makes random entries: several sessions, several proposals an entry, repeats, nonsense.
type history struct {
	r     *rand.Rand
	index uint64
	seqs  map[uint64]uint64
	old   []raft.Proposal
	ids   uint64
	peers []cluster.PeerID
}

func newHistory(seed uint64) *history {
	return &history{r: rand.New(rand.NewPCG(seed, 5)), seqs: map[uint64]uint64{}, peers: []cluster.PeerID{{1}, {2}, {3}}}
}

func (h *history) entry() (uint64, []raft.Proposal) {
	h.index += 1 + h.r.Uint64N(2) // raft has entries of its own in between
	var ps []raft.Proposal
	for range 1 + h.r.IntN(6) {
		session := 1 + h.r.Uint64N(3)
		h.seqs[session]++
		p := raft.Proposal{Session: session, Seq: h.seqs[session], Time: int64(h.index)}
		p.Low = p.Seq - min(p.Seq-1, h.r.Uint64N(8))
		switch n := h.r.IntN(40); {
		case p.Seq == 1 || n == 0:
			p.Body = state.Encode(state.OpenSession{Peer: h.peers[session-1]})
		case n == 1:
			p.Body = make([]byte, h.r.IntN(20))
			for i := range p.Body {
				p.Body[i] = byte(h.r.IntN(16))
			}
		case n < 5 && len(h.old) > 0:
			p = h.old[h.r.IntN(len(h.old))]
		default:
			p.Body = Encode(h.op())
		}
		ps = append(ps, p)
		h.old = append(h.old, p)
	}
	return h.index, ps
}

func (h *history) ino() Ino     { return Ino(1 + h.r.IntN(30)) }
func (h *history) name() string { return string(rune('a' + h.r.IntN(5))) }

func (h *history) xattr() string {
	return []string{AccessACL, DefaultACL, Capability, "user.a", "trusted.b"}[h.r.IntN(5)]
}

// value is an ACL, which is as good as any value.
func (h *history) value() []byte {
	p := func() uint16 { return uint16(h.r.IntN(8)) }
	return acl.ACL{{Tag: acl.UserObj, Perm: p()}, {Tag: acl.User, Perm: p(), ID: 5}, {Tag: acl.GroupObj, Perm: p()},
		{Tag: acl.Mask, Perm: p()}, {Tag: acl.Other, Perm: p()}}.Append(nil)
}

func (h *history) op() Op {
	now := Time(h.index)
	switch h.r.IntN(23) {
	case 0, 1, 2, 3:
		return Create{Dir: h.ino(), Name: h.name(), Type: Type(1 + h.r.IntN(2)), Mode: 0o644, Time: now, Grant: true}
	case 4:
		return Link{Ino: h.ino(), Dir: h.ino(), Name: h.name(), Time: now}
	case 5:
		return Unlink{Dir: h.ino(), Name: h.name(), Time: now}
	case 6:
		return Rename{OldDir: h.ino(), OldName: h.name(), NewDir: h.ino(), NewName: h.name(), Flags: uint32(h.r.IntN(3)), Time: now}
	case 7:
		return SetAttr{Ino: h.ino(), Mask: uint32(h.r.IntN(128)), Size: h.r.Int64N(9000), Mode: 0o755, Time: now}
	case 8:
		return Reap{Inos: []Ino{h.ino(), h.ino()}}
	case 9:
		return Stable{Marks: []Mark{{h.peers[0], h.index}, {h.peers[1], h.index}, {h.peers[2], h.index}}}
	case 10:
		return Format{Mode: 0o755}
	case 11:
		return EndGrant{Session: 1 + h.r.Uint64N(3)}
	case 12:
		return SetXattr{Ino: h.ino(), Name: h.xattr(), Value: h.value(), Flags: uint32(h.r.IntN(3)), KillSetgid: true, Time: now}
	case 13:
		return RemoveXattr{Ino: h.ino(), Name: h.xattr(), Time: now}
	case 14, 15:
		l := lock.Lock{Owner: lock.Owner{ID: h.r.Uint64N(3)}, Write: h.r.IntN(2) == 0, From: h.r.Uint64N(9), End: 10}
		return Lock{Ino: h.ino(), Lock: l, Wait: h.r.IntN(2) == 0, ID: h.index}
	case 16:
		return Unlock{Ino: h.ino(), Owner: h.r.Uint64N(3), From: h.r.Uint64N(9), End: 10}
	case 17:
		return EndLocks{Session: 1 + h.r.Uint64N(3)}
	case 18:
		if h.r.IntN(3) == 0 {
			return Punch{Ino: h.ino(), Off: 512 * h.r.Int64N(12), N: 512 * (1 + h.r.Int64N(4)), Time: now}
		}
		return Clone{Src: h.ino(), Dst: h.ino(), SrcOff: 512 * h.r.Int64N(4), DstOff: 512 * h.r.Int64N(12), N: 1 + h.r.Int64N(1500), Time: now}
	}
	op := Commit{Ino: h.ino(), Time: now, TruncGen: h.r.Uint64N(3), Synced: h.r.IntN(4) == 0}
	at := h.r.Int64N(10)
	for range 1 + h.r.IntN(3) {
		h.ids++
		e := extent.Extent{Off: at * 512, Layout: placement.Layout{Data: 1, Peers: h.peers[:1+h.r.IntN(3)]}}
		be(e.Span.Extent[:0], h.ids)
		e.Span.Count = 1 + h.r.Uint32N(3)
		op.Extents = append(op.Extents, e)
		at = e.End()/512 + h.r.Int64N(2)
	}
	op.End = op.Extents[len(op.Extents)-1].End() - h.r.Int64N(512)
	return op
}

func dumpOf(t *testing.T, s kv.Store) []byte {
	t.Helper()
	var b []byte
	r := s.At(s.Newest())
	defer r.Close()
	if err := r.Scan(nil, nil, func(k, v []byte) bool {
		b = fmt.Appendf(b, "%x=%x\n", k, v)
		return true
	}); err != nil {
		t.Fatal(err)
	}
	return b
}

func machine(t *testing.T, s kv.Store) *state.Machine {
	t.Helper()
	m, err := state.New(s, state.Options{Parts: map[byte]state.Part{state.TagMeta: Part{}}})
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// The same entries make the same state, byte for byte: in memory and on disk, applied from the start, continued after a
// restart, or continued from a snapshot.
func TestEqualEntriesMakeEqualStates(t *testing.T) {
	s := *seed
	if s == 0 {
		s = uint64(time.Now().UnixNano())
	}
	t.Logf("-meta.seed=%d", s)
	disk, err := badger.Open(t.TempDir(), badger.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer disk.Close()
	stores := []kv.Store{mem.New(), disk, mem.New(), mem.New()}
	machines := make([]*state.Machine, len(stores))
	for i, s := range stores {
		machines[i] = machine(t, s)
	}
	const restarts, joins = 2, 3 // the machine that restarts, the one that starts from a snapshot
	h := newHistory(s)
	ok := 0
	for n := range 600 {
		index, ps := h.entry()
		if n == 300 {
			snap, err := machines[0].Snapshot()
			if err != nil {
				t.Fatal(err)
			}
			if err := machines[joins].Restore(snap.Index(), snap.Next); err != nil {
				t.Fatal(err)
			}
			snap.Close()
		}
		var want [][]byte
		for i, m := range machines {
			if i == joins && n < 300 {
				continue
			}
			if i == restarts && n%7 == 0 {
				m = machine(t, stores[i])
				machines[i] = m
			}
			got, err := m.Apply(index, ps)
			if err != nil {
				t.Fatal(err)
			}
			if i == 0 {
				want = got
			}
			for k := range want {
				if !bytes.Equal(got[k], want[k]) {
					t.Fatalf("entry %d, proposal %d: machine %d answers %x, want %x", index, k, i, got[k], want[k])
				}
				if i == 0 && got[k][0] == 0 {
					ok++
				}
			}
		}
	}
	want := dumpOf(t, stores[0])
	for i, s := range stores[1:] {
		if got := dumpOf(t, s); !bytes.Equal(got, want) {
			t.Errorf("store %d differs from store 0: %d and %d bytes", i+1, len(got), len(want))
		}
	}
	if ok < 300 {
		t.Errorf("only %d proposals succeeded: the history proves little", ok)
	}
}
