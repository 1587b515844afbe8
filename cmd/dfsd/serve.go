package main

import (
	"bufio"
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"io"
	"io/fs"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"dfs/cluster/admin"
	"dfs/cluster/fault"
	"dfs/cmd/internal/cli"
	"dfs/fs/mount"
)

const (
	serveLock  = "serve.lock"
	endWithin  = 8500 * time.Millisecond // the daemon, after it was told to end
	lockWithin = 5 * time.Second         // a killed predecessor lets go of its lock
)

// serveCommand is the daemon itself. `dfsd up` starts it with --supervised and its configuration as one line of JSON
// on standard input, which stays open: its end means that the supervisor has ended.
func serveCommand() *cobra.Command {
	c := &cobra.Command{Use: "serve", Short: "the daemon itself; `dfsd up` starts it", Hidden: true, Args: cobra.NoArgs}
	cli.Flags(c.Flags())
	supervised := c.Flags().Bool("supervised", false, "read the configuration from standard input")
	c.RunE = func(c *cobra.Command, _ []string) error {
		ctx, stop := context.WithCancel(c.Context())
		defer stop()
		cfg, err := serveConfig(c, *supervised, stop)
		if err != nil {
			return err
		}
		boundHeap(os.LookupEnv)
		cfg.Version = version
		cfg.OldKernel = os.Getenv("DFS_FORCE_OLD_KERNEL") == "1"
		if err := cfg.readTuning(os.LookupEnv); err != nil {
			return err
		}
		return serve(ctx, stop, cfg, newLog(cfg.LogLevel))
	}
	return c
}

func newLog(level slog.Level) *slog.Logger {
	return slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: level}))
}

func serveConfig(c *cobra.Command, supervised bool, ended func()) (cfg Config, err error) {
	if !supervised {
		data, err := cli.ResolveData(c.Flags(), os.LookupEnv)
		if err == nil {
			cfg.Config, _, err = cli.Resolve(data, c.Flags(), os.LookupEnv)
		}
		return cfg, err
	}
	in := bufio.NewReaderSize(c.InOrStdin(), 64<<10)
	line, err := in.ReadSlice('\n')
	if err != nil {
		return cfg, fault.New("serve", fault.Invalid, "no configuration on standard input: %v", err)
	}
	if err := json.Unmarshal(line, &cfg); err != nil {
		return cfg, fault.Because("serve", fault.Invalid, err)
	}
	// Owned by the process: it ends with standard input, that is with the supervisor.
	go func() {
		io.Copy(io.Discard, in)
		ended()
	}()
	return cfg, nil
}

// serve runs the peer and its admin server until ctx ends or one of them does.
func serve(ctx context.Context, stop func(), cfg Config, log *slog.Logger) error {
	patience, cancel := context.WithTimeout(ctx, lockWithin)
	lock, err := cli.TakeWithin(patience, filepath.Join(cfg.Data, serveLock))
	cancel()
	if err != nil {
		return cli.Hint(err, "dfsctl status --data %s", cfg.Data)
	}
	defer lock.Release()
	if err := clearMount(cfg.Config, log); err != nil {
		return err
	}
	key, err := httpKey(cfg.Config)
	if err != nil {
		return err
	}
	server, err := admin.NewServer(admin.Options{Data: cfg.Data, HTTP: cfg.HTTP, Key: key, Stop: stop, Log: log})
	if err != nil {
		return err
	}
	d, err := newDaemon(ctx, cfg, log)
	if err != nil {
		server.Close()
		return err
	}
	ctx, end := context.WithCancel(ctx)
	defer end()
	// The socket answers until the peer has ended, so that its end can be watched.
	serverCtx, endServer := context.WithCancel(context.WithoutCancel(ctx))
	serverEnded := make(chan error, 1)
	go func() {
		serverEnded <- server.Run(serverCtx, d)
		end()
	}()
	peerEnded := make(chan error, 1)
	go func() { peerEnded <- d.Run(ctx) }()

	err = awaitEnd(ctx, peerEnded, cfg, log)
	endServer()
	if serr := <-serverEnded; err == nil {
		err = serr
	}
	return err
}

// awaitEnd returns the peer's end. One that was told to end and does not is left behind, and its mount detached.
func awaitEnd(ctx context.Context, ended <-chan error, cfg Config, log *slog.Logger) error {
	select {
	case err := <-ended:
		return err
	case <-ctx.Done():
	}
	late := time.NewTimer(endWithin)
	defer late.Stop()
	select {
	case err := <-ended:
		return err
	case <-late.C:
		log.Error("the peer did not end in time: what was not flushed is lost", "after", endWithin)
		if cfg.Mount != "" {
			cli.Detach(cfg.Mount)
		}
		return nil
	}
}

// clearMount takes away what a crashed daemon of this data directory left mounted elsewhere, and makes the mount point
// where there is none. What it left at the mount point itself stays until the moment the drive is mounted there again:
// meanwhile programs get an error, and do not write into the directory beneath. The caller holds the lock, so no daemon
// serves those mounts.
func clearMount(cfg cli.Config, log *slog.Logger) error {
	mounts, err := cli.Mounts()
	if err != nil {
		return err
	}
	there := false
	for _, m := range mounts {
		if m.Data != cfg.Data {
			continue
		}
		if m.Point == cfg.Mount {
			there = true
			continue
		}
		log.Warn("a crashed daemon left its mount behind: detached", "mount", m.Point)
		if err := cli.Detach(m.Point); err != nil {
			return cli.Hint(err, "fusermount3 -uz %s", m.Point)
		}
	}
	if cfg.Mount == "" || there {
		return nil
	}
	for _, m := range mounts {
		if m.Point == cfg.Mount && m.Data != cfg.Data {
			return cli.Hint(fault.New("mount", fault.Busy, "%s is the mount of the peer in %s", m.Point, m.Data), "choose another --mount")
		}
	}
	if _, err := os.Lstat(cfg.Mount); err == nil {
		return nil // whatever it is: the peer looks at it
	}
	if err := mount.Make(cfg.Mount); err != nil {
		return cli.Hint(fault.New("mount point", fault.Permission, "%s cannot be made: %v", cfg.Mount, err), "choose another --mount")
	}
	return nil
}

// httpKey returns the dashboard's password for other machines, made at first need; "" where only loopback listens.
func httpKey(cfg cli.Config) (string, error) {
	host, _, err := net.SplitHostPort(cfg.HTTP)
	if ip := net.ParseIP(host); err != nil || host == "localhost" || ip != nil && ip.IsLoopback() {
		return "", nil
	}
	path := filepath.Join(cfg.Data, "http.key")
	text, err := os.ReadFile(path)
	if err == nil {
		return strings.TrimSpace(string(text)), nil
	}
	if !errors.Is(err, fs.ErrNotExist) {
		return "", fault.Because("dashboard password", fault.Permission, err)
	}
	key := rand.Text()
	return key, fault.Because("dashboard password", fault.Permission, os.WriteFile(path, []byte(key+"\n"), 0o600))
}
