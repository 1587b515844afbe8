package vfs

import (
	"context"
	"slices"

	"dfs/blockstore"
	"dfs/fs/extent"
	"dfs/fs/meta"
)

// looseBytes is the size from which a piece is an extent of its own. Smaller ones of one window are gathered: a thousand
// scattered 4 KiB writes are one put a peer and one extent, whose blocks the map then names piece by piece.
const looseBytes = 64 << 10

// lot is what is placed as one: a piece, or several small ones of one window, whose blocks lie one behind the other.
type lot struct {
	parts []*part
	n     int64
}

// lots gathers the parts that are not placed yet.
func lots(parts []*part) []lot {
	var out []lot
	open := -1 // the lot that may still grow
	for _, x := range parts {
		if x.extents != nil {
			continue
		}
		small := x.n < looseBytes
		if small && open >= 0 && out[open].parts[0].off/windowBytes == x.off/windowBytes {
			out[open].parts = append(out[open].parts, x)
			out[open].n += x.n
			continue
		}
		out = append(out, lot{parts: []*part{x}, n: x.n})
		if small {
			open = len(out) - 1
		}
	}
	return out
}

// bytes returns the lot's blocks, in the order of its parts; a single part's may be its own memory.
func (l lot) bytes() []byte {
	if len(l.parts) == 1 {
		return l.parts[0].fill(l.parts[0].old)
	}
	data := make([]byte, l.n)
	at := int64(0)
	for _, x := range l.parts {
		x.fillInto(data[at:at+x.n], x.old)
		at += x.n
	}
	return data
}

// settle hands each part what it shows of the extents that the lot has become, which cover it in order; their offsets
// count from its start.
func (l lot) settle(es []extent.Extent, session uint64) {
	from := int64(0)
	for _, x := range l.parts {
		x.with, x.session = l.parts, session
		x.extents = make([]extent.Extent, 0, 1)
		end := from + x.n
		for len(es) > 0 {
			if c, ok := es[0].Clip(from, end); ok {
				c.Off += x.off - from
				x.extents = append(x.extents, c)
			}
			if es[0].End() > end {
				break
			}
			es = es[1:]
		}
		from = end
	}
}

// unsettle takes back where parts lie that were completed from what somebody else has changed meanwhile, and where those
// lie that were gathered with them: an extent must not stay whose blocks are named in part only. Those of which some
// are committed already stay.
func unsettle(parts []*part) {
	again := func(x *part) bool { return len(x.ragged) > 0 && !x.committed }
	for _, x := range parts {
		if again(x) || slices.ContainsFunc(x.with, again) && !slices.ContainsFunc(x.with, func(y *part) bool { return y.committed }) {
			x.extents = nil
		}
	}
}

// disown takes back where parts lie that were placed in another session, which is over: nobody keeps their extents. Where
// something of an extent is committed the whole of it is kept.
func disown(parts []*part, session uint64) {
	for _, x := range parts {
		if x.session != session && !slices.ContainsFunc(x.with, func(y *part) bool { return y.committed }) {
			x.extents = nil
		}
	}
}

// place writes the parts that are not placed yet, several lots at once. With sync what is one lot is on disk when it returns,
// which hard says: one request a peer does both.
// They belong to the session given.
func (f *FS) place(ctx context.Context, n *node, session uint64, st meta.Inode, parts []*part, sync bool) (hard bool, err error) {
	ls := lots(parts)
	hard = sync && len(ls) == 1
	var puts []func() error
	for _, l := range ls {
		puts = append(puts, func() error {
			note := blockstore.Note{Ino: uint64(n.ino), Off: l.parts[0].off, Session: session, Time: int64(f.now())}
			if len(l.parts) > 1 {
				note.Off |= blockstore.Gathered
			}
			es, err := f.blocks.Write(ctx, l.bytes(), note, st.Wish, hard)
			if err == nil {
				l.settle(es, session)
			}
			return err
		})
	}
	if len(puts) == 1 {
		return hard, puts[0]()
	}
	return false, together(puts)
}
