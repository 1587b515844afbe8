package fuse

import (
	"log/slog"
)

// Options of a mount. The zero value works.
type Options struct {
	Source     string   // shown in the table of mounts: the data directory; default "dfs"
	AllowOther bool     // other users may look; default for root
	Readahead  int      // bytes the kernel reads ahead, if root; default 4 MiB
	Background int      // asynchronous requests at once; default 64
	NoEpoch    bool     // behave as on a kernel before 6.16
	Guard      []string // command of the mount's guard (fs/mount/guard); none: the mount has none
	Debug      bool     // log every request
	Log        *slog.Logger
}

const (
	// Subtype makes the table of mounts show fuse.dfs.
	Subtype = "dfs"
	// requestBytes is the largest READ and WRITE.
	requestBytes = 1 << 20
	// epochMinor is the protocol that knows FUSE_NOTIFY_INC_EPOCH.
	epochMinor = 44
)

func (o *Options) setDefaults() {
	if o.Source == "" {
		o.Source = "dfs"
	}
	if o.Readahead == 0 {
		o.Readahead = 4 << 20
	}
	if o.Background == 0 {
		o.Background = 64
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
}
