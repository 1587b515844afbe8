package sim

import (
	"encoding/binary"
	"fmt"
	"time"

	"dfs/blockstore"
	"dfs/cluster"
	"dfs/cluster/placement"
	"dfs/fs/coherence"
	"dfs/fs/extent"
	"dfs/fs/meta"
)

// One file, open on every mount, is appended to. Its records are numbered, each a block long. Where they go is known when
// their commit applies. Every read must show a beginning of the committed order.

var logBytes, logAttr = coherence.Bytes(logIno), coherence.Attr(logIno)

const logIno = firstIno // with Options.Appends

// The kernel puts nothing of an append into its pages, so the writer's own are as old as any other's: its mount must be told to
// drop them too (Data.Merged of an append). KeepOwn shows what happens otherwise.

// record is a piece of the file, and its number.
type record struct {
	number uint64
	index  uint64 // 0: not committed
}

// text is what the file holds.
type text []*record

func (t text) String() string { return fmt.Sprintf("%d records", len(t)) }

// tail is the records of one mount whose place is not decided yet.
type tail struct {
	records []*record
	busy    bool
	done    gate
}

// appended puts records at the end as the proposer saw it, if that is where the end is.
func (w *world) appended(a *applied) {
	c, index := a.change, a.did.Index
	old := w.at(logAttr, index).text
	if len(old) != c.at && !c.blind {
		a.failed = true
		return
	}
	now := append(old[:c.at:c.at], c.records...) // a copy
	if len(now) < len(old) {
		now = append(now, old[len(now):]...)
	}
	for _, r := range c.records {
		r.index = index
	}
	w.order = append(w.order, c.records...)
	last := w.writer[logIno]
	a.did.Data = append(a.did.Data, meta.Data{Ino: logIno, Merged: !w.kept || last != 0 && last != c.session})
	a.did.Attrs = append(a.did.Attrs, logIno)
	w.writer[logIno] = c.session
	w.put(blockKey{logIno, 0}, version{index: index, text: now})
	w.put(logAttr, version{index: index, mtime: index, text: now})
	a.objects = append(a.objects, logBytes, logAttr)
}

// appendOp translates a change.
func (m *machine) appendOp(c *change, now meta.Time) meta.Op {
	var id blockstore.ID
	binary.BigEndian.PutUint64(id[:], m.index+1)
	off, n := int64(c.at)*blockstore.Size, len(c.records)
	e := extent.Extent{Off: off, Span: blockstore.Span{Extent: id, Count: uint32(n)}}
	e.Layout = placement.Layout{Data: 1, Peers: []cluster.PeerID{m.peer}}
	return meta.Commit{Ino: c.ino, Extents: []extent.Extent{e}, Append: true, AppendAt: off, End: e.End(), Mtime: now, Time: now}
}

// append keeps a record until the file is flushed.
func (p *peer) append(r *record) {
	p.pass()
	p.tail.records = append(p.tail.records, r)
}

// flushTail commits all records of this mount that wait, where the end is found to be, again while another mount was
// faster.
func (p *peer) flushTail() (a *applied) {
	p.pass()
	t := &p.tail
	for t.busy {
		p.s.wait(&t.done)
	}
	if len(t.records) == 0 {
		return nil
	}
	t.busy = true
	records := t.records
	t.records = nil
	for a == nil || a.failed {
		end := len(p.s.world.at(logAttr, p.applied).text)
		a = p.propose(&change{kind: opAppend, ino: logIno, at: end, records: records, blind: p.s.o.Break == BlindAppend})
	}
	t.busy = false
	p.s.open(&t.done)
	return a
}

// append is a write through a descriptor with O_APPEND and FOPEN_DIRECT_IO, and close.
func (c *client) append() {
	l := c.begin("append")
	k, n := c.k, c.k.inodes[logIno]
	c.orders++
	r := &record{number: c.orders}
	k.travel()
	k.p.append(r)
	k.travel()
	k.version++
	n.taken, n.invalid = k.version, true
	if c.chance(3) {
		c.sleep(c.between(0, 5*time.Millisecond))
	}
	k.travel()
	did := k.p.flushTail()
	k.travel()
	c.end(l, did)
	if r.index == 0 {
		c.floors.fail("%v: closed, and not committed", l)
	}
	c.floors.raise(logBytes, r.index)
}

// readLog reads all records, through the page cache: what lies between the page's end and the file's is zeros.
func (c *client) readLog() {
	l := c.begin("read all records")
	v, _ := c.k.attr(logIno)
	got, _ := c.k.read(logIno)
	text, order := got[0].text, c.world.order
	size := len(c.world.at(logAttr, v).text)
	if size > len(text) {
		c.floors.fail("%v: %d records and then zeros up to %d", l, len(text), size)
		size = len(text)
	}
	seen := map[uint64]bool{}
	for i, r := range text[:size] {
		if i >= len(order) || order[i] != r || seen[r.number] {
			c.floors.fail("%v: record %d is number %d, which was not committed there, or twice", l, i, r.number)
			break
		}
		seen[r.number] = true
	}
	if size > 0 {
		l.saw = append(l.saw, sight{logBytes, text[size-1].index, nil})
		if size < len(order) && order[size].index == text[size-1].index {
			c.floors.fail("%v: ends amid a flush", l)
		}
	}
	c.end(l, nil)
}
