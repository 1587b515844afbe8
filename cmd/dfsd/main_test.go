package main

import (
	"bytes"
	"context"
	"io"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"dfs/cluster/admin"
	"dfs/cluster/admin/admintest"
	"dfs/cluster/fault"
	"dfs/cluster/identity"
)

// The test program is also the programs under test: called dfsd it is dfsd around a peer in memory, called dfsplane it
// is a sidecar that does nothing.
func TestMain(m *testing.M) {
	switch strings.TrimSuffix(filepath.Base(os.Args[0]), ".exe") {
	case "dfsd":
		newDaemon = newFake
		main()
	case "dfsplane":
		io.Copy(io.Discard, os.Stdin)
	default:
		os.Exit(m.Run())
	}
}

// fakeDaemon is a peer in memory that keeps an identity on disk.
type fakeDaemon struct{ *admintest.Fake }

func newFake(_ context.Context, cfg Config, log *slog.Logger) (Daemon, error) {
	dir := filepath.Join(cfg.Data, "identity")
	_, err := identity.Load(dir, nil)
	switch {
	case err == nil:
	case cfg.Token == "wrong":
		return nil, fault.New("join", fault.Refused, "no such token")
	default:
		key, err := identity.Key(dir)
		if err != nil {
			return nil, err
		}
		id, _, err := identity.Create(key, time.Now)
		if err != nil {
			return nil, err
		}
		if err := id.Save(dir); err != nil {
			return nil, err
		}
	}
	f := admintest.New(cfg.Data, cfg.Mount)
	f.Change(func(s *admin.Status) {
		s.Self.Name = cfg.Name
		if strings.HasSuffix(cfg.Listen, ":0") {
			s.Self.Listen = "127.0.0.1:43210"
		} else {
			s.Self.Listen = cfg.Listen
		}
		if cfg.Token != "" {
			other := s.Peers[0]
			other.Name, other.Voter = "second", false
			s.Peers = append(s.Peers, other)
		}
	})
	return fakeDaemon{f}, nil
}

func (fakeDaemon) Run(ctx context.Context) error { <-ctx.Done(); return nil }

// programs are dfsd and dfsplane in a directory of their own.
func programs(t *testing.T) string {
	t.Helper()
	if runtime.GOOS == "windows" {
		t.Skip("processes are ended by signals here")
	}
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	for _, name := range []string{"dfsd", "dfsplane"} {
		if err := os.Link(self, filepath.Join(dir, name)); err != nil {
			text, err := os.ReadFile(self)
			if err == nil {
				err = os.WriteFile(filepath.Join(dir, name), text, 0o700)
			}
			if err != nil {
				t.Fatal(err)
			}
		}
	}
	t.Setenv("HOME", t.TempDir())
	return dir
}

// running is a started dfsd.
type running struct {
	cmd   *exec.Cmd
	mu    sync.Mutex
	out   bytes.Buffer // standard output
	err   bytes.Buffer
	ended chan error
}

// Write takes standard output.
func (r *running) Write(p []byte) (int, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.out.Write(p)
}

func (r *running) stdout() string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.out.String()
}

func start(t *testing.T, dir, stdin string, args ...string) *running {
	t.Helper()
	r := &running{cmd: exec.Command(filepath.Join(dir, "dfsd"), args...), ended: make(chan error, 1)}
	r.cmd.Stdin = strings.NewReader(stdin)
	r.cmd.Stdout, r.cmd.Stderr = r, &r.err
	if err := r.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() { r.ended <- r.cmd.Wait() }()
	t.Cleanup(func() {
		r.cmd.Process.Kill()
		if t.Failed() {
			t.Logf("dfsd %v printed:\n%s", args, r.stdout())
		}
	})
	return r
}

// end waits for its end and returns the exit code.
func (r *running) end(t *testing.T) int {
	t.Helper()
	select {
	case <-r.ended:
		return r.cmd.ProcessState.ExitCode()
	case <-time.After(30 * time.Second):
		t.Fatalf("it does not end; it printed %s", r.stdout())
		return -1
	}
}

// eventually polls until ok; the test's deadline bounds it.
func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for !ok() {
		select {
		case <-ctx.Done():
			t.Fatalf("never: %s", what)
		case <-tick.C:
		}
	}
}

func alive(pid int) bool {
	text, err := os.ReadFile(filepath.Join("/proc", strconv.Itoa(pid), "stat"))
	return err == nil && !bytes.Contains(text, []byte(") Z "))
}
