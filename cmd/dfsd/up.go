package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/spf13/cobra"

	"dfs/cluster/admin"
	"dfs/cluster/fault"
	"dfs/cluster/identity"
	"dfs/cmd/internal/cli"
)

const (
	upLock     = cli.UpLock
	readyPoll  = 50 * time.Millisecond
	tokenBytes = 4 << 10 // more than any token has
)

func upCommand() *cobra.Command {
	c := &cobra.Command{
		Use:   "up",
		Short: "create a cluster, or start this peer again",
		Long: `up creates a cluster of one peer where the data directory is empty, and starts the peer again where it is not.
It stays in the foreground, logs to standard error and ends on Ctrl-C or SIGTERM after everything is flushed and
unmounted. The peer remains a member: only "dfsd leave" ends that.`,
		Args: cobra.NoArgs,
	}
	cli.Flags(c.Flags())
	c.RunE = func(c *cobra.Command, _ []string) error { return up(c, "") }
	return c
}

func joinCommand() *cobra.Command {
	c := &cobra.Command{
		Use:   "join TOKEN|-",
		Short: "join a cluster with a token, then do as up",
		Long: `join makes this machine a peer of the cluster that TOKEN comes from ("dfsctl token create" there), then does as up.
"join -" reads the token from standard input, where no other user of this machine can see it.`,
		Args: cobra.ExactArgs(1),
	}
	cli.Flags(c.Flags())
	c.RunE = func(c *cobra.Command, args []string) error {
		token := args[0]
		if token == "-" {
			line, err := bufio.NewReader(io.LimitReader(c.InOrStdin(), tokenBytes)).ReadString('\n')
			if err != nil && err != io.EOF {
				return fault.Because("join", fault.Other, err)
			}
			token = strings.TrimSpace(line)
		}
		if token == "" {
			return cli.Hint(fault.New("join", fault.Invalid, "the token is empty"), "dfsctl token create, on a machine of the cluster")
		}
		return up(c, token)
	}
	return c
}

// up starts the peer and stays until it has ended.
func up(c *cobra.Command, token string) error {
	data, err := cli.ResolveData(c.Flags(), os.LookupEnv)
	if err != nil {
		return err
	}
	if err := cli.CheckData(data); err != nil {
		return err
	}
	cfg, keep, err := cli.Resolve(data, c.Flags(), os.LookupEnv)
	if err != nil {
		return err
	}
	if cfg.Mount == "" && !cfg.NoMount {
		return cli.Hint(fault.New(c.Name(), fault.Invalid, "it is not said where to mount the drive"), "%s --mount ~/dfs, or --no-mount", c.CommandPath())
	}
	fresh := !hasIdentity(data)
	if token != "" && !fresh {
		return cli.Hint(isMember(data, token), "dfsd up --data %s%s to start it, or join with another --data", data, mountFlag(cfg))
	}
	if fresh {
		if err := cli.CheckFresh(data, cfg.Mount); err != nil {
			return err
		}
	}
	if err := os.MkdirAll(data, 0o700); err != nil {
		return cli.Hint(fault.Because("data directory", fault.Permission, err), "choose another --data")
	}
	patience, cancel := context.WithTimeout(c.Context(), time.Second)
	lock, err := cli.TakeWithin(patience, filepath.Join(data, upLock))
	cancel()
	if errors.Is(err, fault.Busy) {
		return cli.Hint(fault.New(c.Name(), fault.Busy, "process %d runs the peer in %s already", cli.Holder(filepath.Join(data, upLock)), data),
			"dfsctl status --data %s", data)
	} else if err != nil {
		return cli.Hint(err, "choose another --data, or make %s writable for this user", data)
	}
	defer lock.Release()
	s, err := newSupervisor(cfg, token, newLog(cfg.LogLevel))
	if err != nil {
		return err
	}
	s.keep, s.fresh, s.out = keep, fresh, c.OutOrStdout()
	return s.run(c.Context())
}

// mountFlag is how cfg's mount point is said on a command line: a peer that was killed while it joined remembers none.
func mountFlag(cfg cli.Config) string {
	if cfg.NoMount {
		return " --no-mount"
	}
	return " --mount " + cfg.Mount
}

// isMember is the error of a join in the data directory of a member.
func isMember(data, token string) error {
	id, err := identity.Load(filepath.Join(data, "identity"), nil)
	if err != nil {
		return fault.New("join", fault.Conflict, "%s belongs to a member of a cluster already", data)
	}
	if t, err := identity.ParseToken(token); err == nil && t.Cluster != id.Cluster {
		return fault.New("join", fault.Conflict, "%s belongs to a member of cluster %s already, and the token is of %s", data, id.Name, t.Cluster.Name())
	}
	return fault.New("join", fault.Conflict, "%s belongs to a member of cluster %s already", data, id.Name)
}

// hasIdentity reports whether a member of a cluster lives in data.
func hasIdentity(data string) bool {
	_, err := identity.Load(filepath.Join(data, "identity"), nil)
	return !errors.Is(err, fault.NotExist) // one that cannot be read is one all the same
}

// supervisor is `dfsd up`: it keeps the daemon and the sidecar running and tells people what is going on.
type supervisor struct {
	token string
	log   *slog.Logger
	self  string // this program
	plane string // the sidecar's; "" when off
	keep  map[string]string
	fresh bool // no peer lived here before
	out   io.Writer

	ready     atomic.Bool // the daemon has served since this start
	conflicts int         // of the daemon's ends in a row; of the goroutine that runs it

	mu  sync.Mutex
	cfg cli.Config // Listen gets its port once that is known
}

func newSupervisor(cfg cli.Config, token string, log *slog.Logger) (*supervisor, error) {
	s := &supervisor{cfg: cfg, token: token, log: log}
	var err error
	if s.self, err = os.Executable(); err != nil {
		return nil, fault.Because("start", fault.Other, err)
	}
	if cfg.Plane == "off" {
		return s, nil
	}
	s.plane = filepath.Join(filepath.Dir(s.self), "dfsplane")
	if runtime.GOOS == "windows" {
		s.plane += ".exe"
	}
	if _, err := exec.LookPath(s.plane); err != nil {
		if errors.Is(err, fs.ErrNotExist) {
			err = fault.New("start", fault.NotExist, "there is no sidecar at %s", s.plane)
		}
		return nil, cli.Hint(err, "put dfsplane beside dfsd (make build makes both), or dfsd up --plane off")
	}
	return s, nil
}

// run returns when both processes have ended.
func (s *supervisor) run(ctx context.Context) error {
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	parts := 1
	ended := make(chan struct{}, 2)
	go func() {
		s.announce(ctx)
		ended <- struct{}{}
	}()
	if s.plane != "" {
		parts++
		go func() {
			s.sidecar().run(ctx, s.log)
			ended <- struct{}{}
		}()
	}
	code, err := s.daemon().run(ctx, s.log)
	if err == nil && code != 0 {
		err = cli.Code(code) // the daemon has said why
	}
	stop()
	for range parts {
		<-ended
	}
	s.clear()
	return err
}

// daemon is started again whenever it ends by itself, but not while it has never served: then its error is ours.
func (s *supervisor) daemon() process {
	return process{
		name: "daemon", path: s.self, args: []string{"serve", "--supervised", "--data", s.cfg.Data}, out: os.Stderr,
		stdin: func() []byte {
			s.mu.Lock()
			cfg := Config{Config: s.cfg}
			s.mu.Unlock()
			cfg.Existing = s.ready.Load()
			if !hasIdentity(s.cfg.Data) && !cfg.Existing {
				cfg.Token = s.token
			}
			line, err := json.Marshal(cfg)
			if err != nil {
				panic(err) // plain data
			}
			return append(line, '\n')
		},
		final: s.final,
	}
}

// conflictsMax is how often in a row the daemon may find its place taken before it is left at that: a predecessor that
// is slow to die lets go in the end, a data directory that is somebody else's does not.
const conflictsMax = 3

// final reports whether the daemon's end is the end: it was told to, it never began, it was shown the door, or its data
// directory is not what it was.
func (s *supervisor) final(code int) bool {
	if code != cli.Conflict {
		s.conflicts = 0
		return code == 0 || !s.ready.Load() || code == cli.Refused
	}
	s.conflicts++
	return !s.ready.Load() || s.conflicts >= conflictsMax || !hasIdentity(s.cfg.Data)
}

func (s *supervisor) sidecar() process {
	return process{
		name: "sidecar", path: s.plane, args: []string{"--supervised", "--data", s.cfg.Data}, out: os.Stderr,
		final: func(code int) bool { return code == cli.Usage },
	}
}

// clear takes the mount away if the daemon did not: it was killed.
func (s *supervisor) clear() {
	mounts, _ := cli.Mounts()
	for _, m := range mounts {
		if m.Data == s.cfg.Data {
			cli.Detach(m.Point)
		}
	}
}

// announce waits for the daemon to serve, prints the first lines and remembers what it was told, with the port it
// really has: other peers know it by that.
func (s *supervisor) announce(ctx context.Context) {
	client := admin.NewClient(s.cfg.Data)
	st, err := awaitReady(ctx, client)
	if err != nil {
		return // ctx ended
	}
	s.ready.Store(true)
	if strings.HasSuffix(s.cfg.Listen, ":0") && st.Self.Listen != "" {
		s.keep["listen"] = st.Self.Listen
		s.mu.Lock()
		s.cfg.Listen = st.Self.Listen
		s.mu.Unlock()
	}
	if err := cli.Remember(s.cfg.Data, s.keep); err != nil {
		s.log.Warn("a later start must be given the flags again", "err", err)
	}
	switch {
	case s.token != "":
		s.joined(ctx, client, st)
	case s.fresh:
		s.created(ctx, client, st)
	default:
		fmt.Fprintf(s.out, "started %s of cluster %s (%s)\n", st.Self.Name, st.Cluster.Name, peers(len(st.Peers)))
		s.place(st)
	}
}

// awaitReady returns the first status in which the daemon serves.
func awaitReady(ctx context.Context, client *admin.Client) (admin.Status, error) {
	tick := time.NewTicker(readyPoll)
	defer tick.Stop()
	for {
		if st, err := client.Status(ctx); err == nil && st.Self.Ready {
			return st, nil
		}
		select {
		case <-ctx.Done():
			return admin.Status{}, ctx.Err()
		case <-tick.C:
		}
	}
}

func (s *supervisor) created(ctx context.Context, client *admin.Client, st admin.Status) {
	copies := "copies 1 until a second peer joins" // the status may know of one already
	if s.cfg.Copies == 1 {
		copies = "copies 1"
	} else if s.cfg.Copies > 1 {
		copies = fmt.Sprintf("1 of %d copies until more join", s.cfg.Copies)
	}
	fmt.Fprintf(s.out, "created cluster %s (1 peer, %s)\n", st.Cluster.Name, copies)
	s.place(st)
	t, err := client.CreateToken(ctx, admin.TokenAsk{})
	if err != nil {
		s.log.Warn("no token was made", "err", err)
		return
	}
	fmt.Fprintf(s.out, "join from another machine:   dfsd join %s --mount %s      (valid 24 h; new one: dfsctl token create)\n",
		t.Text, cli.Home(s.mountForOthers()))
}

func (s *supervisor) mountForOthers() string {
	if s.cfg.Mount == "" {
		return "~/dfs"
	}
	return s.cfg.Mount
}

func (s *supervisor) joined(ctx context.Context, client *admin.Client, st admin.Status) {
	line := fmt.Sprintf("joined %s as %s", st.Cluster.Name, st.Self.Name)
	if below := st.Repair.BytesBelowTarget; below > 0 && st.Cluster.Copies > 1 {
		line += fmt.Sprintf("; raising copies %d -> %d for %s", st.Cluster.Copies-1, st.Cluster.Copies, admin.Bytes(below))
	}
	fmt.Fprintln(s.out, line)
	s.place(st)
	if len(st.Peers) == 2 {
		for _, p := range st.Peers {
			if p.Voter {
				fmt.Fprintf(s.out, "note: two peers have one voter (%s). A third peer removes this limit.\n", p.Name)
			}
		}
	}
	if below := st.Repair.BytesBelowTarget; below > 0 && isTerminal(os.Stderr) {
		progress(ctx, os.Stderr, client, below)
	}
}

// place says where the drive and the dashboard are.
func (s *supervisor) place(st admin.Status) {
	var parts []string
	if st.Self.Mount != "" {
		parts = append(parts, "mounted  "+st.Self.Mount)
	}
	if st.Self.HTTP != "" {
		parts = append(parts, "dashboard http://"+st.Self.HTTP+"/")
	}
	if len(parts) > 0 {
		fmt.Fprintln(s.out, strings.Join(parts, "      "))
	}
}

func peers(n int) string {
	if n == 1 {
		return "1 peer"
	}
	return fmt.Sprintf("%d peers", n)
}
