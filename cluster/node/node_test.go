package node

import (
	"bytes"
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"dfs/blockstore"
	"dfs/cluster/admin"
	"dfs/cluster/fault"
	"dfs/cluster/placement"
	"dfs/fs/extent"
	"dfs/fs/meta"
)

// live is a Node that runs without a mount.
type live struct {
	*Node
	t    testing.TB
	data string
	stop func()
	end  func() error // waits until it ends by itself, instead of stop
}

// up starts a peer on a data directory; it is stopped at the test's end at the latest.
func up(t testing.TB, data string, change ...func(*Config)) *live {
	t.Helper()
	cfg := Config{Data: data, Listen: "127.0.0.1:0", Capacity: 1 << 30, Name: filepath.Base(data)}
	for _, f := range change {
		f(&cfg)
	}
	n, err := Open(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- n.Run(ctx) }()
	l := &live{Node: n, t: t, data: data}
	over := false
	l.stop = func() {
		if over {
			return
		}
		over = true
		cancel()
		if err := <-ended; err != nil {
			t.Errorf("%s: %v", cfg.Name, err)
		}
	}
	l.end = func() error {
		over = true
		select {
		case err := <-ended:
			return err
		case <-time.After(30 * time.Second):
			cancel()
			t.Error("it does not end")
			return <-ended
		}
	}
	t.Cleanup(l.stop)
	l.until("it serves", func() bool { ok, _ := n.ready(); return ok })
	return l
}

// until waits for something that is bound to happen.
func (l *live) until(what string, ok func() bool) {
	l.t.Helper()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	late := time.After(30 * time.Second)
	for !ok() {
		select {
		case <-tick.C:
		case <-late:
			s, _ := l.Status(l.t.Context())
			l.t.Fatalf("%s: waited in vain until %s: %+v", l.cfg.Name, what, s)
		}
	}
}

// token lets one more peer in.
func (l *live) token() func(*Config) {
	l.t.Helper()
	tok, err := l.CreateToken(l.t.Context(), admin.TokenAsk{Uses: 1})
	if err != nil {
		l.t.Fatal(err)
	}
	return func(c *Config) { c.Token = tok.Text }
}

// write makes a file of the root, as a mount would.
func (l *live) write(name string, p []byte) meta.Ino {
	l.t.Helper()
	ctx := l.t.Context()
	r, err := l.store.Apply(ctx, meta.Create{Dir: meta.Root, Name: name, Type: meta.File, Mode: 0o644})
	if err != nil {
		l.t.Fatal(err)
	}
	ino := r.Inode.Ino
	pieces, err := l.pool.Write(ctx, p, blockstore.Note{Ino: uint64(ino), Session: l.session.id.Load()}, placement.Wish{})
	if err != nil {
		l.t.Fatal(err)
	}
	op := meta.Commit{Ino: ino, End: int64(len(p))}
	for _, x := range pieces {
		op.Extents = append(op.Extents, extent.Extent{Off: x.Off, Span: x.Span, Layout: x.Layout})
	}
	if _, err := l.store.Apply(ctx, op); err != nil {
		l.t.Fatal(err)
	}
	return ino
}

// holds reports whether this peer's own store has the whole file.
func (l *live) holds(path string, want []byte) bool {
	var got []byte
	err := l.at(context.Background(), path, func(v *meta.Image, i meta.Inode) error {
		m, err := v.Extents(i.Ino, 0, i.Size)
		for _, e := range m {
			b := make([]byte, e.Span.Bytes())
			if err == nil {
				err = l.blocks.Get(l.t.Context(), e.Span, b)
			}
			got = append(got, b...)
		}
		return err
	})
	return err == nil && bytes.Equal(got, want)
}

func (l *live) durable() bool {
	ok, err := l.Durable(l.t.Context(), "/")
	return err == nil && ok
}

func (l *live) voters() int { return len(l.group.Status().Voters) }

func content(n int) []byte { return bytes.Repeat([]byte("0123456789abcdef"), n*blockstore.Size/16) }

func TestOnePeerStartsServesStopsAndStartsAgain(t *testing.T) {
	t.Parallel()
	data := filepath.Join(t.TempDir(), "a")
	a := up(t, data)
	s, err := a.Status(t.Context())
	if err != nil || s.Cluster.Health != admin.Healthy || s.Cluster.Voters != 1 || len(s.Peers) != 1 || s.Self.Name != "a" || !s.Self.Ready {
		t.Fatalf("%+v, %v", s, err)
	}
	tok, err := a.CreateToken(t.Context(), admin.TokenAsk{})
	if err != nil || tok.Text == "" || tok.Uses != 0 {
		t.Fatalf("%+v, %v", tok, err)
	}
	if all, err := a.Tokens(t.Context()); err != nil || len(all) != 1 || all[0].Text != "" || all[0].ID != tok.ID {
		t.Fatalf("%+v, %v", all, err)
	}
	for _, id := range []string{"", "nothing like it"} {
		if err := a.RevokeToken(t.Context(), id); err == nil {
			t.Errorf("revoked %q", id)
		}
	}
	if err := a.RevokeToken(t.Context(), tok.ID[:6]); err != nil {
		t.Error(err)
	}
	if err := a.Leave(t.Context()); !errors.Is(err, fault.Refused) {
		t.Errorf("the only peer leaves: %v", err)
	}
	a.write("f", content(5))
	a.until("it is on disk", a.durable)
	a.stop()

	again := up(t, data)
	if again.id.ID() != a.id.ID() || !again.holds("/f", content(5)) {
		t.Fatal("another peer, or without its file")
	}
	again.stop()

	// Without its state the log tells it all again.
	if err := os.RemoveAll(filepath.Join(data, "state")); err != nil {
		t.Fatal(err)
	}
	if again = up(t, data); !again.holds("/f", content(5)) {
		t.Fatal("the state was not rebuilt")
	}
}

func TestTwoPeers(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	a := up(t, filepath.Join(dir, "a"))
	a.write("early", content(9))
	b := up(t, filepath.Join(dir, "b"), a.token())
	if b.id.Cluster != a.id.Cluster {
		t.Fatal("another cluster")
	}
	b.until("what was written before has a copy here", func() bool { return b.holds("/early", content(9)) })
	b.write("late", content(3))
	for _, x := range []*live{a, b} {
		x.until("all is on disk everywhere", x.durable)
		x.until("it has all", func() bool { return x.holds("/early", content(9)) && x.holds("/late", content(3)) })
		x.until("all is well", func() bool { s, _ := x.Status(t.Context()); return s.Cluster.Health == admin.Healthy })
	}
	if a.voters() != 1 {
		t.Fatalf("%d voters of two members", a.voters())
	}

	// A peer whose blocks were swapped for another's refuses to serve them.
	b.stop()
	blocks := filepath.Join(b.data, "blocks")
	if err := os.Rename(blocks, blocks+".own"); err != nil {
		t.Fatal(err)
	}
	other := up(t, filepath.Join(dir, "other"))
	other.stop()
	if err := os.Rename(filepath.Join(other.data, "blocks"), blocks); err != nil {
		t.Fatal(err)
	}
	if n, err := Open(t.Context(), Config{Data: b.data, Listen: "127.0.0.1:0", Capacity: 1 << 30}); err == nil {
		t.Error(n.abandon())
		t.Fatal("opened on the blocks of another cluster")
	} else if !strings.Contains(err.Error(), "cluster") {
		t.Errorf("unclear: %v", err)
	}
	if err := errors.Join(os.RemoveAll(blocks), os.Rename(blocks+".own", blocks)); err != nil {
		t.Fatal(err)
	}

	// A learner without its state catches up from the log.
	if err := os.RemoveAll(filepath.Join(b.data, "state")); err != nil {
		t.Fatal(err)
	}
	a.write("meanwhile", content(1))
	b = up(t, b.data)
	b.until("it has caught up", func() bool { return b.holds("/late", content(3)) })
	b.until("it has what it missed", func() bool { return b.holds("/meanwhile", content(1)) })
}

// The peer that made the cluster, its only voter, can leave: what it holds and its vote go to the other first.
func TestTheFounderLeaves(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	a := up(t, filepath.Join(dir, "a"))
	a.write("f", content(4))
	b := up(t, filepath.Join(dir, "b"), a.token())
	a.until("the other is seen", func() bool { p := a.roster.view(); q := p.Find(b.id.ID()); return q != nil && q.Available() })
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	if err := a.Leave(ctx); err != nil {
		t.Fatal(err)
	}
	b.until("it goes on alone", func() bool {
		s, err := b.Status(t.Context())
		return err == nil && len(s.Peers) == 1 && s.Cluster.Health == admin.Healthy
	})
	b.write("g", content(1))
	if !b.holds("/f", content(4)) || b.voters() != 1 {
		t.Fatal("a file is lost, or somebody else votes")
	}
}
