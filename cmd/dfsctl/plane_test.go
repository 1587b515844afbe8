package main

import (
	"bytes"
	"context"
	"encoding/json"
	"net/http"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"dfs/cluster/admin"
	"dfs/cluster/node"
	"dfs/cmd/internal/cli"
	"dfs/sched/control"
	"dfs/sched/plane/link"
)

// sidecar is a peer without a mount, and its sidecar, both in this process.
type sidecar struct {
	t    *testing.T
	data string
}

func newSidecar(t *testing.T) sidecar {
	t.Helper()
	t.Setenv("HOME", t.TempDir())
	t.Setenv("DFS_DATA", "")
	s := sidecar{t, t.TempDir()}
	n, err := node.Open(t.Context(), node.Config{Data: s.data, Listen: "127.0.0.1:0", Capacity: 1 << 30, Name: "host-a"})
	if err != nil {
		t.Fatal(err)
	}
	l, err := admin.Listen(s.data, control.SocketName)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	wg.Go(func() {
		if err := n.Run(ctx); err != nil {
			t.Error(err)
		}
	})
	service := control.New(link.Dial(s.data), nil)
	mux := http.NewServeMux()
	service.Register(mux)
	srv := &http.Server{Handler: admin.Hurry(mux)}
	wg.Go(func() { service.Run(ctx) })
	wg.Go(func() { srv.Serve(l) })
	t.Cleanup(func() {
		srv.Close()
		cancel()
		wg.Wait()
	})
	s.serves()
	return s
}

// serves returns once the peer does.
func (s sidecar) serves() {
	s.t.Helper()
	late := time.After(30 * time.Second)
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		if code, _, _ := s.ctl("kv", "list"); code == 0 {
			return
		}
		select {
		case <-tick.C:
		case <-late:
			_, _, errs := s.ctl("kv", "list")
			s.t.Fatal("the peer does not serve: ", errs)
		}
	}
}

func (s sidecar) ctl(args ...string) (code int, stdout, stderr string) {
	return s.ctlWith(s.t.Context(), "", args...)
}

func (s sidecar) ctlWith(ctx context.Context, stdin string, args ...string) (code int, stdout, stderr string) {
	c := root(&ctl{mounts: func() ([]cli.Mount, error) { return nil, nil }})
	var out, errs bytes.Buffer
	c.SetOut(&out)
	c.SetErr(&errs)
	c.SetIn(strings.NewReader(stdin))
	c.SetArgs(append([]string{"--data", s.data}, args...))
	code = cli.Main(ctx, c, &errs)
	return code, out.String(), errs.String()
}

// want runs a command and compares its exit code and the beginning of what it prints: of its errors where it fails.
func (s sidecar) want(code int, begin string, args ...string) string {
	s.t.Helper()
	got, out, errs := s.ctl(args...)
	said := out
	if code != 0 {
		said = errs
		if code != cli.Usage && !strings.Contains(errs, "\nnext: ") {
			s.t.Errorf("%q says no next step: %s", args, errs)
		}
	}
	if got != code || !strings.HasPrefix(said, begin) {
		s.t.Errorf("%q: exit code %d, want %d: %q, want %q (%s)", args, got, code, said, begin, errs)
	}
	return out
}

func TestKV(t *testing.T) {
	s := newSidecar(t)
	s.want(cli.NotFound, "dfsctl: kv get: a: does not exist\n", "kv", "get", "a")
	s.want(0, "set at revision 1\n", "kv", "set", "a", "1")
	s.want(0, "1\n", "kv", "get", "a")
	s.want(cli.Conflict, "", "kv", "cas", "a", "2", "3")
	s.want(0, "set at revision 2\n", "kv", "cas", "a", "1", "2")
	s.want(cli.Conflict, "", "kv", "cas", "a", "3", "--absent")
	s.want(cli.Conflict, "", "kv", "cas", "a", "3", "--revision", "1")
	s.want(0, "", "kv", "cas", "a", "3", "--revision", "2")
	s.want(0, "", "kv", "cas", "b", "x", "--absent")
	s.want(0, "the conditions hold; revision 5\n", "kv", "txn", "--if", "a=3", "--if", "b@version=1", "--if", "c@absent", "--then", "set c=a=b", "--then", "delete b", "--then", "get a")
	s.want(0, "a=b\n", "kv", "get", "c")
	s.want(cli.Conflict, "", "kv", "txn", "--if", "c@absent", "--then", "get a", "--else", "get c")
	s.want(cli.Usage, "", "kv", "txn", "--if", "nonsense", "--then", "get a")
	s.want(cli.Usage, "", "kv", "set", "", "x")
	s.want(cli.Failed, "", "kv", "set", "big", strings.Repeat("x", 32<<10+1))
	s.want(cli.NotFound, "", "kv", "delete", "b")
	s.want(0, "a\nc\n", "kv", "list", "--keys")
	out := s.want(0, "", "kv", "list", "--json", "--limit", "1")
	var doc control.Entries
	if err := json.Unmarshal([]byte(out), &doc); err != nil || doc.Schema != 1 || len(doc.Entries) != 1 || !doc.More || doc.Entries[0].Value != "3" {
		t.Errorf("%v %s", err, out)
	}
	if code, out, errs := s.ctl("kv", "get", "a", "--stale"); code != 0 || out != "3\n" || !strings.HasPrefix(errs, "as of ") {
		t.Errorf("%d %q %q", code, out, errs)
	}
	s.want(0, "1 set a 1\n2 set a 2\n3 set a 3\n", "kv", "watch", "a", "--from", "1", "--count", "3")
	s.want(cli.TimedOut, "", "kv", "watch", "--timeout", "50ms")
	if code, _, errs := s.ctlWith(t.Context(), "a\x00\xffb", "kv", "set", "bytes", "-"); code != 0 {
		t.Error(errs)
	}
	if _, out, _ := s.ctl("kv", "get", "bytes"); out != "a\x00\xffb\n" {
		t.Errorf("%q", out)
	}
}

func TestKVWatchHearsOfWhatComes(t *testing.T) {
	s := newSidecar(t)
	got := make(chan string)
	go func() {
		_, out, errs := s.ctl("kv", "watch", "w", "--count", "2", "--timeout", "20s", "--from", "1")
		got <- out + errs
	}()
	s.want(0, "", "kv", "set", "other", "x")
	s.want(0, "", "kv", "set", "w1", "short-lived", "--ttl", "1s")
	if out := <-got; out != "2 set w1 short-lived\n3 delete w1\n" {
		t.Errorf("%q", out)
	}
}

func TestAPeersOwnMemory(t *testing.T) {
	s := newSidecar(t)
	s.want(0, "", "kv", "set", "a", "mine", "--peer", "host-a")
	s.want(0, "mine\n", "kv", "get", "a", "--peer", "host-a")
	s.want(cli.NotFound, "", "kv", "get", "a")
	s.want(cli.NotFound, "", "kv", "get", "a", "--peer", "nobody")
	s.want(0, "", "kv", "delete", "a", "--peer", "host-a")
}

func TestNoSidecar(t *testing.T) {
	t.Setenv("HOME", t.TempDir())
	s := sidecar{t, t.TempDir()}
	s.want(cli.Failed, "dfsctl: kv/get: no sidecar runs on ", "kv", "get", "a")
	if _, err := os.Stat(s.data); err != nil {
		t.Error(err)
	}
}

// until waits for something that is bound to happen.
func until(t *testing.T, ok func() bool) {
	t.Helper()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	late := time.After(30 * time.Second)
	for !ok() {
		select {
		case <-tick.C:
		case <-late:
			t.Fatal("waited in vain")
		}
	}
}
