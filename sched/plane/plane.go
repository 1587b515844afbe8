// Package plane is the control plane's state: the second machine behind the log, beside the file system's.
//
// Sessions, a shared memory of keys and values, message queues, semaphores, a bank of resources and simulated memories
// live in the replicated map under their own tag, and change by ops of this package alone. So every client sees one
// order, any peer may die, and nothing is lost. Which algorithm decides is a matter of osmodel: this package stores what
// those models need, asks them, and stores what they answer. It lies in sched, because cluster knows no models.
//
// Part is pure: the same ops make the same records, byte for byte. It knows no clock. What ends by itself (a session
// that is not renewed, a message that is not acknowledged) has an alarm: a duration and a stamp that each renewal
// changes. Each peer measures, by its own monotonic clock, how long it has known a stamp; the leader proposes Ring for
// what is over, and a Ring with an old stamp does nothing. After a change of leaders, or a restart, an alarm may be late;
// it is never early. Safety never rests on time: a grant bears a token, which only grows, and whoever may have slept shows it
// (Fence, Signal, Settle).
//
// A panic in an op is a bug of this package. Then nothing of that op is kept, the plane's state is marked as stopped, on all
// peers alike, and every later op is refused until somebody says Resume. The rest of the log goes on.
//
// Everything is bounded, and what is beyond a bound is refused with fault.Quota or fault.TooBig: limits.go.
package plane

import (
	"errors"
	"log/slog"

	"dfs/cluster/fault"
	"dfs/cluster/state"
)

// Part is the machine: a state.Part under state.TagPlane. Its changes are of type *Change.
type Part struct {
	Log *slog.Logger // hears of panics; nil discards
}

var _ state.Part = Part{}

// Change is what an op did, for those who wait.
type Change struct {
	Topics   []string // what changed: see the Topic functions
	Armed    []Alarm
	Disarmed []uint64 // ids of alarms
}

// Topics of changes.
const (
	TopicKeys  = "k"
	TopicBank  = "b"
	TopicPlane = "p" // stopped, or resumed
)

// TopicSemaphore is the topic of one semaphore.
func TopicSemaphore(name string) string { return "s" + name }

// TopicQueue is the topic of one queue: it has something to receive, or ends.
func TopicQueue(name string) string { return "q" + name }

// Apply implements state.Part.
func (p Part) Apply(tx state.Tx, c state.Context, body []byte) ([]byte, any, error) {
	op, err := decodeOp(body)
	if err != nil {
		return nil, nil, err
	}
	if _, ok := op.(*Resume); !ok {
		if why, stopped, err := stoppedWhy(tx); err != nil || stopped {
			return nil, nil, errors.Join(err, stoppedError(why))
		}
	}
	m := &machine{c: c}
	var res Result
	err = state.Try(tx, func(tx state.Tx) (err error) {
		m.tx = tx
		if res, err = op.apply(m); err == nil {
			m.finish()
			err = m.err
		}
		return err
	})
	var bug *state.Panic
	if errors.As(err, &bug) {
		return p.stop(tx, op, bug)
	}
	if err != nil {
		return nil, nil, err
	}
	res.Index = c.Index
	answer := encode(&res)
	if len(answer) > answerMax {
		return nil, nil, fault.New("plane", fault.TooBig, "the answer is of more than %d bytes: ask for less at once", answerMax)
	}
	return answer, m.ch.orNil(), nil
}

// Event implements state.Part. Sessions of clients are not those of daemons: they outlive a daemon that is started again.
func (Part) Event(state.Tx, state.Context, state.Event) (any, error) { return nil, nil }

func (c *Change) orNil() any {
	if len(c.Topics)+len(c.Armed)+len(c.Disarmed) == 0 {
		return nil
	}
	return c
}

const (
	whyMax    = 512
	answerMax = 60 << 10 // the log keeps it as one value
)

// stop marks the plane as stopped. The answer says so, and is no error to the log, which would drop the mark.
func (p Part) stop(tx state.Tx, op Op, bug *state.Panic) ([]byte, any, error) {
	why := nameOf(op) + ": " + bug.Error()
	why = why[:min(len(why), whyMax)]
	if p.Log != nil {
		p.Log.Error("the control plane's state has stopped: a bug", "why", why, "stack", string(bug.Stack))
	}
	if err := tx.Set(stoppedKey, []byte(why)); err != nil {
		return nil, nil, err
	}
	return encode(&Result{Stopped: why}), &Change{Topics: []string{TopicPlane}}, nil
}

func stoppedWhy(tx reader) (string, bool, error) {
	b, ok, err := tx.Get(stoppedKey)
	return string(b), ok, err
}

func stoppedError(why string) error {
	err := fault.New("plane", fault.Closed, "its state has stopped after a bug (%s)", why)
	return fault.Advise(err, "report the bug, install what mends it, then dfsctl plane resume")
}

// Resume lets the plane go on after a panic.
type Resume struct{}

func (*Resume) fields(*fields) {}
func (*Resume) check() error   { return nil }
func (*Resume) apply(m *machine) (Result, error) {
	m.delete(stoppedKey)
	m.topic(TopicPlane)
	return Result{}, nil
}
