package winfsp

import "log/slog"

// Options of a mount. The zero value works.
type Options struct {
	Source  string // shown in a table of mounts, where there is one; default "dfs"
	Label   string // of the volume; default "dfs"
	Windows bool   // names and owners as Windows has them; always so there
	Log     *slog.Logger
}
