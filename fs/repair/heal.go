package repair

import (
	"context"
	"log/slog"
	"sync"
	"time"

	"dfs/blockstore"
	"dfs/cluster"
	"dfs/cluster/placement"
	"dfs/fs/meta"
)

const (
	suspectsMax = 1 << 16          // extents under suspicion; more are left to the scrub
	healBatch   = 64               // looked at in one view
	healAgain   = time.Second      // after a first try that failed; then twice as long each time
	healSeldom  = 10 * time.Minute // at most
	walkEvery   = 10 * time.Second // between walks over all extents for those that do not say whose they are
)

// Mended is a peer's own store as a Healer uses it.
type Mended interface {
	blockstore.Store
	blockstore.Mender
}

// Healer makes the replicas in a peer's own store whole again: blocks that rotted and blocks that are missing are read
// from other replicas and put in place. It believes nobody: what is suspected it looks at itself, and only what the
// newest state says this peer should hold is healed.
//
// An extent never changes, so a healed replica is the same replica. No op in the log is needed, no other replica is
// touched, and whatever goes wrong nothing that was good is given up. Only where this store takes no more bytes is
// the replica retired by an op, so that the leader has it made elsewhere, once another replica was read whole.
type Healer struct {
	Self  cluster.PeerID
	Store Mended

	// Latest returns a view no older than the call.
	Latest  func(ctx context.Context) (*meta.Image, error)
	Read    func(ctx context.Context, s blockstore.Span, l placement.Layout, p []byte) error
	Propose func(context.Context, meta.Op) (meta.Result, error)

	Log   *slog.Logger                         // nil discards
	Now   func() time.Time                     // nil: time.Now
	After func(time.Duration) <-chan time.Time // nil: time.After
	// Told is called once when a replica is found bad, once when it is whole again, and once when no good replica of some
	// of its blocks is left. nil: nobody is told.
	Told func(Finding)

	mu       sync.Mutex
	suspects map[blockstore.ID]*suspect
	counts   Health
	kick     chan struct{}
	walked   time.Time // last walk over all extents
}

// suspect is an extent that may be bad here.
type suspect struct {
	id      blockstore.ID
	ino     meta.Ino // 0: not known
	due     time.Time
	tries   int
	found   FindingState // "" nothing yet
	damaged []Finding
}

// outcome of one look at a suspect.
type outcome int

const (
	dismissed outcome = iota // nothing is wrong with it, or nobody needs it
	mended
	retired
	again   // could not be done now
	damaged // cannot be done unless another replica comes back
	unknown // nothing says whose it is
)

// Suspect asks for a look at an extent, soon. Ino is whose it is, 0 if that is not known. It never blocks.
func (h *Healer) Suspect(id blockstore.ID, ino meta.Ino) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.initLocked()
	if h.suspects[id] != nil || len(h.suspects) >= suspectsMax {
		return
	}
	h.suspects[id] = &suspect{id: id, ino: ino, due: h.now()}
	select {
	case h.kick <- struct{}{}:
	default:
	}
}

func (h *Healer) initLocked() {
	if h.kick == nil {
		h.kick, h.suspects = make(chan struct{}, 1), map[blockstore.ID]*suspect{}
	}
}

func (h *Healer) now() time.Time {
	if h.Now == nil {
		return time.Now()
	}
	return h.Now()
}

// Health returns the counts.
func (h *Healer) Health() Health {
	h.mu.Lock()
	defer h.mu.Unlock()
	c := h.counts
	for _, s := range h.suspects {
		if s.found != "" {
			c.Waiting++
		}
		if len(s.damaged) > 0 {
			c.Damaged++
		}
	}
	return c
}

// Pending returns how many extents wait for their first look or for another try that may succeed.
func (h *Healer) Pending() (n int) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, s := range h.suspects {
		if len(s.damaged) == 0 {
			n++
		}
	}
	return n
}

// Run heals until ctx ends.
func (h *Healer) Run(ctx context.Context) error {
	h.mu.Lock()
	h.initLocked()
	h.mu.Unlock()
	after := h.After
	if after == nil {
		after = time.After
	}
	for {
		list, wait := h.due()
		if len(list) > 0 {
			h.healSome(ctx, list)
			if ctx.Err() != nil {
				return nil
			}
			continue
		}
		select {
		case <-ctx.Done():
			return nil
		case <-h.kick:
		case <-after(wait):
		}
	}
}

// due returns the suspects whose turn it is, at most a batch, or how long until there is one.
func (h *Healer) due() (list []*suspect, wait time.Duration) {
	now := h.now()
	h.mu.Lock()
	defer h.mu.Unlock()
	wait = time.Minute
	for _, s := range h.suspects {
		if left := s.due.Sub(now); left > 0 {
			wait = min(wait, left)
		} else if len(list) < healBatch {
			list = append(list, s)
		}
	}
	return list, wait
}

// healSome looks at a batch of suspects. A suspect is only ever worked on here.
func (h *Healer) healSome(ctx context.Context, list []*suspect) {
	conds := make([]blockstore.Condition, len(list))
	errs := make([]error, len(list))
	each(len(list), func(i int) { conds[i], errs[i] = h.Store.Examine(ctx, list[i].id) })
	v, err := h.Latest(ctx) // after the look: what it names cannot have been dropped before that
	if err != nil {
		for _, s := range list {
			h.settle(s, again, err)
		}
		return
	}
	defer v.Close()
	h.place(v, list, conds)
	each(len(list), func(i int) {
		o, err := again, errs[i]
		if err == nil {
			o, err = h.heal(ctx, v, list[i], conds[i])
		}
		if ctx.Err() == nil {
			h.settle(list[i], o, err)
		}
	})
}

// place finds out whose the suspects are that do not know it: from their notes, else by one walk for all.
func (h *Healer) place(v *meta.Image, list []*suspect, conds []blockstore.Condition) {
	lost := map[blockstore.ID]*suspect{}
	for i, s := range list {
		if s.ino == 0 && conds[i].Noted {
			s.ino = meta.Ino(conds[i].Note.Ino)
		}
		if s.ino == 0 {
			lost[s.id] = s
		}
	}
	now := h.now()
	if len(lost) == 0 || now.Sub(h.walked) < walkEvery {
		return
	}
	h.mu.Lock()
	for id, s := range h.suspects { // the others' notes can wait, but a walk should not
		if s.ino == 0 && s.tries > 0 {
			lost[id] = s
		}
	}
	h.mu.Unlock()
	var at meta.Place
	for done := false; !done; {
		var found []meta.Kept
		var err error
		if found, at, done, err = v.Replicas(h.Self, at, examine); err != nil {
			return
		}
		for _, k := range found {
			if s := lost[k.Extent.Span.Extent]; s != nil {
				s.ino = k.Ino
			}
		}
	}
	h.walked = now
	for _, s := range lost {
		if s.ino == 0 {
			s.ino = nobody
		}
	}
}

// nobody owns what no map names.
const nobody = meta.Ino(1<<64 - 1)

// settle takes note of what came of a look.
func (h *Healer) settle(s *suspect, o outcome, err error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	switch o {
	case mended:
		h.counts.Healed++
	case retired:
		h.counts.Retired++
	case again, damaged, unknown:
		wait := min(healAgain<<min(s.tries, 12), healSeldom)
		if o == unknown {
			wait = walkEvery
		}
		s.tries++
		s.due = h.now().Add(wait)
		if err != nil && h.Log != nil {
			h.Log.Debug("a replica is not healed yet", "extent", s.id, "tries", s.tries, "err", err)
		}
		return
	}
	delete(h.suspects, s.id)
}
