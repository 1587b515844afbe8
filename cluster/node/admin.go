package node

import (
	"context"
	"net"
	"strings"
	"time"

	"dfs/cluster"
	"dfs/cluster/admin"
	"dfs/cluster/fault"
	"dfs/cluster/identity"
	"dfs/cluster/state"
)

const tokenTTL = 24 * time.Hour

// CreateToken implements admin.Node.
func (n *Node) CreateToken(ctx context.Context, ask admin.TokenAsk) (admin.Token, error) {
	if err := n.store.cut.err(); err != nil {
		return admin.Token{}, err
	}
	if ask.TTL < 0 || ask.Uses < 0 {
		return admin.Token{}, fault.New("token create", fault.Invalid, "a negative limit")
	}
	if ask.TTL == 0 {
		ask.TTL = tokenTTL
	}
	now := time.Now()
	t := n.id.NewToken(now.Add(ask.TTL), n.reachableAddrs())
	stored := state.Token{ID: state.TokenID(t.ID), Key: t.Key(), Expiry: t.Expiry.UnixNano(), Uses: anyUses, Created: now.UnixNano()}
	if ask.Uses > 0 {
		stored.Uses = uint32(min(ask.Uses, anyUses-1))
	}
	if _, err := n.store.propose(ctx, state.TokenCreate{Token: stored}); err != nil {
		return admin.Token{}, err
	}
	out := tokenOf(stored)
	out.Text = t.Text()
	return out, nil
}

// reachableAddrs returns where a machine that joins may ask: here first, then other members.
func (n *Node) reachableAddrs() []string {
	addrs := []string{n.advertised(n.net.Addr())}
	_, port, _ := net.SplitHostPort(n.net.Addr())
	if host, _, _ := net.SplitHostPort(n.net.Addr()); net.ParseIP(host) != nil && net.ParseIP(host).IsUnspecified() {
		for _, ip := range ownAddrs() {
			if a := net.JoinHostPort(ip.String(), port); len(addrs) < 2 && a != addrs[0] {
				addrs = append(addrs, a)
			}
		}
	}
	for _, p := range n.roster.view().Peers {
		if p.ID != n.id.ID() && p.Seen == cluster.Alive && len(addrs) < 3 {
			addrs = append(addrs, p.Addr)
		}
	}
	return addrs
}

// Tokens implements admin.Node.
func (n *Node) Tokens(context.Context) (out []admin.Token, err error) {
	err = n.store.facts(func(v state.View) error {
		all, err := v.Tokens()
		for _, t := range all {
			if !t.Dead(time.Now().UnixNano()) {
				out = append(out, tokenOf(t))
			}
		}
		return err
	})
	return out, err
}

func tokenOf(t state.Token) admin.Token {
	out := admin.Token{ID: identity.TokenID(t.ID).String(), Expires: time.Unix(0, t.Expiry).UTC(), Uses: int(t.Uses)}
	if t.Uses == anyUses {
		out.Uses = 0
	}
	return out
}

// RevokeToken implements admin.Node.
func (n *Node) RevokeToken(ctx context.Context, id string) error {
	all, err := n.Tokens(ctx)
	if err != nil {
		return err
	}
	found := ""
	for _, t := range all {
		if strings.HasPrefix(t.ID, id) {
			if found != "" {
				return fault.New("token revoke", fault.Invalid, "%q begins several ids; say more of it", id)
			}
			found = t.ID
		}
	}
	if found == "" || id == "" {
		return fault.New("token revoke", fault.NotExist, "no token %q; dfsctl token list shows them", id)
	}
	t, err := identity.ParseTokenID(found)
	if err != nil {
		return err
	}
	_, err = n.store.propose(ctx, state.TokenRevoke{ID: state.TokenID(t)})
	return err
}

// Unmount implements admin.Node.
func (n *Node) Unmount(ctx context.Context) error {
	if n.fs == nil {
		return nil
	}
	n.fs.FlushAll(ctx)
	n.mu.Lock()
	s := n.server
	n.mu.Unlock()
	if s == nil {
		return nil
	}
	n.unmounted.Store(true)
	return s.Unmount()
}

// Metrics implements admin.Node.
func (n *Node) Metrics() []admin.Metric {
	st, u, b := n.group.Status(), n.usage(), n.blocks.Usage()
	out := []admin.Metric{
		{Name: "dfs_raft_term", Help: "Term of the log.", Value: float64(st.Term)},
		{Name: "dfs_raft_applied_index", Help: "Newest log index applied here.", Value: float64(st.Applied)},
		{Name: "dfs_raft_commit_index", Help: "Newest log index known to be committed.", Value: float64(st.Commit)},
		{Name: "dfs_raft_first_index", Help: "Oldest log index kept here.", Value: float64(st.First)},
		{Name: "dfs_raft_released_index", Help: "Log index up to which every mount has taken changes in.", Value: float64(st.Released.Prefix)},
		{Name: "dfs_inodes", Help: "Inodes of the drive.", Value: float64(u.Inodes)},
		{Name: "dfs_file_bytes", Help: "Bytes of file data, copies not counted.", Value: float64(u.Blocks) * blockBytes},
		{Name: "dfs_extents", Help: "Extents of the drive.", Value: float64(u.Extents)},
		{Name: "dfs_below_target_bytes", Help: "Bytes with fewer copies than asked for.", Value: float64(u.BelowBlocks) * blockBytes},
		{Name: "dfs_defragmented_bytes_total", Help: "Bytes this peer has rewritten as fewer, larger extents.", Counter: true, Value: float64(n.gathered.Load())},
		{Name: "dfs_store_live_bytes", Help: "Bytes of live blocks in this peer's store.", Value: float64(b.Live)},
		{Name: "dfs_store_disk_bytes", Help: "Bytes the store's files take.", Value: float64(b.Disk)},
	}
	out = append(out, n.replicaMetrics()...)
	if n.fs != nil {
		alone := n.alone.Status()
		out = append(out,
			admin.Metric{Name: "dfs_dirty_bytes", Help: "Bytes written here and not yet placed.", Value: float64(n.fs.Dirty())},
			admin.Metric{Name: "dfs_delegated_inodes", Help: "Inodes this mount has to itself.", Value: float64(alone.Held)},
			admin.Metric{Name: "dfs_delegated_queue", Help: "Changes made in them that are not in the log yet.", Value: float64(alone.Queue)},
			admin.Metric{Name: "dfs_journal_bytes", Help: "Size of the journal of those.", Value: float64(n.journal.Size())})
	}
	for _, p := range n.roster.view().Peers {
		s := n.pool.Stats(p.ID)
		label := []admin.Label{{Name: "peer", Value: p.Name}}
		out = append(out,
			admin.Metric{Name: "dfs_peer_put_seconds", Help: "EWMA of an acknowledged block write, disk included.", Labels: label, Value: s.Put.Seconds()},
			admin.Metric{Name: "dfs_peer_rtt_seconds", Help: "Smoothed round-trip time.", Labels: label, Value: n.net.RTT(p.ID).Seconds()})
	}
	return out
}

const blockBytes = 512
