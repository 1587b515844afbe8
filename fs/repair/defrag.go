package repair

import (
	"context"
	"errors"
	"slices"
	"time"

	"dfs/blockstore"
	"dfs/cluster/fault"
	"dfs/fs/extent"
	"dfs/fs/meta"
)

// Defragmentation. Small writes leave small extents, each of which costs a record on every peer and a request at every read.
// A window of a file that lies in many pieces and is not written any more is rewritten, each stretch of it as few
// extents as the layout's unit allows, by an op that compares the pieces and leaves all times alone.
//
// The sum for a window of 1,024 pieces of 4 KiB: 1,024 reads, some at once, one write and one sync of 4 MiB
// a copy, one op of some 70 KiB. Rewriting is limited to a rate; the walk that finds windows takes a tenth of a core.
const (
	crowdMin  = 64      // pieces in a window that are worth it, once it is left alone
	crowdMax  = 1024    // pieces in a window that are rewritten while it is being written
	gain      = 4       // so many times fewer they must become
	oldMax    = 1024    // pieces in one op
	crowdLook = 4 << 12 // extents looked at in one view
	walkShare = 9       // a walk pauses so many times as long as it looks
	quarters  = 4       // parts tried alone after a conflict
)

// CrowdMax is how many extents a mount may commit to a window before it should call Gather.
const CrowdMax = crowdMax

// Defragment walks over all extents once and rewrites what lies in too many pieces: windows left alone for calm, and
// the worst at once. It returns the bytes rewritten and whether it saw windows that are still too young. It takes at most rate
// bytes a second.
func (k *Keeper) Defragment(ctx context.Context, calm time.Duration, rate int64) (bytes int64, young bool, err error) {
	var at meta.Place
	for done := false; !done; {
		began := time.Now()
		var list []meta.Crowd
		if list, at, done, err = k.crowds(at); err != nil {
			return bytes, young, err
		}
		if err := pause(ctx, walkShare*time.Since(began)); err != nil {
			return bytes, young, err
		}
		for _, c := range list {
			if c.Pieces <= crowdMax && time.Since(c.Newest) < calm {
				young = true
				continue
			}
			n, err := k.Gather(ctx, c.Ino, c.Off)
			if err != nil && ctx.Err() == nil {
				k.o.Log.Debug("a window stays in pieces", "ino", c.Ino, "off", c.Off, "err", err)
			}
			bytes += n
			if err := pause(ctx, time.Duration(float64(n)/float64(rate)*float64(time.Second))); err != nil {
				return bytes, young, err
			}
		}
	}
	return bytes, young, nil
}

func (k *Keeper) crowds(at meta.Place) ([]meta.Crowd, meta.Place, bool, error) {
	v, err := k.o.View()
	if err != nil {
		return nil, at, false, err
	}
	defer v.Close()
	return v.Crowds(at, crowdLook, crowdMin)
}

func pause(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// Gather rewrites the window of ino at off if that makes it much fewer pieces, and returns the bytes rewritten. What
// changes meanwhile stays as it is: fault.Conflict. Safe for concurrent use.
func (k *Keeper) Gather(ctx context.Context, ino meta.Ino, off int64) (bytes int64, err error) {
	v, err := k.o.View()
	if err != nil {
		return 0, err
	}
	file, m, err := window(v, ino, off)
	v.Close()
	if err != nil {
		return 0, err
	}
	todo := stretches(m, file.Wish.Unit())
	for len(todo) > 0 && ctx.Err() == nil {
		run := todo[0]
		todo = todo[1:]
		e := k.gather(ctx, file, run)
		switch {
		case e == nil:
			bytes += run.Bytes()
		case errors.Is(e, fault.Conflict) && len(run) >= crowdMin*quarters:
			// Somebody writes here; most of it he does not touch.
			for part := range slices.Chunk(run, (len(run)+quarters-1)/quarters) {
				todo = append(todo, stretches(part, file.Wish.Unit())...)
			}
		default:
			err = e
		}
	}
	return bytes, errors.Join(err, ctx.Err())
}

// window returns a file and the pieces that lie within a window of it.
func window(v meta.View, ino meta.Ino, off int64) (file meta.Inode, m extent.Map, err error) {
	if file, err = v.Stat(ino); err != nil {
		return file, nil, err
	}
	all, err := v.Extents(ino, off, meta.WindowBytes)
	for _, e := range all {
		if e.Off >= off && e.End() <= off+meta.WindowBytes {
			m = append(m, e)
		}
	}
	return file, m, err
}

// stretches returns the runs of neighbouring pieces that are worth being rewritten as extents of at most unit blocks: without
// a gap or a tail inside, at most oldMax pieces, to become gain times fewer.
func stretches(m extent.Map, unit uint32) (list []extent.Map) {
	for len(m) > 0 {
		n := 1
		for n < len(m) && n < oldMax && m[n-1].End() == m[n].Off && m[n-1].Tail == 0 {
			n++
		}
		run := m[:n]
		m = m[n:]
		blocks := run.Bytes() / blockstore.Size
		if after := (blocks + int64(unit) - 1) / int64(unit); int64(n) >= gain*after && n > 1 {
			list = append(list, run)
		}
	}
	return list
}

// gather rewrites one stretch.
func (k *Keeper) gather(ctx context.Context, file meta.Inode, old extent.Map) error {
	data := make([]byte, old.Bytes())
	if err := k.readAll(ctx, old, data); err != nil {
		return err
	}
	note := blockstore.Note{Ino: uint64(file.Ino), Off: old[0].Off, Session: k.o.Session, Time: int64(file.Mtime)}
	pieces, err := k.o.Pool.Write(ctx, data, note, file.Wish)
	if err != nil {
		return err
	}
	p := plan{own: true}
	op := meta.Replace{Ino: file.Ino, Old: old}
	for _, x := range pieces {
		op.New = append(op.New, extent.Extent{Off: old[0].Off + x.Off, Span: x.Span, Layout: x.Layout})
		p.new = append(p.new, x.Layout.Peers...)
	}
	op.New[len(op.New)-1].Tail = old[len(old)-1].Tail
	p.next = op.New
	for _, x := range pieces {
		if len(x.Layout.Peers) < fewest(old) {
			k.tidyUp(&p)
			return fault.New("defragment", fault.Unreachable, "there are fewer peers for it than it has")
		}
	}
	for id, synced := range k.sync(ctx, []plan{p}) {
		if !synced {
			k.tidyUp(&p)
			return fault.New("defragment", fault.Unreachable, "%s could not sync it", id.Short())
		}
	}
	_, err = k.o.Propose(ctx, op)
	if errors.Is(err, fault.Conflict) || errors.Is(err, fault.Stale) {
		k.tidyUp(&p)
	}
	return err
}

// fewest returns the lowest number of replicas that any of m has.
func fewest(m extent.Map) int {
	n := len(m[0].Layout.Peers)
	for _, e := range m {
		n = min(n, len(e.Layout.Peers))
	}
	return n
}

// readAll reads neighbouring pieces into data.
func (k *Keeper) readAll(ctx context.Context, m extent.Map, data []byte) error {
	errs := make([]error, len(m))
	each(len(m), func(i int) {
		e := m[i]
		from := e.Off - m[0].Off
		errs[i] = k.o.Pool.Read(ctx, e.Span, e.Layout, data[from:from+e.Span.Bytes()])
	})
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}
