package harness

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"dfs/cluster/admin"
)

// Patience of the harness: generous, because the machine may be busy. No test asserts on them.
const (
	readyWithin   = 60 * time.Second
	healthyWithin = 2 * time.Minute
	endWithin     = 20 * time.Second
)

// Options of a cluster. The zero value is good.
type Options struct {
	Data   string             // where the data directories go (DIR/1, ...); "" the test's directory
	DataOf func(n int) string // where peer n has its data directory; nil: in Data
	Env    []string           // for the daemons, besides the test's
	Args   []string           // for the first start of each peer, besides the harness's
	Copies int                // 0 auto
	Net    bool               // peers live in network namespaces of their own, see Net
}

// Cluster is a cluster of real peers, numbered from 1.
type Cluster struct {
	t     testing.TB
	o     Options
	dir   string
	net   *Net // nil: all peers listen on loopback
	peers []*Peer
}

// Peer is one machine of the cluster.
type Peer struct {
	Data, Mount, Log string
	Admin            *admin.Client // its control socket

	c      *Cluster
	n      int
	left   bool   // is no member any more
	listen string // of its first start
	mu     sync.Mutex
	cmd    *exec.Cmd     // `dfsd up` of its latest start
	ended  chan struct{} // closed when that has ended
}

// Start runs a cluster of n peers and returns when it is healthy.
func Start(t testing.TB, n int, o Options) *Cluster {
	t.Helper()
	NeedFUSE(t)
	c := &Cluster{t: t, o: o, dir: t.TempDir()}
	if c.o.Data == "" {
		c.o.Data = filepath.Join(c.dir, "data")
	}
	if o.Net {
		c.net = newNet(t)
	}
	t.Cleanup(c.cleanup)
	for range n {
		c.Add()
	}
	c.WaitHealthy()
	return c
}

func (c *Cluster) dataOf(n int) string {
	if c.o.DataOf != nil {
		return c.o.DataOf(n)
	}
	return filepath.Join(c.o.Data, strconv.Itoa(n))
}

// Add starts one more peer, which joins unless it is the first, and returns it when it serves.
func (c *Cluster) Add() *Peer {
	c.t.Helper()
	token := ""
	if members := c.members(); len(members) > 0 {
		token = members[0].Token()
	}
	return c.AddWith(token)
}

// AddWith is Add with a token of the caller's; without one the peer creates the cluster.
func (c *Cluster) AddWith(token string) *Peer {
	c.t.Helper()
	n := len(c.peers) + 1
	p := &Peer{c: c, n: n, Data: c.dataOf(n), Mount: filepath.Join(c.dir, "mnt", strconv.Itoa(n)),
		Log: filepath.Join(c.dir, fmt.Sprintf("log.%d", n))}
	p.Admin = admin.NewClient(p.Data)
	p.listen = "127.0.0.1:0"
	if c.net != nil {
		p.listen = c.net.plug()
	}
	c.peers = append(c.peers, p)
	p.first(token)
	p.WaitReady()
	return p
}

// first starts a peer that remembers nothing: with a token it joins, without one it creates a cluster.
func (p *Peer) first(token string) {
	p.c.t.Helper()
	args := []string{"up"}
	if token != "" {
		args = []string{"join", "-"}
	}
	args = append(args, "--data", p.Data, "--mount", p.Mount, "--name", fmt.Sprintf("peer-%d", p.n), "--listen", p.listen,
		"--http", "127.0.0.1:0", "--plane", "127.0.0.1:0", "--copies", strconv.Itoa(p.c.o.Copies))
	p.start(token, append(args, p.c.o.Args...)...)
}

// Peer returns peer i, counted from 1.
func (c *Cluster) Peer(i int) *Peer { return c.peers[i-1] }

// Peers returns all, running or not.
func (c *Cluster) Peers() []*Peer { return c.peers }

// start runs dfsd with args and the token on standard input. Its output goes to the log.
func (p *Peer) start(token string, args ...string) {
	p.c.t.Helper()
	log, err := os.OpenFile(p.Log, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		p.c.t.Fatal(err)
	}
	defer log.Close()
	cmd := exec.Command(Program("dfsd"), args...)
	cmd.Env = append(os.Environ(), p.c.o.Env...)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = strings.NewReader(token+"\n"), log, log
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	begin := cmd.Start
	if net := p.c.net; net != nil {
		begin = func() error { return net.spaces[p.n-1].in(cmd.Start) }
	}
	if err := begin(); err != nil {
		p.c.t.Fatal(err)
	}
	ended := make(chan struct{})
	go func() {
		cmd.Wait()
		close(ended)
	}()
	p.mu.Lock()
	p.cmd, p.ended = cmd, ended
	p.mu.Unlock()
}

// Path returns a path in the peer's mount.
func (p *Peer) Path(elem ...string) string {
	return filepath.Join(append([]string{p.Mount}, elem...)...)
}

// WaitReady returns when the peer serves.
func (p *Peer) WaitReady() {
	p.c.t.Helper()
	out, code := p.Ctl("wait", "ready", "--timeout", readyWithin.String())
	if code != 0 {
		p.c.t.Fatalf("peer %d does not serve: %s", p.n, out)
	}
}

// WaitHealthy returns when every peer finds the cluster healthy.
func (c *Cluster) WaitHealthy() {
	c.t.Helper()
	for _, p := range c.members() {
		if out, code := p.Ctl("wait", "healthy", "--timeout", healthyWithin.String()); code != 0 {
			c.t.Fatalf("peer %d does not find the cluster healthy: %s", p.n, out)
		}
	}
}

// Ctl runs dfsctl against the peer and returns its output and exit code.
func (p *Peer) Ctl(args ...string) (string, int) {
	p.c.t.Helper()
	cmd := exec.Command(Program("dfsctl"), append(args, "--data", p.Data)...)
	out, err := cmd.CombinedOutput()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		p.c.t.Fatal(err)
	}
	return string(out), cmd.ProcessState.ExitCode()
}

// CtlJSON runs dfsctl --json and decodes what it printed into doc. It returns the exit code.
func (p *Peer) CtlJSON(doc any, args ...string) int {
	p.c.t.Helper()
	cmd := exec.Command(Program("dfsctl"), append(args, "--json", "--data", p.Data)...)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		p.c.t.Fatal(err)
	}
	if err := json.Unmarshal(out, doc); err != nil {
		p.c.t.Fatalf("dfsctl %v printed %q and %s: %v", args, out, &stderr, err)
	}
	return cmd.ProcessState.ExitCode()
}

// Kill ends the peer as a power switch would: `dfsd up` and what it started, by SIGKILL. The mount stays behind.
func (p *Peer) Kill() {
	p.mu.Lock()
	cmd, ended := p.cmd, p.ended
	p.mu.Unlock()
	if cmd == nil {
		return
	}
	daemon, plane := p.pid("serve.lock"), p.pid("plane.lock")
	cmd.Process.Kill()
	for _, pid := range []int{daemon, plane} {
		if pid != 0 {
			syscall.Kill(pid, syscall.SIGKILL)
		}
	}
	<-ended
	for _, pid := range []int{daemon, plane} {
		p.gone(pid)
	}
}

// Daemon returns the process id of the daemon itself, 0 if none runs.
func (p *Peer) Daemon() int { return p.pid("serve.lock") }

// pid returns the process that a lock file names, if that is one of this peer's.
func (p *Peer) pid(lock string) int {
	text, err := os.ReadFile(filepath.Join(p.Data, lock))
	if err != nil {
		return 0
	}
	pid, err := strconv.Atoi(strings.TrimSpace(string(text)))
	if err != nil || pid <= 1 || !p.owns(pid) {
		return 0
	}
	return pid
}

// owns reports whether a living process names this peer's data on its command line.
func (p *Peer) owns(pid int) bool {
	cmdline, err := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", pid))
	return err == nil && bytes.Contains(append(cmdline, 0), append([]byte(p.Data), 0))
}

// gone waits until a killed process has let go of its files: its locks, its mounts, its disk.
func (p *Peer) gone(pid int) {
	end := time.Now().Add(endWithin)
	for pid != 0 && running(pid) && time.Now().Before(end) {
		<-time.After(5 * time.Millisecond)
	}
}

// running reports whether pid is there and not a zombie. A dying process loses its command line first; its first thread
// may be a zombie while others still hold its files.
func running(pid int) bool {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return false
	}
	_, state, _ := bytes.Cut(stat, []byte(") "))
	if len(state) > 0 && state[0] != 'Z' && state[0] != 'X' {
		return true
	}
	threads, err := os.ReadDir(fmt.Sprintf("/proc/%d/task", pid))
	return err == nil && len(threads) > 1
}

// Terminate sends SIGTERM to `dfsd up` and returns its exit code and how long it took.
func (p *Peer) Terminate() (code int, took time.Duration) {
	p.c.t.Helper()
	p.mu.Lock()
	cmd, ended := p.cmd, p.ended
	p.mu.Unlock()
	started := time.Now()
	if err := cmd.Process.Signal(syscall.SIGTERM); err != nil {
		p.c.t.Fatal(err)
	}
	select {
	case <-ended:
		return cmd.ProcessState.ExitCode(), time.Since(started)
	case <-time.After(endWithin):
		p.c.t.Fatalf("peer %d does not end", p.n)
		return -1, 0
	}
}

// Ended waits until `dfsd up` has ended by itself and returns its exit code and how long that took.
func (p *Peer) Ended() (code int, took time.Duration) {
	p.c.t.Helper()
	p.mu.Lock()
	cmd, ended := p.cmd, p.ended
	p.mu.Unlock()
	started := time.Now()
	select {
	case <-ended:
		return cmd.ProcessState.ExitCode(), time.Since(started)
	case <-time.After(readyWithin):
		p.c.t.Fatalf("peer %d does not end", p.n)
		return -1, 0
	}
}

// Restart starts a peer that has ended with nothing but its data directory, and returns when it serves.
func (p *Peer) Restart() {
	p.c.t.Helper()
	p.Up()
	p.WaitReady()
}

// Up is Restart without waiting: a peer alone may need others to serve.
func (p *Peer) Up() {
	p.c.t.Helper()
	p.start("", "up", "--data", p.Data)
}

// KillAll kills every peer at the same moment.
func (c *Cluster) KillAll() {
	var all sync.WaitGroup
	for _, p := range c.peers {
		all.Go(p.Kill)
	}
	all.Wait()
}

// RestartAll starts every peer again and returns when the cluster is healthy.
func (c *Cluster) RestartAll() {
	c.t.Helper()
	for _, p := range c.members() {
		p.Up()
	}
	for _, p := range c.members() {
		p.WaitReady()
	}
	c.WaitHealthy()
}

// Mounts returns the mount points at or below dir, the latest first.
func Mounts(dir string) []string {
	table, err := os.ReadFile("/proc/self/mounts")
	if err != nil {
		return nil
	}
	var points []string
	for line := range strings.Lines(string(table)) {
		f := strings.Fields(line)
		if len(f) > 1 && (f[1] == dir || strings.HasPrefix(f[1], dir+"/")) {
			points = append([]string{f[1]}, points...)
		}
	}
	return points
}

// Processes returns the ids of living processes that name dir on their command line.
func Processes(dir string) []int {
	entries, err := os.ReadDir("/proc")
	if err != nil {
		return nil
	}
	var pids []int
	for _, e := range entries {
		pid, err := strconv.Atoi(e.Name())
		if err != nil || pid == os.Getpid() {
			continue
		}
		if cmdline, err := os.ReadFile(filepath.Join("/proc", e.Name(), "cmdline")); err == nil && bytes.Contains(cmdline, []byte(dir)) {
			pids = append(pids, pid)
		}
	}
	return pids
}

// cleanup leaves nothing behind.
func (c *Cluster) cleanup() {
	c.KillAll()
	for _, m := range Mounts(c.dir) {
		if err := unix.Unmount(m, unix.MNT_DETACH); err != nil {
			c.t.Errorf("unmount %s: %v", m, err)
		}
	}
	if c.t.Failed() {
		for _, p := range c.peers {
			c.t.Logf("log of peer %d:\n%s", p.n, tail(p.Log))
		}
	}
}

// tail returns the last 16 KiB of a file.
func tail(path string) string {
	const most = 16 << 10
	text, err := os.ReadFile(path)
	if err != nil {
		return err.Error()
	}
	return string(text[max(0, len(text)-most):])
}

// Status returns what the peer says of the cluster.
func (p *Peer) Status() admin.Status {
	p.c.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	st, err := p.Admin.Status(ctx)
	if err != nil {
		p.c.t.Fatalf("status of peer %d: %v", p.n, err)
	}
	return st
}
