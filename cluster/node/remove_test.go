package node

import (
	"context"
	"errors"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"dfs/blockstore"
	"dfs/cluster"
	"dfs/cluster/admin"
	"dfs/cluster/fault"
	"dfs/cluster/identity"
	"dfs/cluster/placement"
	"dfs/fs/extent"
	"dfs/fs/meta"
)

// three starts a cluster of three voters.
func three(t *testing.T) (a, b, c *live) {
	t.Helper()
	dir := t.TempDir()
	a = up(t, filepath.Join(dir, "a"))
	b = up(t, filepath.Join(dir, "b"), a.token())
	c = up(t, filepath.Join(dir, "c"), a.token())
	a.until("all is well", a.healthy)
	return a, b, c
}

func (l *live) healthy() bool {
	s, err := l.Status(l.t.Context())
	return err == nil && s.Cluster.Health == admin.Healthy
}

func (l *live) sees(p *live, s cluster.State) func() bool {
	return func() bool {
		v := l.roster.view()
		m := v.Find(p.id.ID())
		return m != nil && m.Seen == s
	}
}

func (l *live) hasNo(p *live) func() bool {
	return func() bool { _, ok := l.roster.member(p.id.ID()); return !ok }
}

func TestADeadMemberIsRemoved(t *testing.T) {
	t.Parallel()
	a, b, c := three(t)
	for _, name := range []string{"f", "g", "h", "i"} {
		c.write(name, content(7))
	}
	c.stop()
	b.until("it is seen as dead", b.sees(c, cluster.Dead))
	r, err := b.RemovePeer(t.Context(), admin.RemoveAsk{Peer: "c", DryRun: true})
	if err != nil || r.Removed || r.State != "dead" || r.HeldExtents == 0 || r.LostExtents != 0 {
		t.Fatalf("%+v, %v", r, err)
	}
	if r, err = b.RemovePeer(t.Context(), admin.RemoveAsk{Peer: c.id.ID().String()[:9]}); err != nil || !r.Removed {
		t.Fatalf("%+v, %v", r, err)
	}
	for _, x := range []*live{a, b} {
		x.until("the others are one cluster again", func() bool { return x.healthy() && x.voters() == 1 })
		for _, name := range []string{"/f", "/g", "/h", "/i"} {
			x.until("it has "+name, func() bool { return x.holds(name, content(7)) })
		}
	}
	if _, err := a.RemovePeer(t.Context(), admin.RemoveAsk{Peer: "c"}); !errors.Is(err, fault.NotExist) {
		t.Errorf("removed twice: %v", err)
	}

	// If it comes back it is told so, and does not wait for ever.
	n, err := Open(t.Context(), Config{Data: c.data, Listen: c.cfg.Listen, Capacity: 1 << 30})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	if err := n.Run(ctx); !errors.Is(err, fault.Refused) || fault.NextStep(err) == "" {
		t.Errorf("the removed peer ended with %v, next %q", err, fault.NextStep(err))
	}
}

// writeAlone makes a file that only this peer has.
func (l *live) writeAlone(name string) {
	l.t.Helper()
	r, err := l.store.Apply(l.t.Context(), meta.Create{Dir: meta.Root, Name: name, Type: meta.File, Mode: 0o644})
	must(l.t, err)
	ino := r.Inode.Ino
	must(l.t, func() error {
		_, err := l.store.Apply(l.t.Context(), meta.SetAttr{Ino: ino, Mask: meta.SetWish, Wish: placement.Wish{Copies: 1}})
		return err
	}())
	note := blockstore.Note{Ino: uint64(ino), Session: l.session.id.Load()}
	pieces, err := l.pool.Write(l.t.Context(), content(4), note, placement.Wish{Copies: 1, Policy: placement.LocalFirst})
	must(l.t, err)
	op := meta.Commit{Ino: ino, End: int64(len(content(4)))}
	for _, x := range pieces {
		op.Extents = append(op.Extents, extent.Extent{Off: x.Off, Span: x.Span, Layout: x.Layout})
	}
	_, err = l.store.Apply(l.t.Context(), op)
	must(l.t, err)
}

func TestWhatOnlyADeadMemberHoldsIsNotGivenUpUnasked(t *testing.T) {
	t.Parallel()
	a, b, c := three(t)
	c.write("safe", content(5))
	c.writeAlone("precious")
	a.until("it is known what only that one holds", func() bool {
		i, err := a.PeerInfo(t.Context(), "c")
		return err == nil && i.Name == "c" && i.OnlyExtents > 0 && i.HeldExtents >= i.OnlyExtents
	})
	c.stop()
	a.until("it is seen as dead", a.sees(c, cluster.Dead))
	_, err := a.RemovePeer(t.Context(), admin.RemoveAsk{Peer: "c"})
	if !errors.Is(err, fault.Refused) || !strings.Contains(err.Error(), "/precious") || strings.Contains(err.Error(), "/safe") ||
		!strings.Contains(fault.NextStep(err), "--force-lost") {
		t.Fatalf("%v, next %q", err, fault.NextStep(err))
	}
	r, err := a.RemovePeer(t.Context(), admin.RemoveAsk{Peer: "c", ForceLost: true})
	if err != nil || !r.Removed || r.LostExtents == 0 || len(r.Files) != 1 || r.Files[0] != "/precious" {
		t.Fatalf("%+v, %v", r, err)
	}
	for _, x := range []*live{a, b} {
		x.until("the rest is whole", func() bool { return x.holds("/safe", content(5)) })
	}
	// What is lost stays a complaint until somebody deletes it.
	if a.healthy() {
		t.Error("a lost file is healthy")
	}
	_, err = a.store.Apply(t.Context(), meta.Unlink{Dir: meta.Root, Name: "precious"})
	must(t, err)
	a.until("all is well without it", a.healthy)
}

func TestALiveMemberIsRemovedOnlyWhenThatIsMeant(t *testing.T) {
	t.Parallel()
	a, b, c := three(t)
	c.writeAlone("only")
	for _, x := range []*live{a, b, c} { // the leader too
		who := c
		if x == c {
			who = b
		}
		if _, err := x.RemovePeer(t.Context(), admin.RemoveAsk{Peer: who.cfg.Name}); !errors.Is(err, fault.Refused) || !strings.Contains(fault.NextStep(err), "--yes") {
			t.Fatalf("%v, next %q", err, fault.NextStep(err))
		}
	}
	if _, err := c.RemovePeer(t.Context(), admin.RemoveAsk{Peer: "c", Yes: true}); !errors.Is(err, fault.Refused) {
		t.Fatalf("itself: %v", err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	if r, err := a.RemovePeer(ctx, admin.RemoveAsk{Peer: "c", Yes: true}); err != nil || !r.Removed {
		t.Fatalf("%+v, %v", r, err)
	}
	if err := c.end(); !errors.Is(err, fault.Refused) || !strings.Contains(err.Error(), "removed") {
		t.Errorf("the removed peer ended with %v", err)
	}
	if _, err := Open(t.Context(), Config{Data: c.data, Listen: "127.0.0.1:0"}); !errors.Is(err, fault.Refused) {
		t.Errorf("its directory opens again: %v", err)
	}
	a.until("all is well", func() bool { return a.healthy() && (a.holds("/only", content(4)) || b.holds("/only", content(4))) })
}

// A peer that dies while it leaves: the leader finishes what it began.
func TestALeaveThatWasCutShortIsFinished(t *testing.T) {
	t.Parallel()
	a, b, c := three(t)
	c.write("f", content(5))
	must(t, c.declare(t.Context(), c.id.ID(), cluster.Lost))
	c.stop()
	for _, x := range []*live{a, b} {
		x.until("it is gone", x.hasNo(c))
		x.until("all is well", func() bool { return x.healthy() && x.holds("/f", content(5)) })
	}
}

// A machine that was admitted and never came is a member that is dead, and removed as one.
func TestAMemberThatNeverCameIsRemoved(t *testing.T) {
	t.Parallel()
	a := up(t, filepath.Join(t.TempDir(), "a"))
	tok, err := a.CreateToken(t.Context(), admin.TokenAsk{})
	must(t, err)
	token, err := identity.ParseToken(tok.Text)
	must(t, err)
	key, err := identity.Key(filepath.Join(t.TempDir(), "ghost"))
	must(t, err)
	if _, _, err := identity.Join(t.Context(), token, key, identity.JoinRequest{Name: "ghost", Addr: "127.0.0.1:1"}, identity.JoinOptions{}); err != nil {
		t.Fatal(err)
	}
	a.until("it is missed", func() bool { s, _ := a.Status(t.Context()); return s.Cluster.Reason == "ghost is dead" })
	r, err := a.RemovePeer(t.Context(), admin.RemoveAsk{Peer: "ghost"})
	if err != nil || !r.Removed || r.HeldExtents != 0 {
		t.Fatalf("%+v, %v", r, err)
	}
	a.until("nobody misses it", a.healthy)
}

// One who is about to go can be kept.
func TestARemovalIsTakenBack(t *testing.T) {
	t.Parallel()
	a, _, c := three(t)
	c.writeAlone("f")
	c.stop() // nobody has it, so it cannot go
	must(t, a.declare(t.Context(), c.id.ID(), cluster.Lost))
	a.until("it is about to go", func() bool { s, _ := a.Status(t.Context()); return strings.Contains(s.Cluster.Reason, "c is leaving") })
	if _, err := a.RemovePeer(t.Context(), admin.RemoveAsk{Peer: "c", Cancel: true}); err != nil {
		t.Fatal(err)
	}
	c = up(t, c.data, func(cfg *Config) { cfg.Listen = c.cfg.Listen })
	a.until("it is there again", a.healthy)
}

func TestAnAbsentVoterIsReplaced(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	soon := func(c *Config) { c.VoterGrace = time.Second }
	all := []*live{up(t, filepath.Join(dir, "a"), soon)}
	for _, name := range []string{"b", "c", "d"} {
		all = append(all, up(t, filepath.Join(dir, name), soon, all[0].token()))
	}
	a, c, d := all[0], all[2], all[3]
	a.until("three of four vote", func() bool { return a.healthy() && a.voters() == 3 })
	c.stop()
	votes := func(p *live) bool { v := a.roster.view(); m := v.Find(p.id.ID()); return m != nil && m.Voter }
	a.until("the fourth votes in its place", func() bool { return votes(d) && !votes(c) && a.voters() == 3 })
	c = up(t, c.data, soon, func(cfg *Config) { cfg.Listen = c.cfg.Listen })
	a.until("it learns when it comes back", func() bool { return a.healthy() && !votes(c) && votes(d) })
}
