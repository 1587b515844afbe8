package meta

import (
	"encoding/binary"
	"slices"

	"dfs/cluster"
	"dfs/cluster/fault"
	"dfs/net/wire"
)

// waiting is a volatile commit as it is stored: part n of it. The first part is there always.
type waiting struct {
	index    uint64
	op       uint32
	n        uint16
	ino      Ino
	peers    []cluster.PeerID // that hold what it committed
	replaced []Freed
}

// replacedMax is how many replaced pieces one part holds: 64 KiB a value.
const replacedMax = 512

func (a *apply) putVolatile(ino Ino, peers []cluster.PeerID, replaced []Freed) error {
	if len(peers) > peersMax {
		return fault.New("commit", fault.TooBig, "%d peers", len(peers))
	}
	w := waiting{index: a.c.Index, op: a.c.Op, ino: ino, peers: peers}
	if err := a.tx.Set(volatileByIno(ino, w.index, w.op), appendPeers(nil, peers)); err != nil {
		return err
	}
	for {
		w.replaced = replaced
		if b := w.encode(); len(b) <= 60<<10 {
			return a.tx.Set(volatileKey(w.index, w.op, w.n), b)
		}
		w.replaced = replaced[:min(replacedMax, (len(replaced)+1)/2)]
		if len(w.encode()) > 60<<10 {
			w.replaced = w.replaced[:min(len(w.replaced), 32)]
		}
		if err := a.tx.Set(volatileKey(w.index, w.op, w.n), w.encode()); err != nil {
			return err
		}
		replaced = replaced[len(w.replaced):]
		w.n++
	}
}

// What is said of a replaced piece.
const (
	samePeers   = 1 << iota // as the one before
	sharedPiece             // its blocks are counted
)

func (w waiting) encode() []byte {
	b := appendPeers(wire.AppendUint(nil, uint64(w.ino)), w.peers)
	b = wire.AppendUint(b, uint64(len(w.replaced)))
	var last []cluster.PeerID
	for i, f := range w.replaced {
		same := i > 0 && slices.Equal(last, f.Peers)
		how := byte(0)
		if same {
			how |= samePeers
		}
		if f.shared {
			how |= sharedPiece
		}
		b = appendSpan(append(b, how), f.Span)
		if !same {
			b = appendPeers(b, f.Peers)
		}
		last = f.Peers
	}
	return b
}

func decodeWaiting(k, v []byte) (waiting, error) {
	if len(k) != 16 {
		return waiting{}, corrupt("volatile", fault.New("key", fault.Invalid, "%x", k))
	}
	d := wire.NewReader(v)
	w := waiting{index: number(k, 2), op: binary.BigEndian.Uint32(k[10:]), n: binary.BigEndian.Uint16(k[14:])}
	w.ino, w.peers = Ino(d.Uint()), readPeers(d, peersMax)
	var last []cluster.PeerID
	for range d.Count(1 << 16) {
		how := d.Byte()
		if d.Err() == nil && how > samePeers|sharedPiece {
			return w, corrupt("volatile", fault.New("replaced piece", fault.Invalid, "%d", how))
		}
		f := Freed{Span: readSpan(d), Peers: last, shared: how&sharedPiece != 0}
		if how&samePeers == 0 {
			f.Peers = readPeers(d, peersMax)
		}
		last = f.Peers
		w.replaced = append(w.replaced, f)
	}
	return w, corrupt("volatile", d.Done())
}

// Bounds of one Stable op: parts looked at, and pieces freed.
const (
	stableLook = 4 * DropMax
	stableFree = 4 * DropMax
)

func (a *apply) stable(op Stable) (Result, error) {
	members, err := a.membership()
	if err != nil {
		return Result{}, err
	}
	marks := op.marks()
	var settled []waiting
	looked, freed, more := 0, 0, false
	var failed error
	err = a.tx.Scan(prefix('v'), nil, func(k, v []byte) bool {
		if looked++; looked > stableLook || freed >= stableFree {
			more = true
			return false
		}
		var w waiting
		if w, failed = decodeWaiting(k, v); failed != nil {
			return false
		}
		if isStable(w, marks, op.Absent, members) {
			settled = append(settled, w)
			freed += 1 + len(w.replaced)
		}
		return true
	})
	if err == nil {
		err = failed
	}
	if err != nil {
		return Result{}, err
	}
	for _, w := range settled {
		if err := a.settle(w); err != nil {
			return Result{}, err
		}
	}
	return Result{More: more && len(settled) > 0}, nil
}

// marks returns the highest mark of each peer.
func (o Stable) marks() map[cluster.PeerID]uint64 {
	marks := map[cluster.PeerID]uint64{}
	for _, m := range o.Marks {
		marks[m.Peer] = max(marks[m.Peer], m.Index)
	}
	return marks
}

// isStable reports whether what w committed survives a power cut: every peer that holds it has synced it or is not
// waited for, and one at least has. Without a single member among them there is nothing to wait for.
func isStable(w waiting, marks map[cluster.PeerID]uint64, absent, members []cluster.PeerID) bool {
	synced, alive := false, false
	for _, p := range w.peers {
		if !isMember(members, p) {
			continue
		}
		alive = true
		if marks[p] >= w.index {
			synced = true
		} else if !slices.Contains(absent, p) {
			return false
		}
	}
	return synced || !alive
}

// settle frees what a stable commit replaced, and forgets that it was volatile.
func (a *apply) settle(w waiting) error {
	if err := a.letAllGo(w.replaced); err != nil {
		return err
	}
	if err := a.tx.Delete(volatileKey(w.index, w.op, w.n)); err != nil {
		return err
	}
	return a.tx.Delete(volatileByIno(w.ino, w.index, w.op))
}

// confirm forgets what a peer has dropped.
func (a *apply) confirm(op Confirm) (Result, error) {
	keys, more, err := a.some(freedOf(op.Peer), nil, func(k []byte) bool { return number(k, 22) <= op.Index })
	return Result{More: more}, a.deleteAll(keys, err)
}

// some returns up to DropMax keys with a prefix while they satisfy ok, and whether there are more.
func (a *apply) some(prefix, from []byte, ok func(k []byte) bool) (keys [][]byte, more bool, err error) {
	err = a.tx.Scan(prefix, from, func(k, _ []byte) bool {
		if !ok(k) {
			return false
		}
		if more = len(keys) >= DropMax; more {
			return false
		}
		keys = append(keys, slices.Clone(k))
		return true
	})
	return keys, more, err
}

func (a *apply) deleteAll(keys [][]byte, err error) error {
	for _, k := range keys {
		if err == nil {
			err = a.tx.Delete(k)
		}
	}
	return err
}
