package sim

import (
	"time"

	"dfs/fs/coherence"
	"dfs/fs/meta"
)

// kernel is one mount's kernel: what it caches, which locks it holds while it asks the daemon, and how it orders
// replies and notifies. It answers from its caches as long as it may, whatever has become of the daemon.
type kernel struct {
	*sim
	p       *peer
	version uint64 // counts attributes taken in and invalidations, as fuse_conn.attr_version does
	evicted uint64 // counts evictions, as fuse_conn.evict_ctr does since Linux 6.13
	epoch   uint64
	names   map[place]*dentry
	looking map[place]*gate // look-ups under a shared lock; another of the same name waits
	inodes  map[meta.Ino]*inode
	dirs    map[meta.Ino]*lock
	renames lock
}

type place struct {
	dir  meta.Ino
	name string
}

// dentry is a cached name. It stays itself when a rename moves it, and unhashed when it was dropped.
type dentry struct {
	ino     meta.Ino // 0: there is no such name
	version uint64
	until   time.Duration
	epoch   uint64
}

// inode is a cached inode with its page.
type inode struct {
	lookups int
	taken   uint64 // kernel.version when the attributes were taken in or invalidated
	until   time.Duration
	invalid bool
	version uint64
	mtime   uint64
	page    *page // nil: none
	folio   lock
	used    int // calls under way on an open file
}

type page [blocks]version

func newKernel(p *peer) *kernel {
	k := &kernel{sim: p.s, p: p, version: 1, names: map[place]*dentry{}, looking: map[place]*gate{}, inodes: map[meta.Ino]*inode{}, dirs: map[meta.Ino]*lock{}}
	for _, d := range directories {
		k.dirs[d] = &lock{}
		k.inodes[d] = &inode{lookups: 1, invalid: true}
		p.count[d] = 1
	}
	if p.s.o.Appends {
		k.inodes[logIno] = &inode{lookups: 1, invalid: true, used: 1}
		p.count[logIno] = 1
	}
	return k
}

// travel is the way of a request, a reply or a notify: mostly short.
func (s *sim) travel() {
	d := s.between(0, 300*time.Microsecond)
	if s.chance(8) {
		d = s.between(0, s.lag)
	}
	s.sleep(d)
}

// walk finds a name. With locked the caller holds the directory alone. The dentry may have been dropped since.
func (k *kernel) walk(dir meta.Ino, name string, locked bool) *dentry {
	at := place{dir, name}
	if d := k.revalidate(at); d != nil {
		return d
	}
	if !locked {
		k.lock(k.dirs[dir], false)
		defer k.unlock(k.dirs[dir], false)
	}
	for {
		if g := k.looking[at]; g != nil {
			k.wait(g)
			continue
		}
		if d := k.revalidate(at); d != nil {
			return d
		}
		if k.looking[at] == nil {
			break
		}
	}
	g := &gate{}
	k.looking[at] = g
	epoch, asked := k.epoch, k.stamp()
	k.travel()
	r := k.p.lookup(dir, name)
	k.travel()
	d := &dentry{ino: r.ino, version: r.version, until: k.p.clock() + r.valid, epoch: epoch}
	if r.ino != 0 {
		k.get(r.ino, r.attr, asked)
	}
	k.names[at] = d
	delete(k.looking, at)
	k.open(g)
	return d
}

// revalidate returns the cached name if it may be used, having asked for it again if its time is over; no lock is taken for
// that.
func (k *kernel) revalidate(at place) *dentry {
	d := k.names[at]
	if d == nil {
		return nil
	}
	if d.epoch < k.epoch {
		k.drop(at, d)
		return nil
	}
	if k.p.clock() < d.until {
		return d
	}
	if d.ino == 0 {
		k.drop(at, d)
		return nil
	}
	asked := k.stamp()
	k.travel()
	r := k.p.lookup(at.dir, at.name)
	k.travel()
	if r.ino != d.ino {
		if r.ino != 0 {
			k.forget(r.ino, 1)
		}
		k.drop(at, d)
		return nil
	}
	k.get(r.ino, r.attr, asked)
	d.version, d.until = r.version, k.p.clock()+r.valid
	return d
}

// drop unhashes a dentry, if it is still there.
func (k *kernel) drop(at place, d *dentry) {
	if k.names[at] == d {
		delete(k.names, at)
	}
}

// stamp is a moment by which the kernel tells overtaken replies. The zero value: taken as they are.
type stamp struct{ version, evicted uint64 }

func (k *kernel) stamp() stamp { return stamp{k.version, k.evicted} }

// get counts a look-up of an inode and takes its attributes, asked for then, in.
func (k *kernel) get(ino meta.Ino, a attrReply, asked stamp) {
	n := k.inodes[ino]
	if n == nil {
		n = &inode{mtime: a.mtime}
		k.inodes[ino] = n
	}
	n.lookups++
	k.take(n, a, asked)
}

// take takes attributes in, unless the inode was invalidated since they were asked for.
func (k *kernel) take(n *inode, a attrReply, asked stamp) {
	if asked.version != 0 && n.taken > asked.version {
		return
	}
	changed := n.mtime != a.mtime
	n.version, n.mtime, n.until, n.invalid = a.version, a.mtime, k.p.clock()+a.valid, false
	if asked.version != 0 && asked.evicted != k.evicted && k.o.Break != NoEvictions {
		n.invalid = true // it may be another life of the inode
	}
	k.version++
	n.taken = k.version
	if changed && !k.o.Explicit {
		k.dropPages(n)
	}
}

// dropPages waits for the page's lock, as invalidate_inode_pages2 does.
func (k *kernel) dropPages(n *inode) {
	if n.page == nil && !n.folio.exclusive {
		return
	}
	k.lock(&n.folio, true)
	n.page = nil
	k.unlock(&n.folio, true)
}

// forget tells the daemon that look-ups of an inode are over.
func (k *kernel) forget(ino meta.Ino, n int) {
	k.start(func() {
		k.travel()
		k.p.pass()
		if k.p.count[ino] -= n; k.p.count[ino] == 0 {
			delete(k.p.count, ino)
		}
	})
}

// evict drops an inode and all its names, as memory pressure would.
func (k *kernel) evict(ino meta.Ino) {
	n := k.inodes[ino]
	if n == nil || ino < firstIno || n.used > 0 || n.folio.exclusive || n.folio.shared > 0 || len(n.folio.queue) > 0 {
		return
	}
	for _, dir := range directories {
		for _, name := range names {
			at := place{dir, name}
			if d := k.names[at]; d != nil && d.ino == ino {
				delete(k.names, at)
			}
		}
	}
	delete(k.inodes, ino)
	k.evicted++
	k.forget(ino, n.lookups)
}

// attr returns the attributes' version, asking the daemon if what is cached is over.
func (k *kernel) attr(ino meta.Ino) (uint64, bool) {
	n := k.inodes[ino]
	if n == nil {
		return 0, false
	}
	if !n.invalid && k.p.clock() < n.until {
		return n.version, true
	}
	n.used++
	defer func() { n.used-- }()
	asked := k.stamp()
	k.travel()
	r := k.p.getattr(ino)
	k.travel()
	k.take(n, r, asked)
	return r.version, true
}

// read returns a file's page.
func (k *kernel) read(ino meta.Ino) (page, bool) {
	n := k.inodes[ino]
	if n == nil {
		return page{}, false
	}
	n.used++
	defer func() { n.used-- }()
	if !k.o.Explicit {
		k.attr(ino) // AUTO_INVAL_DATA
	}
	if n.page != nil {
		return *n.page, true
	}
	k.lock(&n.folio, true)
	if n.page == nil {
		k.travel()
		got := k.p.read(ino)
		k.travel()
		n.page = &got
	}
	got := *n.page
	k.unlock(&n.folio, true)
	return got, true
}

// write changes a block through the page cache.
func (k *kernel) write(w *write) bool {
	n := k.inodes[w.ino]
	if n == nil {
		return false
	}
	n.used++
	defer func() { n.used-- }()
	k.lock(&n.folio, true)
	if n.page != nil {
		n.page[w.block] = version{w: w}
	}
	k.travel()
	k.p.write(w)
	k.travel()
	k.unlock(&n.folio, true)
	k.version++
	n.taken, n.invalid = k.version, true
	return true
}

// list reads a directory with its entries' attributes, and takes them in.
func (k *kernel) list(dir meta.Ino) uint64 {
	k.lock(k.dirs[dir], false)
	defer k.unlock(k.dirs[dir], false)
	asked := k.stamp()
	k.travel()
	r := k.p.readdirplus(dir)
	k.travel()
	for _, e := range r.entries {
		at := place{dir, e.name}
		for k.looking[at] != nil {
			k.wait(k.looking[at])
		}
		d := k.names[at]
		if d == nil || d.ino != e.ino {
			d = &dentry{ino: e.ino}
			k.names[at] = d
		}
		d.version, d.until, d.epoch = e.version, k.p.clock()+e.valid, k.epoch // the epoch of now, not of the request
		k.get(e.ino, e.attr, asked)
	}
	return r.version
}

// touched invalidates attributes, as the kernel does after its own change of names.
func (k *kernel) touched(inos ...meta.Ino) {
	for _, ino := range inos {
		if n := k.inodes[ino]; n != nil {
			n.invalid = true
		}
	}
}

// invalInode is FUSE_NOTIFY_INVAL_INODE. It returns false if the kernel does not know the inode.
func (k *kernel) invalInode(ino meta.Ino, pages bool) bool {
	n := k.inodes[ino]
	if n == nil {
		return false
	}
	k.version++
	n.taken, n.invalid = k.version, true
	if pages {
		k.dropPages(n)
	}
	return true
}

// invalEntry is FUSE_NOTIFY_INVAL_ENTRY.
func (k *kernel) invalEntry(dir meta.Ino, name string) {
	k.lock(k.dirs[dir], true)
	at := place{dir, name}
	if d := k.names[at]; d != nil {
		k.touched(dir)
		k.drop(at, d)
	}
	k.unlock(k.dirs[dir], true)
}

// tell carries out a notify.
func (k *kernel) tell(n coherence.Notify) bool {
	switch n.Kind {
	case coherence.InvalAttr, coherence.InvalBytes:
		return k.invalInode(n.Ino, n.Kind == coherence.InvalBytes)
	case coherence.InvalEntry:
		k.invalEntry(n.Ino, n.Name)
	case coherence.ExpireEpoch:
		k.epoch++
	}
	return true
}
