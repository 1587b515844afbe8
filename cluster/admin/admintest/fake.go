// Package admintest has a peer that exists only in memory, for tests of what speaks to one.
package admintest

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"dfs/cluster/admin"
	"dfs/cluster/fault"
)

// Fake is a Node with a status that tests set and one file, /a.txt. Safe for concurrent use.
type Fake struct {
	mu        sync.Mutex
	status    admin.Status
	tokens    []admin.Token
	layout    admin.Layout
	durable   bool
	unmounted bool
	left      bool
	created   int
	scrub     string
	damaged   []admin.DamagedFile
}

var _ admin.Node = (*Fake)(nil)

// File is the one file a Fake has.
const File = "/a.txt"

// New returns a healthy peer, ready, alone in its cluster.
func New(data, mount string) *Fake {
	id := strings.Repeat("a", 32)
	return &Fake{
		layout: admin.Layout{Copies: 2, UnitBlocks: 8192, Policy: "balanced", Data: 1, Text: "copies=2,policy=balanced,unit=4M"},
		status: admin.Status{
			Cluster: admin.ClusterStatus{ID: "c1", Name: "amber-otter", Health: admin.Healthy, Term: 2, Leader: id,
				Copies: 1, Voters: 1, VotersTarget: 1, Index: 7},
			Self: admin.SelfStatus{ID: id, Name: "host-a", Data: data, Mount: mount, Listen: "127.0.0.1:9001", Ready: true},
			Peers: []admin.PeerStatus{{ID: id, Name: "host-a", Addr: "127.0.0.1:9001", State: "alive", Voter: true,
				StoredBytes: 1234567, CapacityBytes: 10e9, LatencyNS: 250_000}},
		}}
}

// Change changes the status.
func (f *Fake) Change(fn func(*admin.Status)) {
	f.mu.Lock()
	defer f.mu.Unlock()
	fn(&f.status)
}

// SetDurable says what Durable answers from now on.
func (f *Fake) SetDurable(ok bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.durable = ok
}

// Unmounted and Left report whether those were asked for.
func (f *Fake) Unmounted() bool { f.mu.Lock(); defer f.mu.Unlock(); return f.unmounted }

func (f *Fake) Left() bool { f.mu.Lock(); defer f.mu.Unlock(); return f.left }

func (f *Fake) Status(context.Context) (admin.Status, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	s := f.status
	s.Peers = slices.Clone(s.Peers)
	return s, nil
}

func (f *Fake) find(op, path string) error {
	if path != File {
		return fault.New(op, fault.NotExist, "%s", path)
	}
	return nil
}

func (f *Fake) Where(_ context.Context, path string) (admin.Where, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return admin.Where{Path: path, Ino: 2, Size: 5, Layout: f.layout, Extents: []admin.Extent{{Blocks: 1,
		ID: "00", Replicas: []admin.Replica{{Peer: f.status.Self.ID, State: "ok"}}}}}, f.find("where", path)
}

func (f *Fake) Stat(_ context.Context, path string) (admin.FileStat, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return admin.FileStat{Path: path, Ino: 2, Type: "file", Mode: "0644", Nlink: 1, Size: 5, Blocks: 1,
		Mtime: time.Unix(1, 0).UTC(), Ctime: time.Unix(1, 0).UTC(), Layout: f.layout}, f.find("stat", path)
}

func (f *Fake) Layout(_ context.Context, path string) (admin.Layout, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.layout, nil
}

func (f *Fake) SetLayout(_ context.Context, path, text string) (admin.Layout, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if text != "copies=3" {
		return admin.Layout{}, fault.New("layout set", fault.Invalid, "%q: known is copies=3", text)
	}
	f.layout.Copies, f.layout.Text = 3, "copies=3,policy=balanced,unit=4M"
	return f.layout, nil
}

func (f *Fake) CreateToken(_ context.Context, ask admin.TokenAsk) (admin.Token, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.created++
	t := admin.Token{ID: fmt.Sprintf("t%d", f.created), Text: fmt.Sprintf("dfs1secret%d", f.created),
		Expires: time.Unix(0, 0).Add(ask.TTL).UTC(), Uses: ask.Uses}
	f.tokens = append(f.tokens, admin.Token{ID: t.ID, Expires: t.Expires, Uses: t.Uses})
	return t, nil
}

func (f *Fake) Tokens(context.Context) ([]admin.Token, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.Clone(f.tokens), nil
}

func (f *Fake) RevokeToken(_ context.Context, id string) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	i := slices.IndexFunc(f.tokens, func(t admin.Token) bool { return strings.HasPrefix(t.ID, id) })
	if i < 0 {
		return fault.New("token revoke", fault.NotExist, "%s", id)
	}
	f.tokens = slices.Delete(f.tokens, i, i+1)
	return nil
}

func (f *Fake) Durable(_ context.Context, path string) (bool, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.durable, f.find("durable", path)
}

func (f *Fake) Unmount(context.Context) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.unmounted = true
	return nil
}

func (f *Fake) Leave(context.Context) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.left = true
	return nil
}

func (f *Fake) Scrub(_ context.Context, verb string) (admin.Scrub, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.scrub = verb
	state := map[string]string{admin.ScrubStart: "running", admin.ScrubPause: "paused"}[verb]
	return admin.Scrub{Peers: []admin.ScrubPeer{{Peer: f.status.Self.ID, Name: "host-a", State: max(state, "idle"), Looked: 1e9, Total: 4e9,
		Rate: 64 << 20, ETA: 45, Extents: 250, Found: 3, Health: admin.Health{Rotten: 2, Missing: 1, Healed: 3}}}}, nil
}

// Scrubbed returns what the scrub was told last.
func (f *Fake) Scrubbed() string { f.mu.Lock(); defer f.mu.Unlock(); return f.scrub }

// SetDamaged says what Fsck finds from now on.
func (f *Fake) SetDamaged(files ...admin.DamagedFile) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.damaged = files
}

func (f *Fake) Fsck(_ context.Context, path string, _ bool) (admin.Fsck, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return admin.Fsck{Path: path, Files: 1, Extents: 1, Bytes: 512, Damaged: slices.Clone(f.damaged)}, nil
}

// Locks returns a lock that is held and one that is waited for, on File.
func (f *Fake) Locks(_ context.Context, path string) (admin.Locks, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if path != "" {
		if err := f.find("locks", path); err != nil {
			return admin.Locks{}, err
		}
	}
	id := f.status.Self.ID
	return admin.Locks{Files: []admin.LockedFile{{Path: path, Ino: 2,
		Held:    []admin.Lock{{Kind: admin.LockRange, Mode: admin.LockExcl, Offset: 10, Length: 5, Peer: id, PID: 42, Session: "1"}},
		Waiting: []admin.Lock{{Kind: admin.LockRange, Mode: admin.LockShared, Peer: id, PID: 43, Session: "1"}}}}}, nil
}

func (f *Fake) Events(_ context.Context, after uint64) (admin.Events, error) {
	e := admin.Events{Next: 1, Events: []admin.Event{{Seq: 1, Time: time.Unix(1, 0).UTC(), Kind: "replica rotten", Text: "2 blocks"}}}
	if after >= 1 {
		e.Events = nil
	}
	return e, nil
}

func (f *Fake) RemovePeer(_ context.Context, ask admin.RemoveAsk) (admin.Removal, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for i, p := range f.status.Peers {
		if p.Name != ask.Peer && p.ID != ask.Peer {
			continue
		}
		r := admin.Removal{ID: p.ID, Name: p.Name, State: p.State, HeldExtents: 3, HeldBytes: 3 << 20}
		if p.State == "alive" && !ask.Yes {
			return r, fault.New("peer remove", fault.Refused, "%s is alive", p.Name)
		}
		if !ask.DryRun {
			f.status.Peers = slices.Delete(slices.Clone(f.status.Peers), i, i+1)
			r.Removed = true
		}
		return r, nil
	}
	return admin.Removal{}, fault.New("peer remove", fault.NotExist, "no member is called %q", ask.Peer)
}

func (f *Fake) PeerInfo(_ context.Context, peer string) (admin.PeerInfo, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, p := range f.status.Peers {
		if p.Name == peer || strings.HasPrefix(p.ID, peer) {
			return admin.PeerInfo{PeerStatus: p, Joined: 1, HeldExtents: 3, HeldBytes: 3 << 20}, nil
		}
	}
	return admin.PeerInfo{}, fault.New("peer info", fault.NotExist, "no member is called %q", peer)
}

func (f *Fake) Metrics() []admin.Metric {
	return []admin.Metric{{Name: "dfs_reads_total", Help: "Reads.", Counter: true,
		Labels: []admin.Label{{Name: "kind", Value: "local"}}, Value: 3}}
}
