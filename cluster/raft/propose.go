package raft

import (
	"slices"
	"time"

	"dfs/cluster/fault"
)

// Propose begins to bring body into the log, and returns the number by which its outcome will be told. It is sent
// again until it is applied here, however long that takes. Wall is the clock's time, UTC nanoseconds.
// fault.TooBig; fault.Busy when WindowMax proposals are under way.
func (c *Core) Propose(now time.Duration, wall int64, body []byte) (seq uint64, err error) {
	c.now = now
	if len(body) > BodyMax {
		return 0, fault.New("propose", fault.TooBig, "%d bytes", len(body))
	}
	if len(c.window) >= WindowMax {
		return 0, fault.New("propose", fault.Busy, "%d proposals under way", len(c.window))
	}
	c.seq++
	p := &pending{
		p:    Proposal{Session: c.o.Session, Seq: c.seq, Time: wall, Body: body},
		next: now, retry: retryFirst,
	}
	c.window = append(c.window, p)
	return c.seq, nil
}

// Renew begins another session: the one before has ended, and whatever it proposed that is not applied by now never will be.
// Session was never used before. Its first proposal must open it.
func (c *Core) Renew(now time.Duration, session uint64) {
	c.now = now
	for _, p := range c.window {
		c.out.Applied = append(c.out.Applied, Outcome{Seq: p.p.Seq, Ended: true})
	}
	c.window, c.o.Session = nil, session
}

// Withdraw stops sending a proposal that nobody waits for any more, and reports whether it was still under way. What was
// sent already may still happen.
func (c *Core) Withdraw(seq uint64) bool {
	n, ok := c.find(seq)
	if ok {
		c.window = slices.Delete(c.window, n, n+1)
	}
	return ok
}

// retry sends the proposals that are due to the leader.
func (c *Core) retry() {
	if c.leader.IsZero() {
		return
	}
	var due []Proposal
	sum := 0
	flush := func() {
		if len(due) == 0 {
			return
		}
		if c.leading {
			c.enqueue(due)
		} else {
			c.out.Send = append(c.out.Send, Letter{c.leader, &forward{due}})
		}
		due, sum = nil, 0
	}
	for _, p := range c.window {
		if p.next > c.now {
			continue
		}
		p.next = c.now + p.retry
		p.retry = min(2*p.retry, retryMost)
		p.p.Low = c.window[0].p.Seq
		if len(due) == batchMax || sum+len(p.p.Body) > batchSum {
			flush()
		}
		due = append(due, p.p)
		sum += len(p.p.Body) + 64
	}
	flush()
}

// enqueue takes proposals in at the leader. Those that are in the log already, and not yet applied, would only be
// there twice.
func (c *Core) enqueue(ps []Proposal) {
	if !c.leading {
		return
	}
	for _, p := range ps {
		key := proposalKey{p.Session, p.Seq}
		if _, known := c.inLog[key]; known || len(c.queue) >= queueMax {
			continue
		}
		c.inLog[key] = struct{}{}
		c.queue = append(c.queue, p)
	}
}

// flushQueue makes entries of what waits: at once when nothing is being written, else when an entry is full. While a
// sync runs the next entry gathers, as it could not be written earlier anyway.
func (c *Core) flushQueue() {
	c.retry()
	if !c.leading || c.behind {
		return
	}
	for len(c.queue) > 0 {
		n, sum := 0, 0
		for n < len(c.queue) && n < batchMax {
			size := len(c.queue[n].Body) + 64
			if n > 0 && sum+size > batchSum {
				break
			}
			sum += size
			n++
		}
		full := n == batchMax || n < len(c.queue)
		if len(c.writing) > 0 && !full {
			return
		}
		if err := c.node.Propose(appendProposals(make([]byte, 0, sum), c.queue[:n])); err != nil {
			c.behind = true // a transfer is under way, or too much is not committed yet
			return
		}
		c.queue = c.queue[n:]
	}
	c.queue = nil
}
