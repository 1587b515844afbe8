// Package node assembles one peer: it opens what the data directory holds, joins the parts by their interfaces, and
// runs them until it is told to stop.
//
//	     mount/fuse, winfsp ── vfs ──┬── coherence.Driver ── views of the local replica
//	                                ├── log: raft.Group ── state.Machine ── meta.Part ── kv/badger
//	                                └── data: pool ──┬── segment (here)
//	                                                 └── remote (other peers)
//	gossip: hints of liveness and load          chores: what the leader, or each peer, does by and by
//
// The data directory:
//
//	identity/     key, certificate, the cluster's CA and secret (0600)
//	log/          the raft log
//	state/        badger: the replicated state, made whole by the log
//	blocks/       segments and their index
//	members.json  who the members were and where, for a peer that has lost its state
//	parts.json    that these were all there once, and whose they are
//	flags.json    flags of the last start
//	control.sock  the control socket
//	machine.sock  the control plane's state, for the sidecar
package node

import (
	"log/slog"
	"time"
)

// Config is what one peer is told at its start. Sizes are bytes.
type Config struct {
	Data          string // data directory
	Mount         string // mount point; "" none
	Name          string // "" the host's name
	Listen        string // HOST:PORT of transport and gossip; port 0 chooses
	Capacity      int64  // 0: 90 % of what its disk has free or it holds already
	Zone          string
	Copies        int    // of the root's layout when a cluster is created; 0 auto
	Token         string // join with it; "" start or create
	AllowOther    bool
	WhenCutOff    string // wait, fail or read; "" fail
	CutOff        time.Duration
	Guard         []string      // command of the mount's guard; none: it has none
	OldKernel     bool          // take the path for kernels before 6.16 (tests)
	VoterGrace    time.Duration // a voter that is away for so long is replaced; default 5 min
	SessionExpiry time.Duration // a daemon that nobody has heard of for so long must begin anew; default 10 min
	LogKeep       uint64        // entries of the log kept for peers that are away; 0 many. Few make them catch up by snapshot (tests)
	Calm          time.Duration // a part of a file is not written for so long before its many pieces become few; default 1 min
	Existing      bool          // a peer has lived in Data before: do not begin anew there
	Version       string
	Log           *slog.Logger
}
