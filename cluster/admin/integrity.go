package admin

import (
	"context"
	"time"
)

// Integrity is what a Node is asked about rot and loss.
type Integrity interface {
	// Scrub does verb ("start", "pause" or "status") on every member that can be reached, and says how far each is.
	Scrub(ctx context.Context, verb string) (Scrub, error)

	// Fsck asks the stores for every block of every file below path, and names what no store has. With quick they are
	// not asked to read the blocks. fault.NotExist.
	Fsck(ctx context.Context, path string, quick bool) (Fsck, error)

	// Events returns what has happened on this peer after a number, oldest first; the newest thousand are kept.
	Events(ctx context.Context, after uint64) (Events, error)
}

// What a scrub can be told.
const (
	ScrubStart  = "start"
	ScrubPause  = "pause"
	ScrubStatus = "status"
)

// Scrub is how far the members are with verifying what they hold.
type Scrub struct {
	Schema int         `json:"schema"`
	Peers  []ScrubPeer `json:"peers"`
}

// ScrubPeer is one of them.
type ScrubPeer struct {
	Peer    string    `json:"peer"`
	Name    string    `json:"name"`
	State   string    `json:"state"` // running, paused, idle or unreachable
	Fast    bool      `json:"fast"`  // asked for, not by itself
	Looked  int64     `json:"looked_bytes"`
	Total   int64     `json:"total_bytes"`
	Rate    int64     `json:"rate_bytes"` // a second
	ETA     int64     `json:"eta_seconds"`
	Extents uint64    `json:"extents"`
	Found   uint64    `json:"found"` // bad replicas, in this pass
	Passes  uint64    `json:"passes"`
	Began   time.Time `json:"began,omitzero"`
	Ended   time.Time `json:"ended,omitzero"` // of the last whole pass
	Health
}

// Health counts replicas since the daemon started, and those that are bad now.
type Health struct {
	Rotten  uint64 `json:"rotten"`  // found with wrong bytes
	Missing uint64 `json:"missing"` // found not to be there
	Healed  uint64 `json:"healed"`
	Retired uint64 `json:"retired"` // made elsewhere
	Waiting int    `json:"waiting"` // found and not yet healed
	Damaged int    `json:"damaged"` // of those: no good replica is left of some block
	Pending int    `json:"pending"` // under suspicion, not damaged
}

// Fsck is what a walk over the files has found.
type Fsck struct {
	Schema  int           `json:"schema"`
	Path    string        `json:"path"`
	Files   uint64        `json:"files"`
	Extents uint64        `json:"extents"`
	Bytes   int64         `json:"bytes"`
	Bad     uint64        `json:"bad_replicas"` // found on the way; their peers heal them
	Damaged []DamagedFile `json:"damaged"`
	More    bool          `json:"more"` // than DamagedMax
}

// DamagedMax is how many files a Fsck names.
const DamagedMax = 10_000

// DamagedFile is a file some blocks of which cannot be read.
type DamagedFile struct {
	Path   string         `json:"path"`
	Name   []byte         `json:"path_bytes,omitempty"` // the path itself where it is no UTF-8
	Ino    uint64         `json:"ino"`
	Ranges []DamagedRange `json:"ranges"`
}

// DamagedRange is some of them. State is damaged (no good replica is left: overwriting heals) or unreachable (a peer that may
// have one does not answer).
type DamagedRange struct {
	Offset int64  `json:"offset"`
	Bytes  int64  `json:"bytes"`
	State  string `json:"state"`
}

// Events is what happened on a peer.
type Events struct {
	Schema int     `json:"schema"`
	Next   uint64  `json:"next"` // to ask after
	Events []Event `json:"events"`
}

// Event is one of them.
type Event struct {
	Seq  uint64            `json:"seq"`
	Time time.Time         `json:"time"`
	Kind string            `json:"kind"` // "replica rotten", "log damaged", ...
	Text string            `json:"text"`
	With map[string]string `json:"with,omitempty"`
}

func (c *Client) Scrub(ctx context.Context, verb string) (s Scrub, err error) {
	return s, c.ask(ctx, "scrub", question{Text: verb}, &s)
}

func (c *Client) Fsck(ctx context.Context, path string, quick bool) (f Fsck, err error) {
	return f, c.ask(ctx, "fsck", question{Path: Path(path), Quick: quick}, &f)
}

func (c *Client) Events(ctx context.Context, after uint64) (e Events, err error) {
	return e, c.ask(ctx, "events", question{After: after}, &e)
}
