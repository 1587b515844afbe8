package lease

import "time"

// State is where a holder stands.
type State uint8

const (
	Joining State = iota // nothing is cached; waiting for the first grant of this epoch
	Held                 // may answer until Until
	Lost                 // the lease ran out or was refused: drop every cache, then Rejoin
)

func (s State) String() string { return [...]string{"joining", "held", "lost"}[s] }

// Holder is one peer's end of its lease. A peer without a mount has one too: it only reports.
// Not safe for concurrent use.
type Holder struct {
	mounted  bool
	state    State
	epoch    uint64
	seq      uint64
	sent     map[uint64]time.Duration // renewals in flight; bounded: those older than Length are dropped
	until    time.Duration
	seen     Seen
	lostEnd  time.Duration // when the lease that was lost would have ended: until then the kernel may answer from its caches
	kept     Seen          // what was seen when the lease was lost: the kernel may know old answers until its caches are dropped
	note     []byte
	released Seen
	early    uint64 // what the leader was told early

	lastRenewal, lastReport time.Duration
	dirty                   bool // something to tell before the next renewal
}

// NewHolder returns a Joining holder. Epochs count from firstEpoch, which must be above every one this peer used
// before (a wall clock reading in nanoseconds will do).
func NewHolder(mounted bool, firstEpoch uint64) *Holder {
	h := &Holder{mounted: mounted, epoch: firstEpoch, sent: map[uint64]time.Duration{}}
	h.lastRenewal = -Length
	return h
}

// Took records what the kernel has taken in. A note that is not nil replaces the last one; it travels once, with the next
// report.
func (h *Holder) Took(seen Seen, note []byte) {
	h.seen = seen
	if len(seen.Except) > 0 || seen.Prefix > h.early {
		h.dirty = true // else the leader knows; Resend is for the case that it does not
	}
	if note != nil {
		h.note = note
	}
}

// LeaderChanged makes the next Report due at once: a new leader waits to hear from everyone.
func (h *Holder) LeaderChanged() { h.lastRenewal, h.dirty, h.early = -Length, true, 0 }

// Early returns the word that everything up to an entry is taken in already, or false where it would mean nothing. The
// leader it goes to must be the one whose entry it is.
func (h *Holder) Early(now time.Duration, index, term uint64) (Early, bool) {
	if h.check(now); h.state != Held {
		return Early{}, false
	}
	h.early = max(h.early, index)
	return Early{Epoch: h.epoch, Index: index, Term: term}, true
}

// Report returns the report that is due now, if any. The caller sends it to the leader it knows; if it knows none it
// must not call Report.
func (h *Holder) Report(now time.Duration) (Report, bool) {
	h.check(now)
	renew := now-h.lastRenewal >= Renew
	again := h.seen.Prefix > h.released.Prefix && now-h.lastReport >= Resend
	news := h.note != nil || h.mounted && (again || h.dirty) // nobody waits for what a peer without a mount has seen
	if !renew && !news {
		return Report{}, false
	}
	h.lastReport, h.dirty = now, false
	r := Report{Seen: h.seen, Note: h.note}
	h.note = nil
	if !h.mounted {
		if renew {
			h.lastRenewal = now
		}
		return r, true
	}
	r.Epoch, r.Holding = h.epoch, h.state == Held
	if h.state == Lost {
		r.Holding, r.Seen = now < h.lostEnd, h.kept
	}
	if renew && h.state != Lost {
		h.seq++
		h.lastRenewal = now
		r.Seq = h.seq
		h.sent[h.seq] = now
		for seq, at := range h.sent {
			if now-at > Length {
				delete(h.sent, seq)
			}
		}
	}
	return r, true
}

// Granted takes the leader's answer to a renewal.
func (h *Holder) Granted(now time.Duration, g Grant) {
	h.Release(Release{g.Released})
	if g.Epoch != h.epoch || h.state == Lost {
		return
	}
	if g.Refused {
		h.lose()
		return
	}
	at, ok := h.sent[g.Seq]
	if !ok {
		return
	}
	delete(h.sent, g.Seq)
	if until := at + Length; until > max(h.until, now) {
		h.until = until
	}
	h.check(now)
	if h.state == Joining && h.until > now {
		h.state = Held
	}
}

// Release takes the leader's word on what is released. Words may come late, and from leaders of the past: what was
// released stays so.
func (h *Holder) Release(r Release) { h.released = h.released.union(r.Released) }

// Released returns what is known to be released.
func (h *Holder) Released() Seen { return h.released }

// Installed says that the state was replaced by a snapshot of index: the lease, if there was one, is lost.
func (h *Holder) Installed(index uint64) {
	if h.state == Held || h.state == Joining && h.mounted {
		h.lose()
	}
	h.seen = NewSeen(index, nil)
}

// State returns where the holder stands at now. Held becomes Lost when the lease runs out.
func (h *Holder) State(now time.Duration) State {
	h.check(now)
	return h.state
}

// Until returns the end of the lease; it is meaningful while Held.
func (h *Holder) Until() time.Duration { return h.until }

// Rejoin begins a new epoch after Lost, once every cache has been dropped.
func (h *Holder) Rejoin() {
	if h.state != Lost {
		return
	}
	h.epoch++
	h.state, h.until = Joining, 0
	clear(h.sent)
	h.LeaderChanged()
}

// Resign gives the lease up: nothing is answered from now on. For a clean stop.
func (h *Holder) Resign() {
	h.mounted = false
	h.state, h.until = Joining, 0
	h.LeaderChanged()
}

func (h *Holder) check(now time.Duration) {
	if h.state == Held && now >= h.until {
		h.lose()
	}
}

func (h *Holder) lose() {
	h.lostEnd, h.kept = h.until, h.seen
	h.state, h.until = Lost, 0
	clear(h.sent)
}
