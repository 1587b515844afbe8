package vfs

import (
	"context"
	"errors"
	"slices"

	"dfs/blockstore"
	"dfs/cluster/fault"
	"dfs/cluster/placement"
	"dfs/fs/extent"
	"dfs/fs/meta"
)

const (
	triesMax   = 100  // times a commit is redone on a file that others change under it: each time somebody else's got through
	extentsMax = 1024 // in one Commit op; a flush of more is a series of them, in the order of offsets
	placesMax  = 4    // extents of one batch on their way to peers at once, and of one read
)

// part is one piece of a batch on its way: placed, then committed.
type part struct {
	piece
	ragged    []int64
	edges     []meta.Edge
	old       map[int64][]byte // what the ragged blocks held
	extents   []extent.Extent  // nil until placed
	with      []*part          // what was placed as one with it, itself included
	session   uint64           // it was placed in
	committed bool
}

// base is the state a commit builds on.
type base struct {
	index uint64 // of the view
	inode meta.Inode
	at    int64 // where the tail goes
}

// commit places a batch and commits it after the one before. A Conflict means that somebody else changed what the
// batch was completed from: those parts are completed and placed anew.
func (f *FS) commit(ctx context.Context, n *node, b *batch) (meta.Result, error) {
	var parts []*part
	ordered := len(b.tail) > 0
	for _, p := range cut(b.runs) {
		x := &part{piece: p, ragged: p.ragged()}
		ordered = ordered || len(x.ragged) > 0
		parts = append(parts, x)
	}
	for try := 0; ; try++ {
		res, err := f.commitOnce(ctx, n, b, &parts, ordered || try > 0)
		if !errors.Is(err, fault.Conflict) || try == triesMax {
			return res, err
		}
		unsettle(parts)
	}
}

// commitOnce is one try. ordered: what the batch is completed from may be in the batch before it.
func (f *FS) commitOnce(ctx context.Context, n *node, b *batch, parts *[]*part, ordered bool) (meta.Result, error) {
	if ordered {
		if err := b.afterPrev(ctx); err != nil {
			return meta.Result{}, err
		}
	}
	session := f.session.Load()
	n.mu.Lock()
	lost := b.lost
	n.mu.Unlock()
	if lost {
		return meta.Result{}, lockLost(n.ino)
	}
	disown(*parts, session)
	on, err := f.look(ctx, n, b, parts)
	if err != nil {
		return meta.Result{}, err
	}
	again := slices.ContainsFunc(*parts, func(x *part) bool { return x.extents != nil })
	hard, err := f.place(ctx, n, session, on.inode, *parts, b.sync)
	switch {
	case err != nil:
		return meta.Result{}, err
	case hard: // on another try the rest was synced before, or not
		b.synced = b.synced || !again
	case b.sync:
		if b.synced, err = f.blocks.Sync(ctx, layouts(*parts)); err != nil {
			return meta.Result{}, err
		}
	}
	if err := b.afterPrev(ctx); err != nil {
		return meta.Result{}, err
	}
	res, err := f.propose(ctx, n, b, session, on, *parts)
	if err == nil && !b.synced {
		f.recent.note(n.ino, layouts(*parts), f.o.Now())
	}
	return res, err
}

func (b *batch) afterPrev(ctx context.Context) error {
	if b.prev == nil {
		return nil
	}
	if err := b.prev.wait(ctx); err != nil {
		return err
	}
	return b.prev.err
}

// look reads what the batch is completed from, and decides where its tail goes.
func (f *FS) look(ctx context.Context, n *node, b *batch, parts *[]*part) (base, error) {
	var on base
	var reads []func() error
	err := f.newest(func(v meta.View) (err error) {
		on.index = v.Index()
		if on.inode, err = v.Stat(n.ino); err != nil {
			return err
		}
		size := on.inode.Size
		if len(b.tail) > 0 {
			on.at = size
			t := cut([]run{{off: size, data: b.tail}})
			*parts = (*parts)[:0]
			for _, p := range splitTail(t, b.tail, size) {
				*parts = append(*parts, &part{piece: p, ragged: p.ragged()})
			}
		}
		if x := tailBlock(on.inode, b.end, *parts); x != nil {
			*parts = append(*parts, x)
			slices.SortFunc(*parts, func(a, b *part) int { return int(a.off/blockstore.Size - b.off/blockstore.Size) })
		}
		for _, x := range *parts {
			if x.extents != nil {
				continue
			}
			x.edges, x.old = nil, map[int64][]byte{}
			for _, off := range x.ragged {
				m, err := v.Extents(n.ino, off, blockstore.Size)
				if err != nil {
					return err
				}
				e, ok := blockAt(m, off)
				x.edges = append(x.edges, meta.Edge{Off: off, Span: e.Span})
				if !ok {
					continue
				}
				block := make([]byte, blockstore.Size)
				x.old[off] = block
				reads = append(reads, func() error {
					err := f.blocks.Read(ctx, e.Span, e.Layout, block)
					if shown := min(size, e.Shown()); off+blockstore.Size > shown {
						clear(block[max(0, shown-off):]) // beyond the end there are zeros, whatever was there once
					}
					return err
				})
			}
		}
		return nil
	})
	if errors.Is(err, fault.NotExist) {
		return on, fault.Because("vfs flush", fault.Stale, err)
	}
	if err != nil {
		return on, err
	}
	for _, read := range reads {
		if err := read(); errors.Is(err, fault.NotExist) {
			return on, fault.Because("vfs flush", fault.Conflict, err) // freed meanwhile: look again
		} else if err != nil {
			return on, fault.Wrap("vfs complete a block", err)
		}
	}
	return on, nil
}

// splitTail returns the pieces of data at off: cut joins runs within windows only, but does not split them.
func splitTail(whole []piece, data []byte, off int64) []piece {
	if len(whole) == 1 && whole[0].off/windowBytes == (whole[0].off+whole[0].n-1)/windowBytes {
		return whole
	}
	var runs []run
	for len(data) > 0 {
		k := min(int64(len(data)), (off/windowBytes+1)*windowBytes-off)
		runs = append(runs, run{off: off, data: data[:k]})
		data, off = data[k:], off+k
	}
	return cut(runs)
}

// tailBlock returns the file's last block to be written anew where the batch would grow the file past it, and it
// may hold bytes that a truncation has cut off: what was beyond the end must read as zeros.
func tailBlock(st meta.Inode, end int64, parts []*part) *part {
	off := down(st.Size)
	if st.TruncGen == 0 || off == st.Size || end <= st.Size {
		return nil
	}
	for _, x := range parts {
		if x.off <= off && off < x.off+x.n {
			return nil
		}
	}
	return &part{piece: piece{off: off, n: blockstore.Size}, ragged: []int64{off}}
}

// blockAt returns the one-block extent of m at off.
func blockAt(m extent.Map, off int64) (extent.Extent, bool) {
	for _, e := range m {
		if e.Off <= off && off < e.End() {
			skip := uint32((off - e.Off) / blockstore.Size)
			one := extent.Extent{
				Off: off, Layout: e.Layout,
				Span: blockstore.Span{Extent: e.Span.Extent, First: e.Span.First + skip, Count: 1},
			}
			if one.End() == e.End() {
				one.Tail = e.Tail
			}
			return one, true
		}
	}
	return extent.Extent{}, false
}

// layouts returns where parts lie, each layout once.
func layouts(parts []*part) (out []placement.Layout) {
	for _, x := range parts {
		for _, e := range x.extents {
			out = withLayout(out, e.Layout)
		}
	}
	return out
}

func withLayout(all []placement.Layout, l placement.Layout) []placement.Layout {
	if slices.ContainsFunc(all, func(o placement.Layout) bool { return slices.Equal(o.Peers, l.Peers) }) {
		return all
	}
	return append(all, l)
}

// chunk is as much of a part as fits one op.
type chunk struct {
	x       *part
	extents []extent.Extent
	edges   []meta.Edge
	last    bool // of its part
}

// chunks splits parts that are too many extents for one op.
func chunks(parts []*part) []chunk {
	var out []chunk
	for _, x := range parts {
		if x.committed {
			continue
		}
		es := x.extents
		for len(es) > extentsMax {
			out = append(out, chunk{x: x, extents: es[:extentsMax], edges: within(x.edges, es[0].Off, es[extentsMax].Off)})
			es = es[extentsMax:]
		}
		c := chunk{x: x, extents: es, last: true}
		if len(es) > 0 {
			c.edges = within(x.edges, es[0].Off, x.off+x.n)
		}
		out = append(out, c)
	}
	return out
}

func within(edges []meta.Edge, from, to int64) []meta.Edge {
	return slices.DeleteFunc(slices.Clone(edges), func(e meta.Edge) bool { return e.Off < from || e.Off >= to })
}

// propose commits what is placed in a session: one op, or a series where there are too many extents for one.
func (f *FS) propose(ctx context.Context, n *node, b *batch, session uint64, on base, parts []*part) (res meta.Result, err error) {
	todo := chunks(parts)
	for {
		op := meta.Commit{Ino: n.ino, TruncGen: on.inode.TruncGen, Synced: b.synced, Time: b.mtime}
		if op.Time == 0 {
			op.Time = f.now()
		}
		k := 0
		for k < len(todo) && (k == 0 || len(b.tail) > 0 || len(op.Extents)+len(todo[k].extents) <= extentsMax) {
			op.Extents = append(op.Extents, todo[k].extents...)
			op.Edges = append(op.Edges, todo[k].edges...)
			k++
		}
		last := k == len(todo)
		switch {
		case len(b.tail) > 0:
			op.Append, op.AppendAt, op.End = true, on.at, on.at+int64(len(b.tail))
		case last:
			op.End = b.end
		default:
			op.End = min(b.end, op.Extents[len(op.Extents)-1].End())
		}
		if last {
			op.Mtime, op.Attrs, op.EndGrant = b.mtime, b.attrs, b.endGrant
			if op.Attrs.Mask != 0 {
				op.Attrs.Ino, op.Attrs.Time = n.ino, max(op.Attrs.Time, b.mtime)
			}
		}
		from := int64(everything)
		if !last {
			from = op.Extents[len(op.Extents)-1].End()
		}
		n.ask(b, on.index)
		if f.bound != nil {
			res, err = f.bound.ApplyUnder(ctx, session, op)
		} else {
			res, err = f.applied(ctx, op)
		}
		f.answer(n, b, &op, res, from, err)
		if err != nil || last {
			return res, err
		}
		for _, c := range todo[:k] {
			c.x.committed = c.x.committed || c.last
		}
		todo = todo[k:]
	}
}
