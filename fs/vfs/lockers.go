package vfs

import (
	"maps"
	"math/rand/v2"
	"slices"
	"sync"
	"sync/atomic"

	"dfs/fs/lock"
	"dfs/fs/meta"
)

// toldMax is how many inodes are remembered as ones whose closing must be told; with more, that of all.
const toldMax = 1 << 16

// locks is what this mount knows of its programs' locks: at least who has some, so that closing a file which nobody locked costs
// nothing.
type locks struct {
	paying atomic.Bool

	mu    sync.Mutex
	last  uint64 // request
	files map[meta.Ino]map[ownerOf]*lockOwner
	asked map[uint64]*asked
	owed  []meta.Unlock
	told  map[meta.Ino]struct{} // a range of them was locked here
	all   bool                  // told is full: every close is told
}

// ownerOf is an owner of this mount's, and a kind of locks.
type ownerOf struct {
	id    uint64
	whole bool
}

// lockOwner is an owner that may have locks on a file.
type lockOwner struct {
	pid     uint32
	granted uint64              // times a lock was
	sure    bool                // and not all were given up
	asks    int                 // under way
	through map[Handle]struct{} // handles
}

// asked is a request for a lock under way.
type asked struct {
	id      uint64
	ino     meta.Ino
	lock    lock.Lock
	granted chan uint64 // one slot: the index at which it was, if it had to wait; closed: ask again
}

func newLocks() locks {
	return locks{
		last:  rand.Uint64() >> 1, // another daemon of this peer's has other numbers
		files: map[meta.Ino]map[ownerOf]*lockOwner{},
		asked: map[uint64]*asked{},
		told:  map[meta.Ino]struct{}{},
	}
}

// number returns a number no request has.
func (k *locks) number() uint64 {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.last++
	return k.last
}

// begin notes a request for l through a handle. Until it has ended its owner counts as one that may have locks.
func (k *locks) begin(ino meta.Ino, id Handle, l lock.Lock) *asked {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.last++
	a := &asked{id: k.last, ino: ino, lock: l, granted: make(chan uint64, 1)}
	k.asked[a.id] = a
	if !l.Whole && !k.all {
		k.told[ino] = struct{}{}
		k.all = len(k.told) > toldMax
	}
	if k.files[ino] == nil {
		k.files[ino] = map[ownerOf]*lockOwner{}
	}
	o := ownerOf{l.Owner.ID, l.Whole}
	x := k.files[ino][o]
	if x == nil {
		x = &lockOwner{through: map[Handle]struct{}{}}
		k.files[ino][o] = x
	}
	x.pid = l.PID
	x.asks++
	x.through[id] = struct{}{}
	return a
}

// end notes how a request ended.
func (k *locks) end(a *asked, granted bool) {
	k.mu.Lock()
	defer k.mu.Unlock()
	delete(k.asked, a.id)
	o := ownerOf{a.lock.Owner.ID, a.lock.Whole}
	x := k.files[a.ino][o]
	if x == nil {
		return // lost meanwhile
	}
	x.asks--
	if granted {
		x.granted++
		x.sure = true
	}
	k.forget(a.ino, o)
}

// none says that an owner was seen to hold nothing after it had been granted locks seen times.
func (k *locks) none(ino meta.Ino, o ownerOf, seen uint64) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if x := k.files[ino][o]; x != nil && x.asks == 0 && x.granted == seen {
		x.sure = false
		k.forget(ino, o)
	}
}

// forget drops an owner that has nothing. The caller has mu.
func (k *locks) forget(ino meta.Ino, o ownerOf) {
	if x := k.files[ino][o]; x.sure || x.asks > 0 {
		return
	}
	if delete(k.files[ino], o); len(k.files[ino]) == 0 {
		delete(k.files, ino)
	}
}

// state returns how often an owner was granted locks, and whether it may have some.
func (k *locks) state(ino meta.Ino, o ownerOf) (granted uint64, has bool) {
	k.mu.Lock()
	defer k.mu.Unlock()
	x := k.files[ino][o]
	if x == nil {
		return 0, false
	}
	return x.granted, true
}

func (k *locks) has(ino meta.Ino, o ownerOf) bool {
	_, has := k.state(ino, o)
	return has
}

// through returns the owners that may have locks taken through a handle, and those of range locks whose process is one.
func (k *locks) through(ino meta.Ino, id Handle, of func(pid uint32) bool) (owners []ownerOf) {
	k.mu.Lock()
	defer k.mu.Unlock()
	for o, x := range k.files[ino] {
		if _, ok := x.through[id]; ok || !o.whole && of(x.pid) {
			owners = append(owners, o)
		}
	}
	return owners
}

// quiet reports whether nobody here has locked a range of ino yet.
func (k *locks) quiet(ino meta.Ino) bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	_, told := k.told[ino]
	return !told && !k.all
}

// grant tells who waits.
func (k *locks) grant(w meta.Woken, index uint64) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if a := k.asked[w.ID]; a != nil {
		select {
		case a.granted <- index:
		default: // told already
		}
	}
}

// again has a request that waits be made anew.
func (k *locks) again(a *asked) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.asked[a.id] == a {
		delete(k.asked, a.id) // so that nobody tells it any more
		close(a.granted)
	}
}

// allAsked returns the requests under way.
func (k *locks) allAsked() []*asked {
	k.mu.Lock()
	defer k.mu.Unlock()
	return slices.Collect(maps.Values(k.asked))
}

// lose forgets everything, and returns the handles through which locks were taken, by inode. Who waits asks again.
func (k *locks) lose() map[meta.Ino][]Handle {
	for _, a := range k.allAsked() {
		k.again(a)
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	lost := map[meta.Ino][]Handle{}
	for ino, owners := range k.files {
		for _, x := range owners {
			if x.sure {
				lost[ino] = slices.AppendSeq(lost[ino], maps.Keys(x.through))
			}
		}
	}
	k.files, k.owed = map[meta.Ino]map[ownerOf]*lockOwner{}, nil
	return lost
}
