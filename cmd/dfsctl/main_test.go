package main

import (
	"bytes"
	"context"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"dfs/cluster/admin"
	"dfs/cluster/admin/admintest"
	"dfs/cmd/internal/cli"
)

// bench is a served fake peer with a directory that counts as its mount.
type bench struct {
	fake      *admintest.Fake
	data, mnt string
}

func serve(t *testing.T) bench {
	t.Helper()
	t.Setenv("HOME", t.TempDir())
	t.Setenv("DFS_DATA", "")
	b := bench{data: t.TempDir(), mnt: t.TempDir()}
	b.fake = admintest.New(b.data, b.mnt)
	s, err := admin.NewServer(admin.Options{Data: b.data})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- s.Run(ctx, b.fake) }()
	t.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
	return b
}

func (b bench) ctl(t *testing.T, args ...string) (code int, stdout, stderr string) {
	t.Helper()
	c := root(&ctl{mounts: func() ([]cli.Mount, error) { return []cli.Mount{{Point: b.mnt, Data: b.data}}, nil }})
	var out, errs bytes.Buffer
	c.SetOut(&out)
	c.SetErr(&errs)
	c.SetArgs(args)
	code = cli.Main(t.Context(), c, &errs)
	return code, out.String(), errs.String()
}

func TestStatus(t *testing.T) {
	b := serve(t)
	code, out, errs := b.ctl(t, "status", "--data", b.data)
	if code != 0 || !strings.HasPrefix(out, "amber-otter is healthy\n") || errs != "" {
		t.Errorf("%d %q %q", code, out, errs)
	}
	code, out, _ = b.ctl(t, "status", "--data", b.data, "--json")
	var st admin.Status
	if err := json.Unmarshal([]byte(out), &st); err != nil || code != 0 || st.Schema != 1 {
		t.Errorf("%d %v %s", code, err, out)
	}
	b.fake.Change(func(s *admin.Status) { s.Cluster.Health, s.Cluster.Reason = admin.Degraded, "host-b is dead" })
	code, out, errs = b.ctl(t, "status", "--data", b.data, "--json")
	if err := json.Unmarshal([]byte(out), &st); err != nil || code != cli.Degraded || st.Cluster.Reason == "" || errs != "" {
		t.Errorf("degraded: %d %v %s %s", code, err, out, errs)
	}
}

func TestPathSelectsTheCluster(t *testing.T) {
	b := serve(t)
	link := filepath.Join(t.TempDir(), "link")
	if err := os.Symlink(b.mnt, link); err != nil {
		t.Skip("no symlinks here: ", err)
	}
	for _, path := range []string{b.mnt + "/a.txt", link + "/a.txt", filepath.Join(b.mnt, "x", "..", "a.txt")} {
		code, out, errs := b.ctl(t, "where", path, "--json")
		var w admin.Where
		if err := json.Unmarshal([]byte(out), &w); err != nil || code != 0 || w.Path != "/a.txt" || len(w.Extents) != 1 {
			t.Errorf("%s: %d %v %s %s", path, code, err, out, errs)
		}
	}
	if code, _, errs := b.ctl(t, "where", b.mnt+"/none"); code != cli.NotFound || !strings.Contains(errs, "/none: does not exist\n") {
		t.Errorf("missing file: %d %s", code, errs)
	}
	if code, out, _ := b.ctl(t, "stat", "/a.txt", "--data", b.data); code != 0 || !strings.HasPrefix(out, "/a.txt: file, 5 bytes") {
		t.Errorf("path of the drive: %d %s", code, out)
	}
	if code, out, _ := b.ctl(t, "where", b.mnt+"/a.txt"); code != 0 || !strings.Contains(out, "host-a") {
		t.Errorf("names of peers: %d %s", code, out)
	}
}

func TestLayout(t *testing.T) {
	b := serve(t)
	if code, out, _ := b.ctl(t, "layout", "set", b.mnt, "copies=3"); code != 0 || !strings.HasPrefix(out, "copies=3,") {
		t.Errorf("%d %s", code, out)
	}
	if code, out, _ := b.ctl(t, "layout", "get", b.mnt, "--json"); code != 0 || !strings.Contains(out, `"schema":1`) {
		t.Errorf("%d %s", code, out)
	}
	if code, _, errs := b.ctl(t, "layout", "set", b.mnt, "wrong"); code != cli.Usage || !strings.Contains(errs, "next: ") {
		t.Errorf("%d %s", code, errs)
	}
}

func TestTokens(t *testing.T) {
	b := serve(t)
	code, out, _ := b.ctl(t, "token", "create", "--ttl", "2d", "--uses", "3", "--data", b.data)
	if code != 0 || out != "dfs1secret1\n" {
		t.Errorf("%d %q", code, out)
	}
	code, out, _ = b.ctl(t, "token", "list", "--data", b.data, "--json")
	if code != 0 || !strings.Contains(out, `"id":"t1"`) || strings.Contains(out, "secret") {
		t.Errorf("%d %q", code, out)
	}
	if code, _, _ := b.ctl(t, "token", "revoke", "t1", "--data", b.data); code != 0 {
		t.Error(code)
	}
	if code, _, errs := b.ctl(t, "token", "revoke", "t1", "--data", b.data); code != cli.NotFound || !strings.Contains(errs, "next: dfsctl token list") {
		t.Errorf("%d %s", code, errs)
	}
	for _, args := range [][]string{{"--ttl", "0s"}, {"--ttl", "x"}, {"--uses", "-1"}, {"--uses", "x"}} {
		if code, _, _ := b.ctl(t, append([]string{"token", "create", "--data", b.data}, args...)...); code != cli.Usage {
			t.Errorf("%v: %d", args, code)
		}
	}
}

func TestWait(t *testing.T) {
	b := serve(t)
	if code, out, _ := b.ctl(t, "wait", "healthy", "--data", b.data); code != 0 || out != "healthy\n" {
		t.Errorf("%d %q", code, out)
	}
	if code, _, _ := b.ctl(t, "wait", "durable", b.mnt+"/a.txt", "--timeout", "10ms"); code != cli.TimedOut {
		t.Error(code)
	}
	if code, _, errs := b.ctl(t, "wait", "ready", "--data", t.TempDir(), "--timeout", "10ms"); code != cli.TimedOut || !strings.Contains(errs, "no daemon") {
		t.Errorf("%d %s", code, errs)
	}
	for _, args := range [][]string{{"rich"}, {"durable"}, {"ready", "x"}, {}} {
		if code, _, _ := b.ctl(t, append([]string{"wait", "--data", b.data}, args...)...); code != cli.Usage {
			t.Errorf("%v: %d", args, code)
		}
	}
}

func TestPeerList(t *testing.T) {
	b := serve(t)
	code, out, _ := b.ctl(t, "peer", "list", "--data", b.data)
	if code != 0 || !strings.Contains(out, "leader") || !strings.Contains(out, "1.2 MB") {
		t.Errorf("%d %s", code, out)
	}
}

func TestNobodyRuns(t *testing.T) {
	b := serve(t)
	empty := t.TempDir()
	code, _, errs := b.ctl(t, "status", "--data", empty)
	if code != cli.NotFound || !strings.HasSuffix(errs, "next: dfsd up --data "+empty+"\n") {
		t.Errorf("%d %s", code, errs)
	}
}

// What is not served yet is no command.
func TestUnknownCommands(t *testing.T) {
	b := serve(t)
	for _, args := range [][]string{{"run", "x.py"}, {"snapshot", "create"}, {"peer", "drain", "x"}, {"nonsense"}, {}, {"token"}} {
		code, _, errs := b.ctl(t, args...)
		if code != cli.Usage || !strings.Contains(errs, "next: ") {
			t.Errorf("%v: %d %s", args, code, errs)
		}
	}
}
