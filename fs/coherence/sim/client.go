package sim

import (
	"fmt"
	"slices"
	"time"

	"dfs/fs/coherence"
	"dfs/fs/meta"
)

// client is a program on a mount that does one thing after another, on few names.
type client struct {
	*sim
	k     *kernel
	n     int   // among its mount's programs
	doing *call // under way
}

// call is one system call, from when it begins to what it has shown.
type call struct {
	c     *client
	what  string
	args  []any
	begun uint64
	since time.Duration
	saw   []sight
}

func (l *call) String() string {
	what := fmt.Sprintf(l.what, l.args...)
	return fmt.Sprintf("mount %d, program %d: %s since %.3f ms", l.c.k.p.n, l.c.n, what, float64(l.since)/1e6)
}

// run makes calls until the simulation asks to stop.
func (c *client) run() {
	for !c.stopping {
		c.busy++
		c.one()
		c.busy--
		d := c.between(0, 4*time.Millisecond)
		if c.chance(20) {
			d = c.between(0, 300*time.Millisecond)
		}
		c.sleep(d)
	}
}

func (c *client) begin(format string, args ...any) *call {
	c.doing = &call{c: c, what: format, args: args, begun: c.floors.begin(), since: c.now}
	return c.doing
}

// end hands a call to the checker.
func (c *client) end(l *call, did *applied) {
	var changed []any
	var index uint64
	if did != nil {
		index = did.did.Index
		l.saw = append(l.saw, did.seen...)
		for _, o := range did.objects {
			changed = append(changed, o)
		}
		for _, w := range did.writes {
			if w.index == index {
				changed = append(changed, blockKey{w.ino, w.block})
			}
		}
	}
	c.note("%v saw %v", l, l.saw)
	c.floors.end(l, c.k.p.n, l.begun, uint64(len(c.world.log)), l.saw, changed, index)
	c.calls++
	c.doing = nil
	if d := c.now - l.since; d > c.longest {
		c.longest = d
	}
}

// habits is how often each call is made, about; every history has habits of its own.
var habits = []int{2, 6, 5, 4, 2, 2, 1, 8, 2, 5, 6, 8}

// changes says which calls wait for the log.
var changes = []bool{true, true, true, true, true, true, true, false, false, false, true, false}

func (c *client) one() {
	if c.o.Appends && c.chance(3) {
		if c.n == 0 || c.chance(2) {
			c.readLog()
		} else {
			c.append()
		}
		return
	}
	dir := directories[c.rng.IntN(len(directories))]
	at := place{dir, names[c.rng.IntN(len(names))]}
	other := place{directories[c.rng.IntN(len(directories))], names[c.rng.IntN(len(names))]}
	sum := 0
	for _, w := range c.habits {
		sum += w
	}
	what, n := 0, c.rng.IntN(sum)
	for n >= c.habits[what] {
		n -= c.habits[what]
		what++
	}
	if c.n == 0 && changes[what] {
		what = 7 // the first program only looks, and so goes on while changes wait
	}
	if c.o.Guard && c.n == 0 {
		what = 7 // and only where its kernel may know the answer, and so goes on while the daemon is frozen
	}
	switch what {
	case 0, 1:
		c.create(at)
	case 2:
		c.unlink(at)
	case 3:
		c.rename(at, other)
	case 4:
		c.link(at, other)
	case 5:
		c.chmod(at)
	case 6:
		c.chmodDir(dir)
	case 7:
		c.stat(at)
	case 8:
		c.statDir(dir)
	case 9:
		c.list(dir)
	case 10:
		c.write(at)
	case 11:
		c.read(at)
	}
	if c.chance(c.memory) {
		if inos := c.known(); len(inos) > 0 {
			c.k.evict(inos[c.rng.IntN(len(inos))])
		}
	}
}

func (c *client) known() (inos []meta.Ino) {
	for ino := range c.k.inodes {
		inos = append(inos, ino)
	}
	slices.Sort(inos)
	return inos
}

func entrySight(at place, index uint64) sight {
	return sight{coherence.Entry(at.dir, at.name), index, nil}
}

// open finds a file and notes what that showed.
func (c *client) open(l *call, at place) meta.Ino {
	d := c.k.walk(at.dir, at.name, false)
	ino := d.ino
	l.saw = append(l.saw, entrySight(at, d.version))
	return ino
}

func (c *client) stat(at place) {
	l := c.begin("stat %d/%s", at.dir, at.name)
	if ino := c.open(l, at); ino != 0 {
		if v, ok := c.k.attr(ino); ok {
			l.saw = append(l.saw, sight{coherence.Attr(ino), v, nil})
		}
	}
	c.end(l, nil)
}

func (c *client) statDir(dir meta.Ino) {
	l := c.begin("stat %d", dir)
	v, _ := c.k.attr(dir)
	l.saw = append(l.saw, sight{coherence.Attr(dir), v, nil})
	c.end(l, nil)
}

func (c *client) list(dir meta.Ino) {
	l := c.begin("list %d", dir)
	l.saw = append(l.saw, sight{coherence.List(dir), c.k.list(dir), nil})
	c.end(l, nil)
}

func (c *client) create(at place) {
	k, l := c.k, c.begin("create %d/%s", at.dir, at.name)
	k.lock(k.dirs[at.dir], true)
	var did *applied
	if d := k.walk(at.dir, at.name, true); d.ino != 0 {
		l.saw = append(l.saw, entrySight(at, d.version))
	} else {
		did = c.named(&change{kind: opCreate, dir: at.dir, name: at.name}, at)
	}
	k.unlock(k.dirs[at.dir], true)
	c.end(l, did)
}

// named sends CREATE or LINK and takes the answer in.
func (c *client) named(ch *change, at place) *applied {
	k := c.k
	epoch := k.epoch
	k.travel()
	r := k.p.alter(ch)
	k.travel()
	if r.failed {
		delete(k.names, at)
		return r.did
	}
	k.names[at] = &dentry{ino: r.ino, version: r.version, until: k.p.clock() + r.valid, epoch: epoch}
	k.get(r.ino, r.attr, stamp{})
	k.touched(at.dir)
	return r.did
}

func (c *client) link(from, at place) {
	k, l := c.k, c.begin("link %d/%s %d/%s", from.dir, from.name, at.dir, at.name)
	ino := c.open(l, from)
	if ino == 0 {
		c.end(l, nil)
		return
	}
	k.lock(k.dirs[at.dir], true)
	var did *applied
	if d := k.walk(at.dir, at.name, true); d.ino != 0 {
		l.saw = append(l.saw, entrySight(at, d.version))
	} else {
		did = c.named(&change{kind: opLink, dir: at.dir, name: at.name, ino: ino}, at)
	}
	k.unlock(k.dirs[at.dir], true)
	c.end(l, did)
}

func (c *client) unlink(at place) {
	k, l := c.k, c.begin("unlink %d/%s", at.dir, at.name)
	k.lock(k.dirs[at.dir], true)
	var did *applied
	if d := k.walk(at.dir, at.name, true); d.ino == 0 {
		l.saw = append(l.saw, entrySight(at, d.version))
	} else {
		k.travel()
		r := k.p.alter(&change{kind: opUnlink, dir: at.dir, name: at.name})
		k.travel()
		did = r.did
		delete(k.names, at)
		k.touched(at.dir, d.ino)
	}
	k.unlock(k.dirs[at.dir], true)
	c.end(l, did)
}

func (c *client) rename(from, to place) {
	if from == to {
		return
	}
	k, l := c.k, c.begin("rename %d/%s %d/%s", from.dir, from.name, to.dir, to.name)
	cross := from.dir != to.dir
	if cross {
		k.lock(&k.renames, true)
		defer k.unlock(&k.renames, true)
	}
	first, second := min(from.dir, to.dir), max(from.dir, to.dir)
	k.lock(k.dirs[first], true)
	if cross {
		k.lock(k.dirs[second], true)
	}
	old := k.walk(from.dir, from.name, true)
	var did *applied
	if old.ino == 0 {
		l.saw = append(l.saw, entrySight(from, old.version))
	} else if there := k.walk(to.dir, to.name, true); there.ino != old.ino {
		k.travel()
		r := k.p.alter(&change{kind: opRename, dir: from.dir, name: from.name, dir2: to.dir, name2: to.name})
		k.travel()
		did = r.did
		if !r.failed {
			k.touched(from.dir, to.dir, old.ino, there.ino)
			k.move(from, to, old, did)
		}
	} else {
		l.saw = append(l.saw, entrySight(from, old.version), entrySight(to, there.version))
	}
	if cross {
		k.unlock(k.dirs[second], true)
	}
	k.unlock(k.dirs[first], true)
	c.end(l, did)
}

// move is d_move: the cached name goes along, with the validity it has.
func (k *kernel) move(from, to place, d *dentry, did *applied) {
	if k.names[from] == d {
		delete(k.names, from)
	}
	d.version = did.did.Index
	if did.ino != d.ino {
		d.until = 0 // the daemon moved another file: the kernel's idea of it is void
		delete(k.names, to)
		return
	}
	k.names[to] = d
}

func (c *client) chmod(at place) {
	k, l := c.k, c.begin("chmod %d/%s", at.dir, at.name)
	ino := c.open(l, at)
	n := k.inodes[ino]
	if ino == 0 || n == nil {
		c.end(l, nil)
		return
	}
	n.used++
	r := c.setattr(ino, n)
	n.used--
	c.end(l, r)
}

func (c *client) chmodDir(dir meta.Ino) {
	k, l := c.k, c.begin("chmod %d", dir)
	k.lock(k.dirs[dir], true)
	did := c.setattr(dir, k.inodes[dir])
	k.unlock(k.dirs[dir], true)
	c.end(l, did)
}

func (c *client) setattr(ino meta.Ino, n *inode) *applied {
	k := c.k
	k.travel()
	r := k.p.alter(&change{kind: opChmod, ino: ino})
	k.travel()
	k.take(n, r.attr, stamp{})
	return r.did
}

// write changes a block or both, and closes the file.
func (c *client) write(at place) {
	l := c.begin("write %d/%s", at.dir, at.name)
	ino := c.open(l, at)
	n := c.k.inodes[ino]
	if ino == 0 || n == nil {
		c.end(l, nil)
		return
	}
	n.used++
	defer func() { n.used-- }()
	var mine []*write
	for range 1 + c.rng.IntN(2) {
		c.orders++
		w := &write{mount: c.k.p.n, ino: ino, block: c.rng.IntN(blocks), order: c.orders}
		mine = append(mine, w)
		c.k.write(w)
		c.floors.local[localKey{w.mount, blockKey{ino, w.block}}] = w
		if c.chance(3) {
			c.sleep(c.between(0, 5*time.Millisecond))
		}
	}
	c.k.travel()
	did := c.k.p.flush(ino)
	c.k.travel()
	c.end(l, did)
	for _, w := range mine {
		if w = w.last(); w.index == 0 {
			if did != nil || c.k.p.files[ino] == nil {
				c.floors.fail("%v: closed, and not committed", l)
			}
			continue
		}
		c.floors.raise(blockKey{ino, w.block}, w.index)
	}
}

func (c *client) read(at place) {
	l := c.begin("read %d/%s", at.dir, at.name)
	ino := c.open(l, at)
	var mine [blocks]*write
	for b := range blocks {
		mine[b] = c.floors.local[localKey{c.k.p.n, blockKey{ino, b}}]
	}
	if ino != 0 {
		if got, ok := c.k.read(ino); ok {
			for b, v := range got {
				s := sight{blockKey{ino, b}, v.index, v.w}
				l.saw = append(l.saw, s)
				c.floors.own(l, c.k.p.n, s, mine[b])
			}
		}
	}
	c.end(l, nil)
}
