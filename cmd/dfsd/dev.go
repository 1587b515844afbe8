package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/spf13/cobra"

	"dfs/cluster/admin"
	"dfs/cluster/fault"
	"dfs/cmd/internal/cli"
)

// Bounds of `dfsd dev`.
const (
	devPeersMax   = 64
	devReady      = 60 * time.Second // a peer serves after its start
	devHealthy    = 20 * time.Second // the cluster is healthy after the last peer serves
	devUnmount    = 5 * time.Second  // all mounts flush and go, while all peers still serve
	devStopWithin = 11 * time.Second // `dfsd up` ends after SIGTERM
)

func devCommand() *cobra.Command {
	c := &cobra.Command{
		Use:   "dev",
		Short: "a whole cluster of real peers on this machine",
		Long: `dev starts real peer processes on loopback, each with its own data (DIR/1/data), ports, log (DIR/1/log) and mount
(DIR/1/mnt), and waits. It goes on when a peer dies and does not restart one whose "up" was killed: "dfsd up --data
DIR/2/data" does. Ctrl-C unmounts everything first, then stops every daemon of DIR. The data stays: the same command
starts the same cluster again.`,
		Args: cobra.NoArgs,
	}
	n := c.Flags().Int("peers", 3, "how many")
	dir := c.Flags().String("dir", "run", "where data, logs and mounts go")
	copies := c.Flags().Int("copies", 0, "copies of everything (0: as many as peers, at most 2)")
	noMount := c.Flags().Bool("no-mount", false, "mount nothing")
	c.RunE = func(c *cobra.Command, _ []string) error {
		if *n < 1 || *n > devPeersMax {
			return fault.New("dev", fault.Invalid, "--peers is 1 to %d", devPeersMax)
		}
		d := &dev{copies: *copies, noMount: *noMount, shown: *dir, out: c.OutOrStdout()}
		var err error
		if d.dir, err = filepath.Abs(*dir); err != nil {
			return fault.Because("dev", fault.Invalid, err)
		}
		if d.self, err = os.Executable(); err != nil {
			return fault.Because("dev", fault.Other, err)
		}
		if err := os.MkdirAll(d.dir, 0o755); err != nil {
			return fault.Because("dev", fault.Permission, err)
		}
		lock, err := cli.Take(filepath.Join(d.dir, "dev.lock"))
		if err != nil {
			return cli.Hint(err, "end that dfsd dev first, or choose another --dir")
		}
		defer lock.Release()
		return d.run(c.Context(), *n)
	}
	return c
}

// dev is one `dfsd dev`. Peers are numbered from 1.
type dev struct {
	dir, shown, self string
	copies           int
	noMount          bool
	out              io.Writer

	mu    sync.Mutex
	ended map[int]<-chan struct{} // of each `dfsd up` that was started here
}

func (d *dev) data(i int) string { return filepath.Join(d.dir, strconv.Itoa(i), "data") }
func (d *dev) mnt(i int) string  { return filepath.Join(d.dir, strconv.Itoa(i), "mnt") }
func (d *dev) log(i int) string  { return filepath.Join(d.dir, strconv.Itoa(i), "log") }

func (d *dev) run(ctx context.Context, n int) error {
	d.ended = map[int]<-chan struct{}{}
	// Peers end in stop, in order, not with ctx.
	peers, endAll := context.WithCancel(context.WithoutCancel(ctx))
	defer endAll()
	started := time.Now()
	err := d.start(ctx, peers, n)
	if err == nil {
		d.announce(ctx, n, started)
		d.watch(ctx)
	}
	if serr := d.stop(n, endAll); err == nil || ctx.Err() != nil {
		err = serr
	}
	return err
}

// start brings up all n peers: those that exist at once, then the new ones, one after the other.
func (d *dev) start(ctx, peers context.Context, n int) error {
	var known, fresh []int
	for i := 1; i <= n; i++ {
		if hasIdentity(d.data(i)) && cli.KnownPeer(d.data(i)) {
			known = append(known, i)
		} else {
			fresh = append(fresh, i)
		}
	}
	for _, i := range known {
		if err := d.up(peers, i, ""); err != nil {
			return err
		}
	}
	for _, i := range known {
		if err := d.await(ctx, i); err != nil {
			return err
		}
	}
	for _, i := range fresh {
		token := ""
		if len(known) > 0 || i != fresh[0] {
			from := 1
			if len(known) > 0 {
				from = known[0]
			}
			t, err := admin.NewClient(d.data(from)).CreateToken(ctx, admin.TokenAsk{TTL: time.Hour, Uses: 1})
			if err != nil {
				return err
			}
			token = t.Text
		}
		if err := d.up(peers, i, token); err != nil {
			return err
		}
		if err := d.await(ctx, i); err != nil {
			return err
		}
	}
	return nil
}

// up starts peer i: a new one with all its flags, and the token it joins with on standard input; a known one by its
// data directory alone.
func (d *dev) up(ctx context.Context, i int, token string) error {
	if err := os.MkdirAll(d.data(i), 0o700); err != nil {
		return fault.Because("dev", fault.Permission, err)
	}
	args := []string{"up", "--data", d.data(i)}
	if !hasIdentity(d.data(i)) || !cli.KnownPeer(d.data(i)) {
		if token != "" && !hasIdentity(d.data(i)) {
			args[0] = "join"
			args = append(args, "-")
		}
		args = append(args, "--name", fmt.Sprintf("peer-%d", i), "--listen", "127.0.0.1:0", "--http", "127.0.0.1:0",
			"--plane", "127.0.0.1:0", "--copies", strconv.Itoa(d.copies))
		if d.noMount {
			args = append(args, "--no-mount")
		} else {
			args = append(args, "--mount", d.mnt(i))
		}
	}
	logFile, err := os.OpenFile(d.log(i), os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		return fault.Because("dev", fault.Permission, err)
	}
	started, ended := make(chan error, 1), make(chan struct{})
	go func() {
		defer close(ended)
		defer logFile.Close()
		// The kernel ends the peer when the thread that started it ends: this one stays until then.
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		cmd := exec.CommandContext(ctx, d.self, args...)
		cmd.Stdout, cmd.Stderr = logFile, logFile
		cmd.Stdin = strings.NewReader(token + "\n")
		cmd.SysProcAttr = endWithParent()
		cmd.Cancel = func() error { return tellToEnd(cmd.Process) }
		cmd.WaitDelay = devStopWithin
		err := cmd.Start()
		started <- err
		if err == nil {
			cmd.Wait()
		}
	}()
	if err := <-started; err != nil {
		return fault.Because("dev", fault.Other, err)
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.ended[i] = ended
	return nil
}

// await returns when peer i serves, or says why it does not.
func (d *dev) await(ctx context.Context, i int) error {
	ctx, cancel := context.WithTimeout(ctx, devReady)
	defer cancel()
	d.mu.Lock()
	ended := d.ended[i]
	d.mu.Unlock()
	ready := make(chan error, 1)
	go func() {
		_, err := awaitReady(ctx, admin.NewClient(d.data(i)))
		ready <- err
	}()
	var err error
	select {
	case <-ended:
		cancel()
		<-ready
		err = fault.New("dev", fault.Other, "peer %d ended at its start:\n%s", i, tail(d.log(i)))
	case rerr := <-ready:
		if errors.Is(rerr, context.DeadlineExceeded) {
			err = fault.New("dev", fault.Timeout, "peer %d does not serve after %s:\n%s", i, devReady, tail(d.log(i)))
		} else if rerr != nil {
			err = fault.Because("dev", fault.Canceled, rerr)
		}
	}
	return cli.Hint(err, "see %s", d.log(i))
}

// tail returns the last lines of a log.
func tail(path string) string {
	const most = 2 << 10
	text, err := os.ReadFile(path)
	if err != nil {
		return err.Error()
	}
	if len(text) > most {
		text = text[len(text)-most:]
		_, text, _ = bytes.Cut(text, []byte("\n"))
	}
	return strings.TrimSpace(string(text))
}

func (d *dev) announce(ctx context.Context, n int, started time.Time) {
	first := admin.NewClient(d.data(1))
	werr := first.Wait(ctx, admin.WaitHealthy, "", devHealthy)
	st, err := first.Status(ctx)
	if err != nil {
		return // ctx ended, or peer 1 did
	}
	fmt.Fprintf(d.out, "cluster %s: %s, %s after %.1f s\n", st.Cluster.Name, peers(len(st.Peers)), st.Cluster.Health, time.Since(started).Seconds())
	if werr != nil && st.Cluster.Reason != "" {
		fmt.Fprintf(d.out, "note: %s\n", st.Cluster.Reason)
	}
	for i := 1; i <= n; i++ {
		st, err := admin.NewClient(d.data(i)).Status(ctx)
		if err != nil {
			continue
		}
		mnt := "(no mount)"
		if !d.noMount {
			mnt = filepath.Join(d.shown, strconv.Itoa(i), "mnt")
		}
		fmt.Fprintf(d.out, "  peer %d   %s   dashboard http://%s/\n", i, mnt, st.Self.HTTP)
	}
	fmt.Fprintf(d.out, "Ctrl-C unmounts and stops everything. A killed peer starts again with: dfsd up --data %s\n",
		filepath.Join(d.shown, strconv.Itoa(min(2, n)), "data"))
}

// watch says which peers end, until ctx does.
func (d *dev) watch(ctx context.Context) {
	d.mu.Lock()
	ended := d.ended
	d.mu.Unlock()
	var watchers sync.WaitGroup
	for i, end := range ended {
		watchers.Go(func() {
			select {
			case <-end:
				fmt.Fprintf(d.out, "peer %d has ended; start it again with: dfsd up --data %s\n", i, filepath.Join(d.shown, strconv.Itoa(i), "data"))
			case <-ctx.Done():
			}
		})
	}
	watchers.Wait()
	<-ctx.Done()
}

// stop leaves no mount and no process of this directory, also none that was started apart from us. Mounts go first:
// while every peer still serves, everything dirty can be placed.
func (d *dev) stop(n int, endAll func()) error {
	all := d.found(n)
	ctx, cancel := context.WithTimeout(context.Background(), devUnmount)
	var work sync.WaitGroup
	for _, i := range all {
		work.Go(func() { admin.NewClient(d.data(i)).Unmount(ctx) }) // a dead peer's is detached below
	}
	work.Wait()
	cancel()
	d.detach()

	failed := make([]error, len(all))
	for k, i := range all {
		work.Go(func() { failed[k] = stopPeer(d.data(i)) })
	}
	work.Wait()
	endAll() // one that had not taken its lock yet
	d.detach()
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, end := range d.ended {
		<-end
	}
	return errors.Join(failed...)
}

// found returns the peers of the directory: ours, and those of earlier starts with more peers.
func (d *dev) found(n int) []int {
	var all []int
	for i := 1; i <= devPeersMax; i++ {
		if _, err := os.Stat(d.data(i)); err == nil || i <= n {
			all = append(all, i)
		}
	}
	return all
}

// detach takes away every mount of this directory's peers that is still there.
func (d *dev) detach() {
	mounts, _ := cli.Mounts()
	for _, m := range mounts {
		if strings.HasPrefix(m.Data, d.dir+string(filepath.Separator)) {
			if err := cli.Detach(m.Point); err != nil {
				fmt.Fprintln(d.out, err)
			}
		}
	}
}

// stopPeer ends whatever runs on data, however it was started.
func stopPeer(data string) error {
	for _, lock := range []string{upLock, serveLock} {
		path := filepath.Join(data, lock)
		pid := cli.Holder(path)
		if pid == 0 {
			continue
		}
		p, err := os.FindProcess(pid)
		if err != nil {
			continue
		}
		if tellToEnd(p) != nil {
			p.Kill()
		}
		if runtime.GOOS == "windows" {
			ctx, cancel := context.WithTimeout(context.Background(), time.Second)
			admin.NewClient(data).Stop(ctx)
			cancel()
		}
		if !released(path, devStopWithin) {
			p.Kill()
			if !released(path, time.Second) {
				return fault.New("stop", fault.Timeout, "process %d of %s does not end", pid, data)
			}
		}
	}
	return nil
}

// released waits until nobody holds the lock.
func released(path string, within time.Duration) bool {
	end := time.NewTimer(within)
	defer end.Stop()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for cli.Holder(path) != 0 {
		select {
		case <-end.C:
			return false
		case <-tick.C:
		}
	}
	return true
}
