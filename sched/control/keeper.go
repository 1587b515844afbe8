package control

import (
	"context"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"dfs/sched/plane"
	"dfs/sched/plane/link"
)

const (
	keepTTL    = 15 * time.Second // of a session that is kept: it outlives this process, or its machine, by so much
	renewEvery = keepTTL / 5
	lookEvery  = 500 * time.Millisecond // whether processes live
	renewMax   = 500                    // sessions in one op
)

// Hold says how long what is acquired is kept: while a process of this machine lives, or for a time.
type Hold struct {
	PID   int           `json:"pid,omitempty"`
	TTL   time.Duration `json:"ttl_ns,omitempty"`
	Owner string        `json:"owner,omitempty"` // the process in the wait-for graph; default: this machine's name and PID
}

// keeper renews the sessions of living processes.
type keeper struct {
	log    link.Log
	logger *slog.Logger

	mu   sync.Mutex
	kept map[string]uint64 // session of each process and owner: by its home
}

func newKeeper(log link.Log, logger *slog.Logger) *keeper {
	return &keeper{log: log, logger: logger, kept: map[string]uint64{}}
}

// processName is how a process of a machine is called where it has no name of its own.
func processName(peer string, pid int) string { return fmt.Sprintf("%s/%d", peer, pid) }

// home names a process of this machine, one start of it, and the owner it acts as. It is in the state, so that a keeper that is
// started again knows whom to look after.
func home(peer string, pid int, owner string) string {
	return fmt.Sprintf("%s %d %s %s", peer, pid, started(pid), owner)
}

// livesIn reports whether a home is this peer's, and whether its process lives.
func livesIn(home, peer string) (mine, alive bool) {
	rest, mine := strings.CutPrefix(home, peer+" ")
	if !mine {
		return false, false
	}
	var pid int
	var start string
	if n, _ := fmt.Sscan(rest, &pid, &start); n < 2 {
		return false, false
	}
	return true, started(pid) == start
}

// session returns a session for h: the one there is for the process, or another. kept says that it ends by itself.
func (k *keeper) session(ctx context.Context, h Hold) (id uint64, kept bool, err error) {
	peer := k.log.Self()
	if h.PID == 0 {
		ttl := h.TTL
		if ttl == 0 {
			ttl = keepTTL
		}
		res, err := k.log.Propose(ctx, &plane.Open{TTL: int64(ttl), Owner: h.Owner})
		return res.ID, false, err
	}
	owner := h.Owner
	if owner == "" {
		owner = processName(peer, h.PID)
	}
	home := home(peer, h.PID, owner)
	k.mu.Lock()
	id, ok := k.kept[home]
	k.mu.Unlock()
	if ok {
		if _, _, err := k.log.Ask(ctx, plane.Ask{What: plane.AskSession, Number: id}, true); err == nil {
			return id, true, nil
		}
	}
	res, err := k.log.Propose(ctx, &plane.Open{TTL: int64(keepTTL), Owner: owner, Home: home})
	if err != nil {
		return 0, false, err
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	k.kept[home] = res.ID
	return res.ID, true, nil
}

// run renews and closes until ctx ends.
func (k *keeper) run(ctx context.Context) {
	look, renew := time.NewTicker(lookEvery), time.NewTicker(renewEvery)
	defer look.Stop()
	defer renew.Stop()
	adopted := false
	for {
		if !adopted {
			adopted = k.adopt(ctx)
		}
		select {
		case <-ctx.Done():
			return
		case <-look.C:
			k.bury(ctx)
		case <-renew.C:
			k.renew(ctx)
		}
	}
}

// adopt takes over the sessions that an earlier keeper of this machine kept, and reports whether it could.
func (k *keeper) adopt(ctx context.Context) bool {
	peer := k.log.Self()
	if peer == "" {
		return false
	}
	r, _, err := k.log.Ask(ctx, plane.Ask{What: plane.AskSessions}, true)
	if err != nil {
		return false
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	for _, s := range r.Sessions {
		if _, known := k.kept[s.Home]; known || s.Home == "" {
			continue
		}
		if mine, _ := livesIn(s.Home, peer); mine {
			k.kept[s.Home] = s.ID
		}
	}
	return true
}

// bury closes the sessions of processes that have ended.
func (k *keeper) bury(ctx context.Context) {
	peer := k.log.Self()
	k.mu.Lock()
	kept := maps.Clone(k.kept)
	k.mu.Unlock()
	for home, id := range kept {
		if _, alive := livesIn(home, peer); alive {
			continue
		}
		bound, cancel := context.WithTimeout(ctx, endWithin)
		_, err := k.log.Propose(bound, &plane.Close{Session: id})
		cancel()
		if err != nil {
			k.logger.Warn("a session is left to expire", "session", id, "err", err)
		}
		k.mu.Lock()
		delete(k.kept, home)
		k.mu.Unlock()
	}
}

// renew says of all that they live.
func (k *keeper) renew(ctx context.Context) {
	k.mu.Lock()
	ids := slices.Sorted(maps.Values(k.kept))
	k.mu.Unlock()
	for chunk := range slices.Chunk(ids, renewMax) {
		bound, cancel := context.WithTimeout(ctx, renewEvery)
		res, err := k.log.Propose(bound, &plane.Renew{Sessions: chunk})
		cancel()
		if err != nil {
			k.logger.Warn("sessions are not renewed", "sessions", len(chunk), "err", err)
			continue
		}
		k.mu.Lock()
		maps.DeleteFunc(k.kept, func(_ string, id uint64) bool { return slices.Contains(res.Gone, id) })
		k.mu.Unlock()
	}
}
