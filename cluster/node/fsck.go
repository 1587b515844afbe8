package node

import (
	"context"
	"path"
	"slices"

	"dfs/blockstore"
	"dfs/blockstore/runs"
	"dfs/cluster"
	"dfs/cluster/admin"
	"dfs/fs/extent"
	"dfs/fs/meta"
)

// fsck is one walk over files.
type fsck struct {
	n     *Node
	quick bool
	out   admin.Fsck
	away  map[cluster.PeerID]bool // did not answer: not asked again in this walk
}

// Fsck implements admin.Node.
func (n *Node) Fsck(ctx context.Context, where string, quick bool) (admin.Fsck, error) {
	f := &fsck{n: n, quick: quick, away: map[cluster.PeerID]bool{}, out: admin.Fsck{Path: where, Damaged: []admin.DamagedFile{}}}
	var top meta.Inode
	err := n.at(ctx, where, func(_ *meta.Image, i meta.Inode) error {
		top = i
		return nil
	})
	if err == nil {
		err = f.walk(ctx, where, top)
	}
	return f.out, err
}

// walk looks at what lies below a name. No view is held while stores are asked.
func (f *fsck) walk(ctx context.Context, name string, i meta.Inode) error {
	switch i.Type {
	case meta.File:
		return f.file(ctx, name, i)
	case meta.Dir:
	default:
		return nil
	}
	for after := meta.Cursor(0); ; {
		v := f.n.store.image(0)
		list, err := v.List(i.Ino, after, 256)
		v.Close()
		if err != nil || len(list) == 0 {
			return goneIsFine(err)
		}
		for _, d := range list {
			if err := f.walk(ctx, path.Join(name, d.Name), d.Inode); err != nil {
				return err
			}
		}
		after = list[len(list)-1].Cursor
	}
}

func (f *fsck) file(ctx context.Context, name string, i meta.Inode) error {
	f.out.Files++
	v := f.n.store.image(0)
	m, err := v.Extents(i.Ino, 0, meta.SizeMax)
	v.Close()
	if err != nil {
		return goneIsFine(err)
	}
	var bad []admin.DamagedRange
	for _, e := range m {
		if err := ctx.Err(); err != nil {
			return err
		}
		f.out.Extents++
		f.out.Bytes += e.Span.Bytes()
		lost, state := f.extent(ctx, e)
		for _, r := range lost {
			bad = append(bad, admin.DamagedRange{State: state,
				Offset: e.Off + int64(r.First-e.Span.First)*blockstore.Size, Bytes: int64(r.End-r.First) * blockstore.Size})
		}
	}
	if len(bad) == 0 || f.changed(i, m) {
		return nil
	}
	if len(f.out.Damaged) >= admin.DamagedMax {
		f.out.More = true
		return nil
	}
	f.out.Damaged = append(f.out.Damaged, admin.DamagedFile{Path: name, Ino: uint64(i.Ino), Ranges: bad})
	return nil
}

// extent returns the blocks of e that nobody who answers has.
func (f *fsck) extent(ctx context.Context, e extent.Extent) (lost runs.Set, state string) {
	lost, state = runs.Of(e.Span.First, e.Span.Count), "damaged"
	for _, p := range e.Layout.Peers {
		if f.away[p] {
			state = "unreachable"
			continue
		}
		has, err := f.n.holds(ctx, p, examine{e.Span.Extent, f.quick})
		if err != nil {
			f.away[p] = ctx.Err() == nil
			state = "unreachable"
			continue
		}
		good := has.Live.Minus(has.Bad)
		if len(runs.Of(e.Span.First, e.Span.Count).Minus(good)) > 0 {
			f.out.Bad++
			f.n.suspectAt(p, e.Span.Extent)
		}
		lost = lost.Minus(good)
	}
	return lost, state
}

// changed reports whether a file's map is another by now: what was overwritten meanwhile is not damaged.
func (f *fsck) changed(i meta.Inode, m extent.Map) bool {
	v := f.n.store.image(0)
	defer v.Close()
	now, err := v.Extents(i.Ino, 0, meta.SizeMax)
	return err != nil || !slices.EqualFunc(m, now, extent.Extent.Same)
}
