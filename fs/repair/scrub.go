package repair

import (
	"context"
	"log/slog"
	"sync"
	"time"

	"dfs/blockstore"
	"dfs/cluster"
	"dfs/cluster/fault"
	"dfs/fs/meta"
)

const (
	scrubEvery = 14 * 24 * time.Hour // a pass by itself is spread over so long
	scrubSlow  = 1 << 20             // bytes a second, at least
	scrubFast  = 64 << 20            // bytes a second of a pass that was asked for
	scrubView  = 512                 // records looked at in one view
	scrubSave  = 30 * time.Second    // between notes of how far it is
	scrubStart = time.Second         // between looks whether the peer has started
	scrubIdle  = time.Minute         // between looks whether a pass is due
)

// Scrubber reads every replica that the state says its peer holds, slowly, and hands what is rotten or missing to the
// Healer. It walks the map, not the store, so that it also finds what the store has forgotten or keeps in the wrong place.
//
// A pass by itself takes two weeks, or less where the store is so small that 1 MiB a second is done earlier; the next
// begins two weeks after it did. One that was asked for reads 64 MiB a second. A restart goes on where it was.
type Scrubber struct {
	Self    cluster.PeerID
	Store   blockstore.Mender
	Latest  func(ctx context.Context) (*meta.Image, error)
	Suspect func(id blockstore.ID, ino meta.Ino)
	Stored  func() int64 // bytes the store holds

	// Index is called at the beginning of a pass: it verifies what the peer keeps beside the blocks. An error ends the pass.
	Index func(ctx context.Context) error

	Load func() (ScrubState, error) // what Save was last given; zero if nothing
	Save func(ScrubState) error

	Log   *slog.Logger                         // nil discards
	Now   func() time.Time                     // nil: time.Now
	After func(time.Duration) <-chan time.Time // nil: time.After

	mu    sync.Mutex
	state ScrubState
	kick  chan struct{}
}

// ScrubState is how far a scrub is. It is kept over restarts.
type ScrubState struct {
	Running bool       `json:"running"`
	Fast    bool       `json:"fast"`
	Paused  bool       `json:"paused"`
	At      meta.Place `json:"at"`
	Began   time.Time  `json:"began"`          // of this pass, or the last
	Ended   time.Time  `json:"ended,omitzero"` // of the last whole pass
	Looked  int64      `json:"looked"`         // bytes in this pass
	Total   int64      `json:"total"`          // bytes it was to look at when it began
	Extents uint64     `json:"extents"`        // in this pass
	Found   uint64     `json:"found"`          // replicas found bad in this pass
	Passes  uint64     `json:"passes"`         // whole ones, ever
	Ever    uint64     `json:"ever"`           // replicas found bad, ever
}

// Rate returns how many bytes a second it reads at most.
func (st ScrubState) Rate() int64 {
	if st.Fast {
		return scrubFast
	}
	return max(scrubSlow, st.Total/int64(scrubEvery/time.Second))
}

// State returns how far it is.
func (s *Scrubber) State() ScrubState {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.state
}

// Start begins a pass now, at speed; one that is under way goes on at speed, and so does one that was paused.
func (s *Scrubber) Start() {
	s.change(func(st *ScrubState) {
		if !st.Running {
			s.beginLocked()
		}
		st.Fast, st.Paused = true, false
	})
}

// Pause stops until Start; the place is kept.
func (s *Scrubber) Pause() { s.change(func(st *ScrubState) { st.Paused = true }) }

func (s *Scrubber) change(fn func(*ScrubState)) {
	s.mu.Lock()
	s.initLocked()
	fn(&s.state)
	select {
	case s.kick <- struct{}{}:
	default:
	}
	s.mu.Unlock()
	s.save()
}

func (s *Scrubber) initLocked() {
	if s.kick != nil {
		return
	}
	s.kick = make(chan struct{}, 1)
	if s.Now == nil {
		s.Now = time.Now
	}
	if s.After == nil {
		s.After = time.After
	}
	if s.Log == nil {
		s.Log = slog.New(slog.DiscardHandler)
	}
	st, err := s.Load()
	if err != nil {
		s.Log.Warn("scrub: how far it was is not known; it begins anew", "err", err)
	}
	s.state = st
}

func (s *Scrubber) beginLocked() {
	st := &s.state
	st.Running, st.Fast, st.At, st.Began = true, false, meta.Place{}, s.Now()
	st.Looked, st.Extents, st.Found, st.Total = 0, 0, 0, s.Stored()
}

// save keeps the state; that it could not is not worth stopping for.
func (s *Scrubber) save() {
	if err := s.Save(s.State()); err != nil {
		s.Log.Warn("scrub: how far it is cannot be saved", "err", err)
	}
}

// Run scrubs until ctx ends.
func (s *Scrubber) Run(ctx context.Context) error {
	s.mu.Lock()
	s.initLocked()
	s.mu.Unlock()
	for ctx.Err() == nil {
		if s.due() {
			err := s.pass(ctx)
			switch {
			case err == nil || ctx.Err() != nil:
			case fault.KindOf(err) == fault.Busy: // the peer is starting
				s.wait(ctx, scrubStart)
			default:
				s.Log.Warn("scrub: interrupted, goes on in a minute", "err", err)
				s.wait(ctx, scrubIdle)
			}
			continue
		}
		s.wait(ctx, scrubIdle)
	}
	s.save()
	return nil
}

// due reports whether there is something to do, beginning a pass if it is time.
func (s *Scrubber) due() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	st := &s.state
	if !st.Running && !st.Paused && s.Now().Sub(st.Began) >= scrubEvery {
		s.beginLocked()
	}
	return st.Running && !st.Paused
}

// wait returns after d, or when something was asked for, or when ctx ends.
func (s *Scrubber) wait(ctx context.Context, d time.Duration) {
	select {
	case <-ctx.Done():
	case <-s.kick:
	case <-s.After(d):
	}
}

// pass goes on with the pass under way until it is done, paused, or cannot go on.
func (s *Scrubber) pass(ctx context.Context) error {
	if s.State().At == (meta.Place{}) && s.Index != nil {
		if err := s.Index(ctx); err != nil {
			return err
		}
	}
	saved := s.Now()
	for {
		done, err := s.step(ctx)
		if err != nil {
			return err
		}
		st := s.State()
		if done {
			s.end(st)
			return nil
		}
		if st.Paused || ctx.Err() != nil {
			return ctx.Err()
		}
		if s.Now().Sub(saved) >= scrubSave {
			s.save()
			saved = s.Now()
		}
	}
}

func (s *Scrubber) end(st ScrubState) {
	s.mu.Lock()
	s.state.Running, s.state.Fast, s.state.At = false, false, meta.Place{}
	s.state.Ended = s.Now()
	s.state.Passes++
	s.mu.Unlock()
	s.save()
	s.Log.Info("scrub: done", "extents", st.Extents, "bytes", st.Looked, "bad", st.Found, "took", s.Now().Sub(st.Began).Round(time.Second))
}

// step looks at what one view shows next.
func (s *Scrubber) step(ctx context.Context) (done bool, err error) {
	v, err := s.Latest(ctx)
	if err != nil {
		return false, err
	}
	list, next, done, err := v.Replicas(s.Self, s.State().At, scrubView)
	v.Close()
	if err != nil {
		return false, err
	}
	// A fragmented map comes back to an extent again and again: it is read once a view, and that is what it costs.
	looked := map[blockstore.ID]blockstore.Condition{}
	for _, k := range list {
		id := k.Extent.Span.Extent
		c, known := looked[id]
		cost := int64(0)
		if !known {
			if c, err = s.Store.Examine(ctx, id); err != nil {
				return false, err
			}
			looked[id], cost = c, int64(c.Blocks)*blockstore.Size
		}
		bad := len(lacks([]meta.Kept{k}, c)) > 0
		if bad {
			s.Suspect(id, k.Ino) // who looks again, at a newer state: it may have been freed since
		}
		s.mu.Lock()
		s.state.Extents++
		s.state.Looked += k.Extent.Span.Bytes()
		if bad {
			s.state.Found++
			s.state.Ever++
		}
		s.state.At = meta.Place{Ino: k.Ino, End: k.Extent.End()}
		st := s.state
		s.mu.Unlock()
		if st.Paused {
			return false, nil
		}
		if !known {
			s.pace(ctx, st, cost)
		}
		if ctx.Err() != nil {
			return false, ctx.Err()
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.state.At = next
	return done, nil
}

// pace waits as long as n bytes may take. Fast, it does so once a mebibyte or so.
func (s *Scrubber) pace(ctx context.Context, st ScrubState, n int64) {
	wait := time.Duration(float64(n) / float64(st.Rate()) * float64(time.Second))
	if st.Fast && wait < time.Second/64 && st.Looked/(1<<20) == max(0, st.Looked-n)/(1<<20) {
		return
	}
	s.wait(ctx, max(wait, time.Second/64))
}
