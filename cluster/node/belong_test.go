package node

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"dfs/cluster/fault"
)

// A data directory in which anything is missing or somebody else's is refused, with both names and a next step, and
// nothing in it is changed: put right, the peer starts as if nothing had been.
func TestADirectoryBelongsTogether(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	a := up(t, filepath.Join(dir, "a"))
	b := up(t, filepath.Join(dir, "b"), a.token())
	a.write("f", content(3))
	b.until("it has a copy", func() bool { return b.holds("/f", content(3)) })
	stranger := up(t, filepath.Join(dir, "stranger"))
	b.stop()
	stranger.stop()
	ida, idb, ids := a.id.ID().Short(), b.id.ID().Short(), stranger.id.ID().Short()
	a.stop()

	away := filepath.Join(dir, "away")
	remove := func(part string) func() func() {
		return func() func() {
			must(t, os.Rename(filepath.Join(b.data, part), away))
			return func() {
				os.RemoveAll(filepath.Join(b.data, part))
				must(t, os.Rename(away, filepath.Join(b.data, part)))
			}
		}
	}
	swap := func(part string, with *live) func() func() {
		return func() func() {
			back := remove(part)()
			must(t, os.Rename(filepath.Join(with.data, part), filepath.Join(b.data, part)))
			return func() {
				must(t, os.Rename(filepath.Join(b.data, part), filepath.Join(with.data, part)))
				back()
			}
		}
	}
	for _, c := range []struct {
		what  string
		spoil func() (mend func())
		words []string
	}{
		{"the log is gone", remove("log"), []string{idb, "log"}},
		{"the blocks are gone", remove("blocks"), []string{idb, "blocks"}},
		{"the identity is gone", remove("identity"), []string{idb, "identity"}},
		{"the log of another peer", swap("log", a), []string{ida, idb}},
		{"the blocks of another peer", swap("blocks", a), []string{ida, idb}},
		{"the identity of another peer", swap("identity", a), []string{ida, idb}},
		{"the log of another cluster", swap("log", stranger), []string{ids, idb}},
		{"the blocks of another cluster", swap("blocks", stranger), []string{"cluster", b.id.Cluster.String()}},
		{"the state of another cluster", swap("state", stranger), []string{"state", b.id.Cluster.String()}},
		{"log and blocks of another peer", func() func() {
			log := swap("log", a)()
			must(t, os.Rename(away, away+".log"))
			blocks := swap("blocks", a)()
			return func() {
				blocks()
				must(t, os.Rename(away+".log", away))
				log()
			}
		}, []string{ida, idb}},
	} {
		mend := c.spoil()
		n, err := Open(t.Context(), Config{Data: b.data, Listen: "127.0.0.1:0", Capacity: 1 << 30})
		if err == nil {
			n.abandon()
			t.Fatalf("%s: it starts", c.what)
		}
		if !errors.Is(err, fault.Conflict) {
			t.Errorf("%s: %v", c.what, err)
		}
		for _, w := range c.words {
			if !strings.Contains(err.Error(), w) {
				t.Errorf("%s: %q does not name %q", c.what, err, w)
			}
		}
		if fault.NextStep(err) == "" {
			t.Errorf("%s: no next step after %q", c.what, err)
		}
		mend()
	}
	at := func(l *live) func(*Config) { return func(c *Config) { c.Listen = l.cfg.Listen } } // where the others look for it
	a = up(t, a.data, at(a))
	b = up(t, b.data, at(b))
	if !b.holds("/f", content(3)) || !a.holds("/f", content(3)) {
		t.Error("something was changed by a start that was refused")
	}
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// Whoever lived in a directory that is now empty is not begun anew there by somebody who knows better.
func TestAPeerIsNotBegunTwice(t *testing.T) {
	t.Parallel()
	n, err := Open(t.Context(), Config{Data: t.TempDir(), Listen: "127.0.0.1:0", Capacity: 1 << 30, Existing: true})
	if err == nil {
		n.abandon()
		t.Fatal("a new cluster")
	}
	if !errors.Is(err, fault.Conflict) {
		t.Error(err)
	}
}

// A peer that was killed while it created its cluster has created nothing, and can try again.
func TestACreationThatWasCutShortIsForgotten(t *testing.T) {
	t.Parallel()
	cfg := Config{Data: t.TempDir(), Listen: "127.0.0.1:0", Capacity: 1 << 30}
	n, err := Open(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	if err := n.abandon(); err != nil { // before it ran
		t.Fatal(err)
	}
	up(t, cfg.Data).write("f", content(1))
}

// A peer whose directory is taken from under it ends instead of promising on files that have no name any more.
func TestARemovedDirectoryEndsThePeer(t *testing.T) {
	t.Parallel()
	for _, part := range []string{".", "log", "blocks", "state", "identity"} {
		t.Run(part, func(t *testing.T) {
			t.Parallel()
			data := filepath.Join(t.TempDir(), "a")
			a := up(t, data)
			a.write("f", content(1))
			must(t, os.Rename(filepath.Join(data, part), filepath.Join(t.TempDir(), "away")))
			if err := a.end(); !errors.Is(err, fault.Conflict) || !strings.Contains(err.Error(), "removed") {
				t.Errorf("it ended with %v", err)
			}
		})
	}
}
