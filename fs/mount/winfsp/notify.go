package winfsp

import (
	"context"
	"path"
	"sync"

	"dfs/fs/meta"
)

// Windows knows changes by path, the drive by inode. The front remembers where it last found the newest few thousand inodes, and that
// is where it says that something has changed. A path may be an old one by then, or the inode forgotten: then somebody looks in
// vain, or sees the change when he next looks. Nothing waits for these notifications and nothing rests on them.

// seenMax is how many paths are remembered, at most twice over.
const seenMax = 4096

// seen remembers where inodes were found. Safe for concurrent use.
type seen struct {
	mu       sync.Mutex
	new, old map[meta.Ino]string // old is dropped when new is full, and new becomes old
}

func newSeen() *seen { return &seen{new: map[meta.Ino]string{}} }

func (s *seen) add(ino meta.Ino, path string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.new) >= seenMax {
		s.old, s.new = s.new, map[meta.Ino]string{}
	}
	s.new[ino] = path
}

func (s *seen) path(ino meta.Ino) (string, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	p, ok := s.new[ino]
	if !ok {
		p, ok = s.old[ino]
	}
	return p, ok
}

func (s *seen) len() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	n := len(s.new)
	for ino := range s.old {
		if _, again := s.new[ino]; !again {
			n++
		}
	}
	return n
}

// sort of what is said about a path.
type sort uint8

const (
	changed sort = iota
	fileMade
	dirMade
	fileGone
	dirGone
)

// event is a change that programs may want to hear of: of an inode's attributes, or of a name in it.
type event struct {
	ino  meta.Ino
	name string // "" its attributes
}

// eventsMax is how many events wait. More are dropped: whoever is told of so much looks anew anyway.
const eventsMax = 1024

// teller says what has changed.
type teller struct {
	tree   *tree
	events chan event
	tell   func(path string, what sort)
}

func newTeller(t *tree, tell func(string, sort)) *teller {
	return &teller{tree: t, events: make(chan event, eventsMax), tell: tell}
}

// hear takes an event, or drops it. It never blocks.
func (t *teller) hear(e event) {
	select {
	case t.events <- e:
	default:
	}
}

// run tells until ctx ends.
func (t *teller) run(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case e := <-t.events:
			t.handle(ctx, e)
		}
	}
}

func (t *teller) handle(ctx context.Context, e event) {
	at, ok := t.tree.seen.path(e.ino)
	if !ok {
		return
	}
	if e.name == "" {
		t.tell(at, changed)
		return
	}
	at = path.Join(at, t.tree.shown(e.name))
	now, err := t.tree.fs.Lookup(ctx, e.ino, e.name, nil)
	switch {
	case err != nil:
	case now.Inode.Ino == 0: // what it was is not known any more
		t.tell(at, fileGone)
		t.tell(at, dirGone)
	case now.Inode.Type == meta.Dir:
		t.tell(at, dirMade)
	default:
		t.tell(at, fileMade)
	}
}
