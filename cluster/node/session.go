package node

import (
	"context"
	"errors"
	"slices"
	"sync/atomic"
	"time"

	"dfs/cluster/fault"
	"dfs/cluster/state"
)

const (
	sessionPoll = 20 * time.Millisecond
	openWithin  = 5 * time.Second // then the chores go on; the session is opened all the same, as soon as may be
	openAgain   = 30 * time.Second
)

// incarnation is the session this daemon proposes in. Usually it lasts as long as the process. Where nobody has heard of the
// process for sessionExpiry (it was frozen, its machine suspended or cut off), the others end it: what it held is free then, and
// what it had proposed is refused. When it learns of that it begins another, and goes on: its mount, and what its programs
// have open, stay.
type incarnation struct {
	id    atomic.Uint64
	skips atomic.Uint64 // snapshots installed: what was in the log before is not known

	// Of the chores.
	number uint64    // orders the incarnations of this peer
	asked  time.Time // when the newest was begun; zero: it is open
}

// wait returns when the present session is open.
func (i *incarnation) wait(ctx context.Context, s *store) error {
	tick := time.NewTicker(sessionPoll)
	defer tick.Stop()
	for {
		err := s.facts(func(v state.View) error {
			_, err := v.Session(i.id.Load())
			return err
		})
		if !errors.Is(err, fault.NotExist) {
			return err
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return fault.Because("wait for a session", fault.Timeout, ctx.Err())
		}
	}
}

// keepSession begins another session when this one has ended. An error says that another process is this peer by now.
func (n *Node) keepSession(ctx context.Context) error {
	if !n.started.Load() {
		return nil
	}
	i := &n.session
	all, err := n.sessions(ctx)
	if err != nil {
		if !errors.Is(err, errFetching) {
			n.log.Error("sessions cannot be read", "err", err)
		}
		return nil
	}
	if slices.ContainsFunc(all, func(s state.Session) bool { return s.ID == i.id.Load() }) {
		i.asked = time.Time{}
		if n.alone != nil && !n.alone.Begun(i.id.Load()) {
			if err := n.beginJournal(ctx); err != nil {
				n.log.Warn("the journal is not known to the others yet", "err", err)
			}
		}
		return nil
	}
	if slices.ContainsFunc(all, func(s state.Session) bool { return s.Peer == n.id.ID() && s.Incarnation > i.number }) {
		return fault.New("session", fault.Refused, "another process is this peer by now: was its data directory copied?")
	}
	if _, member := n.roster.member(n.id.ID()); !member || time.Since(i.asked) < openAgain {
		return nil
	}
	n.log.Warn("this peer was away for so long that its session was ended; another begins")
	id := randomSession()
	i.number, i.asked = max(i.number+1, uint64(time.Now().UnixNano())), time.Now()
	i.id.Store(id)
	n.keeper.Renew(id)
	n.driver.Renew(id)
	if n.fs != nil {
		n.fs.Renew(id)
		n.alone.Renew(id)
	}
	ctx, cancel := context.WithTimeout(ctx, openWithin)
	defer cancel()
	raw, err := n.group.Renew(ctx, id, state.Encode(state.OpenSession{Peer: n.id.ID(), Incarnation: i.number}))
	if err == nil {
		_, err = state.DecodeResult(raw)
	}
	if err == nil && n.alone != nil {
		err = n.beginJournal(ctx)
	}
	if err != nil {
		n.log.Warn("the session is not open yet", "err", err)
	}
	return nil
}
