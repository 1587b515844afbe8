package main

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"dfs/cluster/admin"
	"dfs/cmd/internal/cli"
)

// args of a peer that needs no privileges and no fixed port.
func args(verb, data string, more ...string) []string {
	return append([]string{verb, "--data", data, "--no-mount", "--listen", "127.0.0.1:0", "--http", "127.0.0.1:0"}, more...)
}

func TestUpCreatesAndStartsAgain(t *testing.T) {
	dir, data := programs(t), filepath.Join(t.TempDir(), "data")
	r := start(t, dir, "", args("up", data, "--name", "host-a")...)
	eventually(t, "the join line", func() bool { return strings.Contains(r.stdout(), "join from another machine") })
	lines := strings.Split(r.stdout(), "\n")
	if lines[0] != "created cluster amber-otter (1 peer, copies 1 until a second peer joins)" ||
		!strings.HasPrefix(lines[1], "dashboard http://127.0.0.1:") ||
		lines[2] != "join from another machine:   dfsd join dfs1secret1 --mount ~/dfs      (valid 24 h; new one: dfsctl token create)" {
		t.Errorf("it printed %q", lines)
	}
	daemon := cli.Holder(filepath.Join(data, serveLock))
	cmdline, err := os.ReadFile(filepath.Join("/proc", itoa(daemon), "cmdline"))
	if err == nil && !strings.Contains(string(cmdline), data) {
		t.Errorf("the daemon's command line %q does not name its data", cmdline)
	}
	r.cmd.Process.Signal(syscall.SIGTERM)
	if code := r.end(t); code != 0 {
		t.Errorf("exit code %d", code)
	}
	if pid := cli.Holder(filepath.Join(data, serveLock)); pid != 0 {
		t.Errorf("the daemon %d still runs", pid)
	}

	r = start(t, dir, "", "up", "--data", data)
	eventually(t, "the second start", func() bool { return strings.Contains(r.stdout(), "started host-a of cluster amber-otter") })
	st, err := admin.NewClient(data).Status(t.Context())
	if err != nil || st.Self.Listen != "127.0.0.1:43210" {
		t.Errorf("the port is not kept: %+v, %v", st.Self, err)
	}
	r.cmd.Process.Signal(syscall.SIGINT)
	if code := r.end(t); code != 0 {
		t.Errorf("exit code %d", code)
	}
}

func TestOnePeerADirectory(t *testing.T) {
	dir, data := programs(t), filepath.Join(t.TempDir(), "data")
	r := start(t, dir, "", args("up", data)...)
	eventually(t, "the first line", func() bool { return r.stdout() != "" })
	second := start(t, dir, "", "up", "--data", data)
	if code := second.end(t); code != cli.Conflict || !strings.Contains(second.err.String(), "next: dfsctl status --data "+data) {
		t.Errorf("exit code %d: %s", code, &second.err)
	}
	joining := start(t, dir, "", args("join", data, "dfs1token")...)
	if code := joining.end(t); code != cli.Conflict || !strings.Contains(joining.err.String(), "next: dfsd up --data "+data) {
		t.Errorf("join of a member: exit code %d: %s", code, &joining.err)
	}
}

func TestJoin(t *testing.T) {
	dir, data := programs(t), filepath.Join(t.TempDir(), "data")
	r := start(t, dir, "wrong\n", args("join", data, "-")...)
	if code := r.end(t); code != cli.Refused || !strings.Contains(r.err.String(), "no such token") {
		t.Errorf("wrong token: exit code %d: %s", code, &r.err)
	}
	r = start(t, dir, "dfs1good\n", args("join", data, "-", "--name", "host-b")...)
	eventually(t, "the note", func() bool { return strings.Contains(r.stdout(), "note: ") })
	if out := r.stdout(); !strings.HasPrefix(out, "joined amber-otter as host-b\n") ||
		!strings.Contains(out, "note: two peers have one voter (host-a). A third peer removes this limit.\n") {
		t.Errorf("it printed %q", out)
	}
	if r := start(t, dir, "\n", args("join", t.TempDir(), "-")...); r.end(t) != cli.Usage {
		t.Errorf("empty token: %s", &r.err)
	}
}

func TestCrashedDaemonIsStartedAgain(t *testing.T) {
	dir, data := programs(t), filepath.Join(t.TempDir(), "data")
	r := start(t, dir, "", args("up", data)...)
	eventually(t, "the first line", func() bool { return r.stdout() != "" })
	first := cli.Holder(filepath.Join(data, serveLock))
	kill(t, first)
	client := admin.NewClient(data)
	eventually(t, "another daemon", func() bool {
		pid := cli.Holder(filepath.Join(data, serveLock))
		st, err := client.Status(t.Context())
		return pid != 0 && pid != first && err == nil && st.Self.Ready
	})
	// Asked to stop, it is not started again.
	if err := client.Stop(context.Background()); err != nil {
		t.Error(err)
	}
	if code := r.end(t); code != 0 {
		t.Errorf("exit code %d", code)
	}
}

func TestNothingOutlivesAKilledUp(t *testing.T) {
	dir, data := programs(t), filepath.Join(t.TempDir(), "data")
	r := start(t, dir, "", args("up", data)...)
	eventually(t, "the first line", func() bool { return r.stdout() != "" })
	daemon := cli.Holder(filepath.Join(data, serveLock))
	r.cmd.Process.Kill()
	r.end(t)
	eventually(t, "the daemon's end", func() bool { return !alive(daemon) })

	// It starts again at once, whatever was left.
	r = start(t, dir, "", "up", "--data", data)
	eventually(t, "another start", func() bool { return strings.HasPrefix(r.stdout(), "started ") })
}

func TestErrorsAtTheStart(t *testing.T) {
	dir := programs(t)
	if r := start(t, dir, "", "up", "--data", t.TempDir()); r.end(t) != cli.Usage || !strings.Contains(r.err.String(), "next: dfsd up --mount ~/dfs, or --no-mount") {
		t.Errorf("no mount: %s", &r.err)
	}
	if r := start(t, dir, "", "up", "--nonsense"); r.end(t) != cli.Usage {
		t.Errorf("unknown flag: %s", &r.err)
	}
	if r := start(t, dir, "", "service", "install"); r.end(t) != cli.Usage {
		t.Errorf("unknown command: %s", &r.err)
	}
	if err := os.Remove(filepath.Join(dir, "dfsplane")); err != nil {
		t.Fatal(err)
	}
	data := t.TempDir()
	if r := start(t, dir, "", args("up", data)...); r.end(t) != cli.NotFound || !strings.Contains(r.err.String(), "--plane off") {
		t.Errorf("no sidecar: %s", &r.err)
	}
	r := start(t, dir, "", args("up", data, "--plane", "off")...)
	eventually(t, "a start without the sidecar", func() bool { return r.stdout() != "" })
	// The dashboard's port is taken.
	st, err := admin.NewClient(data).Status(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	taken := start(t, dir, "", "up", "--data", t.TempDir(), "--no-mount", "--plane", "off", "--http", st.Self.HTTP)
	if code := taken.end(t); code != cli.Conflict || !strings.Contains(taken.err.String(), "--http 127.0.0.1:0") {
		t.Errorf("port taken: %d %s", code, &taken.err)
	}
}
