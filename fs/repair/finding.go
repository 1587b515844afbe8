package repair

import (
	"context"
	"log/slog"

	"dfs/blockstore"
	"dfs/blockstore/runs"
	"dfs/fs/meta"
)

// Finding is what became of one replica.
type Finding struct {
	State  FindingState
	Ino    meta.Ino
	Extent blockstore.ID
	Off    int64  // of the first bad block in the file
	Blocks uint32 // that are bad, or were
}

// FindingState is a step in a bad replica's life.
type FindingState string

const (
	Rotten  FindingState = "rotten"  // found: bytes or sums are wrong
	Missing FindingState = "missing" // found: not there
	Healed  FindingState = "healed"  // whole again
	Retired FindingState = "retired" // this store takes no bytes: the replica is made elsewhere
	Damaged FindingState = "damaged" // no good replica is left of some blocks, here or elsewhere
)

// Health is what a Healer has found and done since it began.
type Health struct {
	Rotten, Missing, Healed, Retired uint64 // replicas
	Waiting                          int    // found and not yet healed
	Damaged                          int    // of those, without a good replica anywhere
}

// report tells of a bad replica, once.
func (h *Healer) report(s *suspect, pieces []meta.Kept, bad runs.Set, c blockstore.Condition) {
	if s.found != "" {
		return
	}
	state := Missing
	if len(bad.And(c.Bad)) > 0 {
		state = Rotten
	}
	h.mu.Lock()
	s.found = state
	if state == Rotten {
		h.counts.Rotten++
	} else {
		h.counts.Missing++
	}
	h.mu.Unlock()
	h.tell(s, state, pieces, bad)
}

// despair notes that blocks are gone everywhere, and tells of it once.
func (h *Healer) despair(s *suspect, pieces []meta.Kept, gone runs.Set) {
	var list []Finding
	for _, k := range pieces {
		for _, r := range gone.And(blocksOf(k.Extent)) {
			list = append(list, Finding{State: Damaged, Ino: k.Ino, Extent: s.id, Blocks: r.End - r.First,
				Off: k.Extent.Off + int64(r.First-k.Extent.Span.First)*blockstore.Size})
		}
	}
	h.mu.Lock()
	first := len(s.damaged) == 0
	s.damaged = list
	h.mu.Unlock()
	if first {
		h.tell(s, Damaged, pieces, gone)
	}
}

func (h *Healer) tell(s *suspect, state FindingState, pieces []meta.Kept, bad runs.Set) {
	f := Finding{State: state, Ino: s.ino, Extent: s.id, Blocks: bad.Len()}
	for _, k := range pieces {
		if here := bad.And(blocksOf(k.Extent)); len(here) > 0 {
			f.Off = k.Extent.Off + int64(here[0].First-k.Extent.Span.First)*blockstore.Size
			break
		}
	}
	if h.Log != nil {
		level := slog.LevelWarn
		switch state {
		case Healed, Retired:
			level = slog.LevelInfo
		case Damaged:
			level = slog.LevelError
		}
		h.Log.Log(context.Background(), level, "replica: "+string(state), "ino", f.Ino, "extent", f.Extent, "offset", f.Off, "blocks", f.Blocks)
	}
	if h.Told != nil {
		h.Told(f)
	}
}
