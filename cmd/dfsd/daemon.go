package main

import (
	"context"
	"log/slog"
	"strconv"
	"time"

	"dfs/cluster/admin"
	"dfs/cluster/fault"
	"dfs/cluster/node"
	"dfs/cmd/internal/cli"
)

// Daemon is one peer: it answers questions from the moment it is made and does its work while Run runs.
type Daemon interface {
	admin.Node

	// Run returns when everything has ended: after ctx has, flushed, unmounted, lease and leadership given up (nil),
	// or when the peer cannot go on.
	Run(ctx context.Context) error
}

// Config is what a daemon is told.
type Config struct {
	cli.Config
	Token     string // join with it; "" start again, or create a cluster where there is no identity
	Existing  bool   // this peer has served: a directory without its identity is no place to begin anew
	OldKernel bool   // take the path of kernels before 6.16
	Version   string

	// For tests of what takes long or much elsewhere.
	VoterGrace    time.Duration // DFS_VOTER_GRACE
	SessionExpiry time.Duration // DFS_SESSION_EXPIRY
	LogKeep       uint64        // DFS_LOG_KEEP
	Calm          time.Duration // DFS_DEFRAG_AFTER
}

// readTuning reads the variables that have no flag.
func (c *Config) readTuning(env cli.Env) (err error) {
	if text, ok := env("DFS_VOTER_GRACE"); ok {
		if c.VoterGrace, err = cli.ParseDuration(text); err != nil {
			return fault.Wrap("DFS_VOTER_GRACE", err)
		}
	}
	if text, ok := env("DFS_DEFRAG_AFTER"); ok {
		if c.Calm, err = cli.ParseDuration(text); err != nil {
			return fault.Wrap("DFS_DEFRAG_AFTER", err)
		}
	}
	if text, ok := env("DFS_SESSION_EXPIRY"); ok {
		if c.SessionExpiry, err = cli.ParseDuration(text); err != nil {
			return fault.Wrap("DFS_SESSION_EXPIRY", err)
		}
	}
	if text, ok := env("DFS_LOG_KEEP"); ok {
		if c.LogKeep, err = strconv.ParseUint(text, 10, 64); err != nil {
			return fault.New("DFS_LOG_KEEP", fault.Invalid, "%q is no number of entries", text)
		}
	}
	return nil
}

// newDaemon opens the peer, and with a token joins the cluster first. It is a variable for tests.
var newDaemon = func(ctx context.Context, cfg Config, log *slog.Logger) (Daemon, error) {
	n, err := node.Open(ctx, node.Config{
		Data:          cfg.Data,
		Mount:         cfg.Mount,
		Name:          cfg.Name,
		Listen:        cfg.Listen,
		Capacity:      cfg.Capacity,
		Zone:          cfg.Zone,
		Copies:        cfg.Copies,
		Token:         cfg.Token,
		AllowOther:    cfg.AllowOther,
		WhenCutOff:    cfg.WhenCutOff,
		CutOff:        cfg.CutOffAfter,
		OldKernel:     cfg.OldKernel,
		Guard:         guardProgram(),
		Existing:      cfg.Existing,
		VoterGrace:    cfg.VoterGrace,
		LogKeep:       cfg.LogKeep,
		SessionExpiry: cfg.SessionExpiry,
		Calm:          cfg.Calm,
		Version:       cfg.Version,
		Log:           log,
	})
	if err != nil {
		return nil, err // not a Daemon around nothing
	}
	return n, nil
}
