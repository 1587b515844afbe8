// Package admin is how people and programs ask a peer about itself and its cluster: the control socket for the
// owner of the data directory, a small HTTP server for dashboards and metrics.
//
// The control socket is DATA/control.sock, mode 0600: who can open it may do everything. It speaks HTTP with JSON
// bodies, one POST a question; unknown fields and bodies over 64 KiB are refused. Client is the other end and has the
// methods of Node, so that a program cannot tell whether it speaks to a peer or through a socket.
//
// The HTTP server answers GET only: a page for people at /, Prometheus metrics at /metrics, and /health. It refuses
// names it was not asked to serve (DNS rebinding) and foreign origins; from beyond loopback it asks for a password.
package admin

import (
	"context"
	"time"
)

// Schema is the version of the JSON documents. Fields may be added under it, never renamed.
const Schema = 1

// Node is one peer, as this package serves it. Methods are called concurrently. Paths are absolute within the drive
// ("/docs/a.txt"). A Node fills no Schema and no Self.HTTP: the server does.
type Node interface {
	// Status is cheap and never waits for another peer: it is what this peer knows now.
	Status(ctx context.Context) (Status, error)

	// Where asks the peers' stores which blocks they really hold. fault.NotExist, fault.IsDir.
	Where(ctx context.Context, path string) (Where, error)
	Stat(ctx context.Context, path string) (FileStat, error)

	Layout(ctx context.Context, path string) (Layout, error)
	// SetLayout changes what text names ("copies=3,unit=64K") for a directory; the rest stays. fault.NotDir.
	SetLayout(ctx context.Context, path, text string) (Layout, error)

	CreateToken(ctx context.Context, ask TokenAsk) (Token, error)
	Tokens(ctx context.Context) ([]Token, error)
	RevokeToken(ctx context.Context, id string) error // a unique prefix of an id will do

	// Durable reports whether everything committed of the file (or everything below the directory) is synced on as
	// many peers as its layout asks for.
	Durable(ctx context.Context, path string) (bool, error)

	// Unmount flushes what is dirty and unmounts. The peer goes on serving the others. No mount is no error.
	Unmount(ctx context.Context) error

	// Leave ends this peer's membership. fault.Refused when that would lose data.
	Leave(ctx context.Context) error

	Membership
	Integrity
	Locking

	// Metrics returns the peer's figures at this moment.
	Metrics() []Metric
}

// Health of a cluster, as one peer sees it.
const (
	Healthy     = "healthy"     // every member alive, voters at their target, nothing below its copies
	Degraded    = "degraded"    // all data can be read and written, with less redundancy than asked for
	Unavailable = "unavailable" // no quorum, or no mount
)

// Status is what `dfsctl status` shows.
type Status struct {
	Schema       int           `json:"schema"`
	Cluster      ClusterStatus `json:"cluster"`
	Self         SelfStatus    `json:"self"`
	Peers        []PeerStatus  `json:"peers"`
	Repair       RepairStatus  `json:"repair"`
	PendingBytes int64         `json:"pending_bytes"` // dirty on this peer, not yet placed
}

// ClusterStatus is what all peers have in common.
type ClusterStatus struct {
	ID           string `json:"id"`
	Name         string `json:"name"`
	Health       string `json:"health"`
	Reason       string `json:"reason"` // of a health that is not healthy, for people
	Term         uint64 `json:"term"`
	Leader       string `json:"leader"` // peer id; empty when there is none
	Copies       int    `json:"copies"` // what the root's layout asks for at this number of peers
	Voters       int    `json:"voters"`
	VotersTarget int    `json:"voters_target"`
	Index        uint64 `json:"index"` // newest log index applied here
}

// SelfStatus is the peer that answers. Addresses are HOST:PORT, as really bound; empty when off.
type SelfStatus struct {
	ID     string `json:"id"`
	Name   string `json:"name"`
	Data   string `json:"data"`
	Mount  string `json:"mount"`
	HTTP   string `json:"http"`
	Listen string `json:"listen"`
	Plane  string `json:"plane"`
	Ready  bool   `json:"ready"` // this mount serves reads and writes (without a mount: this peer does)
	Reason string `json:"reason,omitempty"`
}

// PeerStatus is one member.
type PeerStatus struct {
	ID            string `json:"id"`
	Name          string `json:"name"`
	Addr          string `json:"addr"`
	Zone          string `json:"zone"`
	State         string `json:"state"`
	Voter         bool   `json:"voter"`
	StoredBytes   int64  `json:"stored_bytes"`
	CapacityBytes int64  `json:"capacity_bytes"`
	LatencyNS     int64  `json:"latency_ns"` // of an acknowledged block write, disk included; 0 unknown
	Trouble       string `json:"trouble"`    // what the peer says is wrong with it; "" nothing
}

// RepairStatus is what lies below its copies.
type RepairStatus struct {
	ExtentsBelowTarget uint64 `json:"extents_below_target"`
	BytesBelowTarget   int64  `json:"bytes_below_target"`
	Running            bool   `json:"running"`
	BadReplicas        int    `json:"bad_replicas"`     // rotten or missing on the peers' disks, found and not yet healed
	DamagedReplicas    int    `json:"damaged_replicas"` // of those: no good one is left of some block
	Here               Health `json:"here"`             // this peer's own
}

// Layout is what a directory or file asks for.
type Layout struct {
	Schema     int    `json:"schema,omitempty"`
	Copies     int    `json:"copies"` // 0 is auto
	UnitBlocks int    `json:"unit_blocks"`
	Policy     string `json:"policy"`
	Zones      int    `json:"zones"`
	Data       int    `json:"data"`
	Parity     int    `json:"parity"`
	Text       string `json:"text,omitempty"` // as `layout set` takes it
	Note       string `json:"note,omitempty"` // for people: what of it the peers of now cannot fulfil
}

// Where is what the stores hold of a file.
type Where struct {
	Schema  int      `json:"schema"`
	Path    string   `json:"path"`
	Name    []byte   `json:"path_bytes,omitempty"` // the path itself where it is no UTF-8
	Ino     uint64   `json:"ino"`
	Size    int64    `json:"size"`
	Layout  Layout   `json:"layout"`
	Extents []Extent `json:"extents"`
	Next    int64    `json:"next,omitempty"` // the list goes on there; 0 it is whole
}

// Extent is one piece of a file.
type Extent struct {
	Offset   int64     `json:"offset"`
	Blocks   int       `json:"blocks"`
	ID       string    `json:"id"`
	Replicas []Replica `json:"replicas"`
}

// Replica is one copy of an extent. State is ok, missing, rotten or writing.
type Replica struct {
	Peer  string `json:"peer"`
	State string `json:"state"`
}

// FileStat is what `dfsctl stat` shows.
type FileStat struct {
	Schema  int       `json:"schema"`
	Path    string    `json:"path"`
	Name    []byte    `json:"path_bytes,omitempty"` // the path itself where it is no UTF-8
	Ino     uint64    `json:"ino"`
	Type    string    `json:"type"`
	Mode    string    `json:"mode"` // "0644"
	UID     uint32    `json:"uid"`
	GID     uint32    `json:"gid"`
	Nlink   uint32    `json:"nlink"`
	Size    int64     `json:"size"`
	Blocks  uint64    `json:"blocks"`  // of 512 bytes; holes are not counted
	Extents uint64    `json:"extents"` // that they lie in: records in the metadata
	Mtime   time.Time `json:"mtime"`
	Ctime   time.Time `json:"ctime"`
	Changed uint64    `json:"changed"` // log index of the last change of attributes
	Written uint64    `json:"written"` // log index of the last change of bytes
	Layout  Layout    `json:"layout"`
}

// TokenAsk is what a token shall allow. The zero value is 24 hours and any number of uses.
type TokenAsk struct {
	TTL  time.Duration `json:"ttl_ns"`
	Uses int           `json:"uses"`
}

// Token lets machines join. Text is the secret itself: it is there only in the answer that creates it.
type Token struct {
	Schema  int       `json:"schema,omitempty"`
	ID      string    `json:"id"`
	Text    string    `json:"token,omitempty"`
	Expires time.Time `json:"expires"`
	Uses    int       `json:"uses"` // left; 0 is any number
}

// String keeps the secret out of logs.
func (t Token) String() string { return "token " + t.ID }

// Metric is one figure for /metrics. Names begin with "dfs_", a counter's ends in "_total"; units are bytes and seconds.
type Metric struct {
	Name    string
	Help    string
	Counter bool // else a gauge
	Labels  []Label
	Value   float64
}

// Label qualifies a metric. Series of one name have the same label names in the same order.
type Label struct{ Name, Value string }
