// Package link is the way from the sidecar to the plane's state, which lives in the daemon behind the log.
//
// A Log proposes ops, answers questions and tells what has changed. The daemon has one (cluster/node) and Serves it on a
// unix socket in its data directory, DATA/machine.sock, mode 0600; the sidecar Dials that. What crosses it is the encoding
// of package plane over HTTP, one request each; the news are one long answer, a line an item. A Log that is asked to follow tells
// once that everything may have changed, whenever it cannot know what has: so nobody who waits has to ask again and again.
package link

import (
	"context"
	"time"

	"dfs/sched/plane"
)

// SocketName is the socket's name in the data directory.
const SocketName = "machine.sock"

// Log is the plane's state as its clients use it. Safe for concurrent use.
type Log interface {
	// Propose carries op through the log and returns when it is applied here. fault.Timeout and fault.Unreachable: it may
	// have happened, or may still. Other errors are the op's own, or nothing happened.
	Propose(ctx context.Context, op plane.Op) (plane.Result, error)

	// Ask answers from the state. Fresh answers miss nothing that had happened before Ask was called; they need a quorum.
	// Others come from this peer at once and say how old they are at most.
	Ask(ctx context.Context, a plane.Ask, fresh bool) (plane.Reply, time.Duration, error)

	// Follow calls fn with the topics that have changed, in order, nil for all, and once with nil when it begins. It
	// returns when ctx ends or the way is broken: follow again.
	Follow(ctx context.Context, fn func(topics []string)) error

	// ProposeAt and AskAt are for one peer's own memory; peer is a name or an id, "" the peer itself.
	ProposeAt(ctx context.Context, peer string, op *plane.Commit) (plane.Result, error)
	AskAt(ctx context.Context, peer string, a plane.Ask) (plane.Reply, error)

	// Self returns the peer's name.
	Self() string
}
