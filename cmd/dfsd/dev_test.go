package main

import (
	"context"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"dfs/cluster/admin"
	"dfs/cmd/internal/cli"
)

func itoa(n int) string { return strconv.Itoa(n) }

func kill(t *testing.T, pid int) {
	t.Helper()
	if pid <= 1 {
		t.Fatalf("no process to kill: %d", pid)
	}
	p, err := os.FindProcess(pid)
	if err == nil {
		err = p.Kill()
	}
	if err != nil {
		t.Fatal(err)
	}
}

func TestDev(t *testing.T) {
	programs, dir := programs(t), filepath.Join(t.TempDir(), "run")
	devArgs := []string{"dev", "--peers", "3", "--dir", dir, "--no-mount"}
	data := func(i int) string { return filepath.Join(dir, itoa(i), "data") }
	holder := func(i int, lock string) int { return cli.Holder(filepath.Join(data(i), lock)) }

	r := start(t, programs, "", devArgs...)
	eventually(t, "the last line", func() bool { return strings.Contains(r.stdout(), "Ctrl-C") })
	if out := r.stdout(); !strings.HasPrefix(out, "cluster amber-otter: ") || strings.Count(out, "dashboard http://127.0.0.1:") != 3 {
		t.Errorf("it printed %q", out)
	}
	second := start(t, programs, "", devArgs...)
	if code := second.end(t); code != cli.Conflict {
		t.Errorf("a second dev: exit code %d: %s", code, &second.err)
	}

	// A killed peer stays away until it is started again, and is stopped with the others all the same.
	kill(t, holder(2, upLock))
	eventually(t, "the word on peer 2", func() bool { return strings.Contains(r.stdout(), "peer 2 has ended") })
	eventually(t, "the end of its daemon", func() bool { return holder(2, serveLock) == 0 })
	apart := start(t, programs, "", "up", "--data", data(2))
	eventually(t, "its second start", func() bool { return strings.HasPrefix(apart.stdout(), "started peer-2") })

	var pids []int
	for i := 1; i <= 3; i++ {
		pids = append(pids, holder(i, upLock), holder(i, serveLock))
	}
	r.cmd.Process.Signal(syscall.SIGINT)
	if code := r.end(t); code != 0 {
		t.Errorf("exit code %d: %s", code, &r.err)
	}
	if code := apart.end(t); code != 0 {
		t.Errorf("the peer that was started apart: exit code %d", code)
	}
	for _, pid := range pids {
		if alive(pid) {
			t.Errorf("process %d still runs", pid)
		}
	}

	r = start(t, programs, "", devArgs...)
	eventually(t, "the same cluster again", func() bool { return strings.Contains(r.stdout(), "Ctrl-C") })
	r.cmd.Process.Signal(syscall.SIGTERM)
	if code := r.end(t); code != 0 {
		t.Errorf("exit code %d: %s", code, &r.err)
	}
}

func TestDevSaysWhyAPeerDoesNotStart(t *testing.T) {
	programs, dir := programs(t), t.TempDir()
	if err := os.Remove(filepath.Join(programs, "dfsplane")); err != nil {
		t.Fatal(err)
	}
	r := start(t, programs, "", "dev", "--dir", dir, "--no-mount")
	if code := r.end(t); code != cli.Failed || !strings.Contains(r.err.String(), "no sidecar") {
		t.Errorf("exit code %d: %s", code, &r.err)
	}
}

func TestLeave(t *testing.T) {
	dir, data := programs(t), filepath.Join(t.TempDir(), "data")
	r := start(t, dir, "", args("up", data)...)
	eventually(t, "the first line", func() bool { return r.stdout() != "" })
	l := start(t, dir, "", "leave", "--data", data)
	if code := l.end(t); code != 0 || !strings.Contains(l.stdout(), "has left amber-otter") {
		t.Errorf("exit code %d: %s %s", code, l.stdout(), &l.err)
	}
	if code := r.end(t); code != 0 {
		t.Errorf("exit code of up %d", code)
	}
}

func TestDoctor(t *testing.T) {
	dir, data := programs(t), filepath.Join(t.TempDir(), "data")
	r := start(t, dir, "", args("doctor", data)...)
	if code := r.end(t); code != 0 || !strings.HasPrefix(r.stdout(), "no problem found\n") {
		t.Errorf("exit code %d: %s", code, r.stdout())
	}
	up := start(t, dir, "", args("up", data)...)
	eventually(t, "the first line", func() bool { return up.stdout() != "" })
	if r := start(t, dir, "", args("doctor", data, "--json")...); r.end(t) != 0 || !strings.Contains(r.stdout(), `"problems":0`) {
		t.Errorf("with a peer: %s", r.stdout())
	}
	st, err := admin.NewClient(data).Status(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	other := t.TempDir()
	if err := os.Chmod(other, 0o755); err != nil {
		t.Fatal(err)
	}
	r = start(t, dir, "", "doctor", "--data", other, "--no-mount", "--listen", "127.0.0.1:0", "--http", st.Self.HTTP)
	if code := r.end(t); code != cli.Degraded || !strings.HasPrefix(r.stdout(), "2 problems\n") || strings.Count(r.stdout(), "fix: ") != 2 {
		t.Errorf("exit code %d: %s", code, r.stdout())
	}
}

func TestVersion(t *testing.T) {
	r := start(t, programs(t), "", "version", "--json")
	if code := r.end(t); code != 0 || !strings.Contains(r.stdout(), `"os":"`) {
		t.Errorf("exit code %d: %s", code, r.stdout())
	}
}
