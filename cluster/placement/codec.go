package placement

import (
	"dfs/cluster"
	"dfs/cluster/fault"
	"dfs/net/wire"
)

// The first byte of a stored Wish: plain, or with CommitClose, which came later.
const (
	wishFormat      = 1
	wishCommitClose = 2
)

// Append appends w's stored form to b. A default that was written out is stored as the default.
func (w Wish) Append(b []byte) []byte {
	w = w.plain()
	format := byte(wishFormat)
	if w.CommitClose {
		format = wishCommitClose
	}
	b = append(b, format, w.Copies, w.Zones, w.Data, w.Parity)
	b = wire.AppendUint(b, uint64(w.UnitBlocks))
	return wire.AppendString(b, string(w.Policy))
}

// ReadWish reads what Append wrote, from a larger message. Failures stick in r, except that of a wish which is well
// encoded and makes no sense: fault.Invalid.
func ReadWish(r *wire.Reader) (Wish, error) {
	format := r.Byte()
	w := Wish{Copies: r.Byte(), Zones: r.Byte(), Data: r.Byte(), Parity: r.Byte(), UnitBlocks: r.Uint32(), Policy: Name(r.String(64))}
	if err := r.Err(); err != nil {
		return Wish{}, err
	}
	w.CommitClose = format == wishCommitClose
	if format != wishFormat && !w.CommitClose {
		return Wish{}, fault.New("decode layout", fault.Invalid, "format %d", format)
	}
	if err := w.check(); err != nil {
		return Wish{}, err
	}
	return w, nil
}

// DecodeWish reads what Append wrote. fault.Invalid.
func DecodeWish(b []byte) (Wish, error) {
	r := wire.NewReader(b)
	w, err := ReadWish(r)
	if err == nil {
		err = r.Done()
	}
	if err != nil {
		return Wish{}, err
	}
	return w, nil
}

// Append appends l's stored form to b.
func (l Layout) Append(b []byte) []byte {
	b = append(b, l.Data, l.Parity)
	b = wire.AppendUint(b, uint64(len(l.Peers)))
	for _, id := range l.Peers {
		b = append(b, id[:]...)
	}
	return b
}

// ReadLayout reads what Layout.Append wrote. Failures stick in r.
func ReadLayout(r *wire.Reader) Layout {
	l := Layout{Data: r.Byte(), Parity: r.Byte()}
	n := r.Count(MaxData + MaxParity)
	if n > 0 {
		l.Peers = make([]cluster.PeerID, n)
	}
	for i := range l.Peers {
		l.Peers[i] = cluster.PeerID(r.Fixed(len(cluster.PeerID{})))
	}
	return l
}
