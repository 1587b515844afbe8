package sim

import (
	"fmt"
	"slices"

	"dfs/fs/coherence"
)

// sight is one version of one object that an answer told of. key is a coherence.Object or a blockKey.
type sight struct {
	key   any
	index uint64 // the index of the last change; 0: never changed
	w     *write // of a block: the write that was seen
}

// floors is what the checker knows: for each object, since when no answer may show less than some version. A moment is
// the number of calls begun or ended so far, so that no two are the same.
type floors struct {
	moment uint64
	at     map[view][]floor
	told   map[uint64]bool // changes whose authors' calls have returned
	author func(index uint64) (mount int)
	local  map[localKey]*write // the last write of a block that returned, by mount
	faults []string
	shown  int // versions checked
}

type floor struct{ moment, index uint64 }

// view is one object as the programs of one mount must see it.
type view struct {
	key   any
	mount int
}

const mountsMax = 3

type localKey struct {
	mount int
	block blockKey
}

func newFloors() *floors {
	return &floors{at: map[view][]floor{}, told: map[uint64]bool{}, local: map[localKey]*write{}}
}

// begin returns the moment a call begins.
func (f *floors) begin() uint64 {
	f.moment++
	return f.moment
}

// before returns the least version of key that a call begun then on a mount may show.
func (f *floors) before(key any, mount int, begun uint64) uint64 {
	all := f.at[view{key, mount}]
	n, _ := slices.BinarySearchFunc(all, begun, func(a floor, m uint64) int {
		if a.moment < m {
			return -1
		}
		return 1
	})
	if n == 0 {
		return 0
	}
	return all[n-1].index
}

// raise notes that from now on nobody may see less than a version. The exception: programs on the mount that is
// changing a name may see the old one until the kernel there has taken in the reply to the change.
func (f *floors) raise(key any, index uint64) {
	if index == 0 {
		return
	}
	_, named := dirOf(key)
	for m := range mountsMax {
		if named && m == f.author(index) && !f.told[index] {
			continue
		}
		v := view{key, m}
		all := f.at[v]
		if n := len(all); n == 0 || all[n-1].index < index {
			f.at[v] = append(all, floor{f.moment, index})
		}
	}
}

// end judges what a call that began then on a mount has shown, and what it changed. Changed are all the objects
// that became their version of index.
func (f *floors) end(l *call, mount int, begun, committed uint64, saw []sight, changed []any, index uint64) {
	for _, s := range saw {
		f.shown++
		if s.w != nil && s.w.index == 0 {
			if s.w.mount != mount {
				f.fail("%v: %v shows mount %d's write before it was flushed", l, name(s.key), s.w.mount)
			}
			continue
		}
		if s.w != nil {
			s.index = s.w.index
		}
		if least := f.before(s.key, mount, begun); s.index < least {
			f.fail("%v: %v shows version %d, but version %d was there before the call began", l, name(s.key), s.index, least)
		}
		if s.index > committed {
			f.fail("%v: %v shows version %d, which is not committed", l, name(s.key), s.index)
		}
	}
	f.moment++
	f.told[index] = true
	for _, s := range saw {
		if s.w == nil {
			f.raise(s.key, s.index)
		} else if s.w.index != 0 && (s.w.mount != mount || f.told[s.w.index]) { // its own writes a mount sees before all others
			f.raise(s.key, s.w.index)
		}
	}
	for _, key := range changed {
		f.raise(key, index)
	}
}

// own judges what a read of a block has shown of the mount's own writes: first is the last one that had returned when the read began.
func (f *floors) own(l *call, mount int, s sight, first *write) {
	first = first.last()
	switch {
	case first == nil:
	case s.w != nil && s.w.mount == mount && s.w.order >= first.order:
	case first.index != 0 && s.w != nil && s.w.index > first.index:
	default:
		f.fail("%v: %v does not show the write that returned before on the same mount", l, name(s.key))
	}
}

func (f *floors) fail(format string, args ...any) {
	f.faults = append(f.faults, fmt.Sprintf(format, args...))
}

func name(key any) string {
	switch k := key.(type) {
	case coherence.Object:
		return k.String()
	case blockKey:
		return fmt.Sprintf("block(%d,%d)", k.ino, k.block)
	}
	return fmt.Sprint(key)
}

func (s sight) String() string {
	if s.w != nil {
		return fmt.Sprintf("%s@%d by %d.%d", name(s.key), s.w.index, s.w.mount, s.w.order)
	}
	return fmt.Sprintf("%s@%d", name(s.key), s.index)
}
