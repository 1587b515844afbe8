package raft_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"dfs/cluster"
	"dfs/cluster/fault"
	"dfs/cluster/raft"
	"dfs/cluster/raft/wal"
)

// lose throws a stopped replica's log away and starts it as one that knows that it did.
func (c *peers) lose(r *replica) {
	c.Helper()
	if err := wal.Discard(r.disk); err != nil {
		c.Fatal(err)
	}
	r.o.Lost = true
	r.o.Members = func() (ids []cluster.PeerID) {
		for _, p := range c.all {
			ids = append(ids, p.id)
		}
		return ids
	}
	r.o.Readmit = func(ctx context.Context) (raft.Admission, error) { return c.readmit(ctx, r) }
	r.o.Readmitted = func() error { r.o.Lost = false; return nil }
	r.start()
}

// readmit is the leader's part: out of the configuration first, and then in again to learn.
func (c *peers) readmit(ctx context.Context, who *replica) (raft.Admission, error) {
	for _, l := range c.all {
		st := l.Status()
		if l == who || !st.Leading {
			continue
		}
		out := func(ids []cluster.PeerID) []cluster.PeerID {
			return slices.DeleteFunc(slices.Clone(ids), func(id cluster.PeerID) bool { return id == who.id })
		}
		if err := l.SetMembers(ctx, out(st.Voters), out(st.Learners)); err != nil {
			return raft.Admission{}, err
		}
		at := l.Status()
		if !at.Leading || slices.Contains(at.Voters, who.id) {
			return raft.Admission{}, fault.New("readmit", fault.NotLeader, "")
		}
		return raft.Admission{Index: at.Applied, Term: at.Term, Leader: l.id}, l.SetMembers(ctx, at.Voters, append(at.Learners, who.id))
	}
	return raft.Admission{}, fault.New("readmit", fault.NotLeader, "")
}

// A voter that lost its log says nothing until the leader has admitted it again: alone with one that lacks what both had
// acknowledged it elects nobody. Then it learns, and votes again.
func TestALostLog(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		c := newPeers(t, 3)
		c.members(3)
		a, b, behind := c.all[0], c.all[1], c.all[2]
		c.agree()
		for a.Status().Leader != a.id {
			_ = c.leader().Transfer(t.Context(), a.id)
			time.Sleep(time.Second)
		}
		a.mustPropose("before")
		c.agree()
		time.Sleep(time.Second) // and all know that it is committed
		behind.kill(nil)
		a.mustPropose("acknowledged by two") // a and b
		b.stop()
		a.kill(nil)
		c.lose(b)
		behind.start()
		time.Sleep(time.Minute)
		for _, r := range []*replica{b, behind} {
			if st := r.Status(); st.Leading || !st.Leader.IsZero() {
				t.Fatalf("%s has a leader: what was acknowledged is lost: %v", r.id.Short(), st)
			}
		}
		a.start()
		behind.mustPropose("goes on")
		if ops := c.agree(); !slices.Equal(ops, []string{"before", "acknowledged by two", "goes on"}) {
			t.Fatal(ops)
		}
		if b.o.Lost {
			t.Fatal("it was not admitted again")
		}
		c.members(3)
		a.kill(nil)
		b.mustPropose("it votes again")
		a.start()
		if ops := c.agree(); len(ops) != 4 {
			t.Fatal(ops)
		}
	})
}

// Logs are lost in turn, under load, the leader's too, and everything acknowledged stays.
func TestLostLogsUnderLoad(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		c := newPeers(t, 3)
		c.members(3)
		for round := range 6 {
			victim := c.all[round%3]
			if round%2 == 0 {
				victim = c.leader()
			}
			others := slices.DeleteFunc(slices.Clone(c.all), func(r *replica) bool { return r == victim })
			done := make(chan error, 2)
			for _, r := range others {
				go func() {
					for i := range 20 {
						if err := r.propose(fmt.Sprintf("%d of round %d by %s", i, round, r.id.Short())); err != nil {
							done <- err
							return
						}
					}
					done <- nil
				}()
			}
			victim.kill(nil)
			c.lose(victim)
			for range others {
				if err := <-done; err != nil {
					t.Fatal(err)
				}
			}
			if ops := c.agree(); len(ops) != (round+1)*40 {
				t.Fatalf("round %d: %d ops", round, len(ops))
			}
			c.members(3)
		}
	})
}

// A log that ends before the state does has lost something, however sound the rest is.
func TestALogThatIsTooShort(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		c := newPeers(t, 1)
		c.all[0].mustPropose("op")
		c.all[0].stop()
		if err := wal.Discard(c.all[0].disk); err != nil {
			t.Fatal(err)
		}
		c.all[0].o.Bootstrap = false
		if err := c.all[0].tryStart(); !errors.Is(err, fault.Corrupt) {
			t.Fatal(err)
		}
		c.all[0].o.Bootstrap = true
		c.all[0].machine = newJournal()
		c.all[0].start()
	})
}
