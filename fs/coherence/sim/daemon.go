package sim

import (
	"slices"
	"time"

	"dfs/fs/coherence"
	"dfs/fs/meta"
)

// The handlers of a mount's requests, as the front, vfs and coherence.Driver have them together. They run between
// two travels of the kernel that called.

// attrReply is attributes on their way to the kernel.
type attrReply struct {
	version uint64
	mtime   uint64
	valid   time.Duration
}

// nameReply answers LOOKUP, and CREATE and LINK.
type nameReply struct {
	failed  bool
	ino     meta.Ino
	version uint64
	valid   time.Duration
	attr    attrReply
	did     *applied // of a change
}

type listReply struct {
	version uint64
	entries []listEntry
}

type listEntry struct {
	name    string
	ino     meta.Ino
	version uint64
	valid   time.Duration
	attr    attrReply
}

// file is the writes of one inode that are not visible to others yet.
type file struct {
	dirty    [blocks]*write
	flushing [blocks]*write // committed soon
	busy     bool
	done     gate
}

// see is Driver.Read: fn on the state that may be shown now, and until when the kernel may keep it; 0 not at all.
func (p *peer) see(obj coherence.Object, fn func(at uint64)) (until time.Duration) {
	for {
		at, cache := p.view(obj)
		fn(at)
		p.step()
		if until, ok := p.validity(obj, cache); ok {
			return until
		}
	}
}

func (p *peer) view(obj coherence.Object) (at uint64, cache bool) {
	for {
		if p.held && p.clock() < p.until || p.s.o.Break == IgnoreLease {
			switch d := p.mount.Read(obj); {
			case p.s.o.Break == ReadApplied:
				return p.applied, true
			case d.Wait && (p.s.o.Break == NoWait || p.s.o.Break == ShowPrepared && p.early != nil):
				return p.applied, false
			case !d.Wait:
				if d.At > p.applied || d.At < p.mount.Floor() {
					p.s.floors.fail("peer %d reads %v at %d, outside of %d to %d", p.n, obj, d.At, p.mount.Floor(), p.applied)
				}
				return d.At, d.Cache || p.s.o.Break == CacheOld
			}
		}
		p.s.waitFor(&p.look, time.Second)
		p.pass()
	}
}

func (p *peer) validity(obj coherence.Object, cache bool) (until time.Duration, ok bool) {
	now := p.clock()
	if p.s.o.Break == IgnoreLease {
		return now + 10*time.Second, true
	}
	if !p.held || now >= p.until {
		return 0, false
	}
	if !cache || !p.mount.Clean(obj) && p.s.o.Break != CacheOld && p.s.o.Break != ReadApplied {
		return 0, true
	}
	until = p.until
	if p.s.o.Guard && !nameless(obj) {
		until = max(until, now+coherence.Keep(obj, now, p.until, true))
	}
	if p.s.o.Break == LongValidity {
		until += 5 * time.Second
	}
	if dir, ok := dirOf(obj); ok && p.s.o.OldKernel {
		until = min(until, now+coherence.OldKernelValidity)
		p.mount.Named(dir, until)
	}
	return until, true
}

// keep returns until when a kernel may keep an answer that a change's reply carries, if at all. It never waits: the caller's
// directory is held.
func (p *peer) keep(obj coherence.Object) time.Duration {
	if !p.held || p.clock() >= p.until {
		return 0
	}
	d := p.mount.Read(obj)
	if d.Wait {
		return 0
	}
	until, _ := p.validity(obj, d.Cache)
	return until
}

// left turns a moment into a validity, as late as possible.
func (p *peer) left(until time.Duration) time.Duration { return max(0, until-p.clock()) }

func (p *peer) lookup(dir meta.Ino, name string) (r nameReply) {
	p.pass()
	var v version
	until := p.see(coherence.Entry(dir, name), func(at uint64) { v = p.s.world.at(coherence.Entry(dir, name), at) })
	r.ino, r.version = v.ino, v.index
	r.valid = p.left(until)
	if r.ino != 0 {
		if p.s.o.Break != CountLate {
			p.count[r.ino]++ // before its attributes are read: an invalidation from now on waits for the kernel to know it
		}
		r.attr = p.attrs(r.ino, p.s.o.Break == ValidTooEarly)
		if p.s.o.Break == ValidTooEarly {
			p.rest(p.s.between(0, 100*time.Millisecond))
		}
		if p.s.o.Break == CountLate {
			p.rest(p.s.between(0, 3*time.Millisecond))
			p.count[r.ino]++
		}
	}
	if p.s.o.Break != ValidTooEarly {
		r.valid = p.left(until)
	}
	return r
}

func (p *peer) getattr(ino meta.Ino) attrReply {
	p.pass()
	return p.attrs(ino, true)
}

// attrs reads attributes. Where they may not be shown yet it waits, or else, for answers that hold a directory's lock,
// gives them without validity, so that the kernel asks again before it shows them.
func (p *peer) attrs(ino meta.Ino, wait bool) (r attrReply) {
	obj := coherence.Attr(ino)
	if !wait && p.held && p.mount.Read(obj).Wait {
		v := p.s.world.at(obj, p.applied)
		return attrReply{version: v.index, mtime: v.mtime}
	}
	var v version
	until := p.see(obj, func(at uint64) { v = p.s.world.at(obj, at) })
	return attrReply{v.index, v.mtime, p.left(until)}
}

func (p *peer) readdirplus(dir meta.Ino) (r listReply) {
	p.pass()
	until := p.see(coherence.List(dir), func(at uint64) {
		r.version = p.s.world.at(coherence.List(dir), at).index
		r.entries = nil
		for _, name := range names {
			if v := p.s.world.at(coherence.Entry(dir, name), at); v.ino != 0 {
				r.entries = append(r.entries, listEntry{name: name, ino: v.ino, version: v.index})
			}
		}
	})
	for i := range r.entries {
		p.count[r.entries[i].ino]++
	}
	for i := range r.entries {
		r.entries[i].attr = p.attrs(r.entries[i].ino, false)
	}
	for i := range r.entries {
		r.entries[i].valid = p.left(until)
	}
	return r
}

// read returns a page. What the mount has written itself lies on top, until the state that is read has it.
func (p *peer) read(ino meta.Ino) (got page) {
	p.pass()
	p.see(coherence.Bytes(ino), func(at uint64) {
		f := p.files[ino]
		for b := range blocks {
			got[b] = p.s.world.at(blockKey{ino, b}, at)
			if f == nil {
				continue
			}
			if w := f.flushing[b]; w != nil && (w.index == 0 || w.index > at || p.s.o.Break == OverlayLong) {
				got[b] = version{w: w}
			}
			if w := f.dirty[b]; w != nil {
				got[b] = version{w: w}
			}
		}
	})
	p.s.note("mount %d: page of %d is %v", p.n, ino, got)
	return got
}

// write keeps a write until the file is flushed. It never waits.
func (p *peer) write(w *write) {
	p.pass()
	f := p.files[w.ino]
	if f == nil {
		f = &file{}
		p.files[w.ino] = f
	}
	if old := f.dirty[w.block]; old != nil {
		old.by = w
	}
	f.dirty[w.block] = w
}

// flush makes all writes of a file visible, together. It returns what it committed, nil if there was nothing.
func (p *peer) flush(ino meta.Ino) *applied {
	p.pass()
	f := p.files[ino]
	if f == nil {
		return nil
	}
	for f.busy {
		p.s.wait(&f.done)
	}
	if f.dirty == [blocks]*write{} {
		return nil
	}
	f.busy, f.flushing, f.dirty = true, f.dirty, [blocks]*write{}
	c := &change{kind: opCommit, ino: ino}
	for _, w := range f.flushing {
		if w != nil {
			c.writes = append(c.writes, w)
		}
	}
	a := p.propose(c)
	if p.s.o.Break == OverlayLong {
		p.rest(20 * time.Millisecond)
	}
	f.busy, f.flushing = false, [blocks]*write{}
	if f.dirty == [blocks]*write{} {
		delete(p.files, ino)
	}
	p.s.open(&f.done)
	return a
}

// hold says that a request holds directories' locks while it is here.
func (p *peer) hold(dirs ...meta.Ino) (end func()) {
	if p.s.o.Break == NoHold {
		return func() {}
	}
	dirs = slices.Compact(slices.Sorted(slices.Values(dirs)))
	p.mount.Hold(dirs...)
	p.s.open(&p.work)
	return func() { p.mount.Free(dirs...) }
}

// alter proposes a change of names or attributes and answers when it is released.
func (p *peer) alter(c *change) (r nameReply) {
	p.pass()
	var held []meta.Ino
	switch {
	case c.kind == opRename:
		held = []meta.Ino{c.dir, c.dir2}
	case c.kind != opChmod:
		held = []meta.Ino{c.dir}
	case c.ino < firstIno:
		held = []meta.Ino{c.ino}
	}
	defer p.hold(held...)()
	if here := coherence.Entry(c.dir, c.name); c.kind == opRename && p.s.o.Break == LookAhead {
		if v := p.s.world.at(here, p.applied); v.ino == 0 {
			return nameReply{failed: true, did: &applied{change: c, failed: true, seen: []sight{{here, v.index, nil}}}}
		}
	}
	a := p.propose(c)
	r.did = a
	if r.failed = a.failed; r.failed {
		return r
	}
	var until time.Duration
	if c.kind == opCreate || c.kind == opLink {
		here := coherence.Entry(c.dir, c.name)
		p.count[a.ino]++
		v := p.s.world.at(here, p.applied)
		r.ino, r.version = a.ino, a.did.Index
		if v.index == a.did.Index {
			until = p.keep(here)
		}
	}
	if a.ino != 0 || c.kind == opChmod {
		v := p.s.world.at(coherence.Attr(max(a.ino, c.ino)), a.did.Index)
		r.attr = attrReply{version: v.index, mtime: v.mtime}
		if c.kind == opCreate {
			r.attr = p.fresh(a.ino)
		}
		if p.s.o.Break == KeepAttrs {
			r.attr.valid = p.left(p.until)
		}
	}
	r.valid = p.left(until)
	return r
}

// fresh returns attributes of what was just created, for the reply that says so. The kernel takes them as they are, but it has no other reply about
// the inode yet, and an invalidation waits until it knows it.
func (p *peer) fresh(ino meta.Ino) attrReply {
	v := p.s.world.at(coherence.Attr(ino), p.applied)
	return attrReply{version: v.index, mtime: v.mtime, valid: p.left(p.keep(coherence.Attr(ino)))}
}

// propose brings a change into the log and returns when it is applied here and released.
func (p *peer) propose(c *change) *applied {
	p.seq++
	seq := p.seq
	c.session, c.seq = p.session, seq
	p.calls[seq] = nil
	c.low = seq
	for other := range p.calls {
		c.low = min(c.low, other)
	}
	again := p.s.now
	for {
		a := p.calls[seq]
		if a == nil && p.s.now >= again {
			again = p.s.now + retryPropose
			p.send(c)
		}
		if a != nil && p.finished(a) {
			delete(p.calls, seq)
			return a.did
		}
		p.s.waitFor(&p.look, retryPropose)
		p.pass()
	}
}

func (p *peer) finished(a *outcome) bool {
	released := p.holder.Released()
	return released.Has(a.index) || p.s.o.Break == NoReleaseWait
}

func (p *peer) send(c *change) {
	if p.leader < 0 {
		return
	}
	to := p.s.peers[p.leader]
	p.s.network.send(p.n, to.n, func() {
		if to.leads != nil {
			p.s.append(to.leads, c)
		}
	})
}

// nameless reports whether programs reach what obj is about without asking for a name: what is there from the beginning.
func nameless(obj coherence.Object) bool {
	return obj.IsAttr() && (obj.Ino() < firstIno || obj == logAttr)
}

// dirOf returns the directory whose names an object is about.
func dirOf(key any) (dir meta.Ino, ok bool) {
	dir, ok = nameObjects[key]
	return dir, ok
}

var nameObjects = func() map[any]meta.Ino {
	m := map[any]meta.Ino{}
	for _, dir := range directories {
		m[coherence.List(dir)] = dir
		for _, name := range names {
			m[coherence.Entry(dir, name)] = dir
		}
	}
	return m
}()
