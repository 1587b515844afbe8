package node

import (
	"context"
	"crypto/ed25519"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"dfs/blockstore/segment"
	"dfs/cluster"
	"dfs/cluster/fault"
	"dfs/cluster/identity"
	"dfs/cluster/raft"
	"dfs/cluster/state"
)

// The parts of a data directory belong together: an identity, the log of that peer's votes and the blocks that others
// believe it to hold. A peer on another's log would break its promises, one on an empty log would forget
// them, and one on other blocks would lose what it is counted for. So each part says whose it is, partsFile says
// that they were all there once, and a peer starts on all of them or not at all. The state is no such part: it
// is made anew from the log.

// partsFile is what a data directory says of its parts once they are there.
const partsFile = "parts.json"

type parts struct {
	Schema int            `json:"schema"`
	Peer   cluster.PeerID `json:"peer"`
	Store  string         `json:"store"` // of the block store, in hex
	Sum    string         `json:"sum"`   // CRC-32C of the two, in hex

	rotten bool // the file is there, and cannot be believed
}

func (p parts) sum() string {
	return fmt.Sprintf("%08x", crc32.Checksum([]byte(p.Peer.String()+p.Store), crc32.MakeTable(crc32.Castagnoli)))
}

// misfit is a data directory that is not one peer's whole directory.
type misfit struct{ error }

func (m *misfit) Unwrap() error { return m.error }

func misfits(next, format string, args ...any) error {
	return &misfit{fault.Advise(fault.New("data directory", fault.Conflict, format, args...), "%s", next)}
}

// readParts returns what the directory says of its parts; none where nobody has lived yet.
func (n *Node) readParts() (p parts, marked bool, err error) {
	text, err := os.ReadFile(n.dir(partsFile))
	if errors.Is(err, fs.ErrNotExist) {
		return p, false, nil
	}
	if err != nil {
		return p, false, fault.Because("data directory", fault.Permission, err)
	}
	if err := json.Unmarshal(text, &p); err != nil || p.Schema != 1 || p.Sum != p.sum() {
		n.log.Warn("what the data directory says of its parts has rotted: it is written anew if they all belong here", "file", n.dir(partsFile))
		return parts{rotten: true}, true, nil // all parts must be there, and say themselves whose they are
	}
	return p, true, nil
}

// markParts notes that all parts are there. Whatever is missing from now on was taken away.
func (n *Node) markParts() error {
	want := parts{Schema: 1, Peer: n.id.ID(), Store: storeText(n.blocks.Identity())}
	want.Sum = want.sum()
	if p, marked, err := n.readParts(); err != nil || marked && p == want {
		return err
	}
	text, err := json.Marshal(want)
	if err == nil {
		err = identity.WriteFile(n.cfg.Data, partsFile, append(text, '\n'))
	}
	return fault.Wrap("data directory", err)
}

func storeText(id segment.Identity) string { return hex.EncodeToString(id.Store[:]) }

// anew is the step where something is gone that nobody can bring back.
func (n *Node) anew(p cluster.PeerID) string {
	return fmt.Sprintf("put it back; or give this peer up: rm -r %s, dfsd join TOKEN --data %s, and dfsctl peer remove %s on another peer",
		n.cfg.Data, n.cfg.Data, p.Short())
}

// checkParts refuses a directory whose parts are not all this peer's, or not all there.
func (n *Node) checkParts() error {
	self := n.id.ID()
	p, marked, err := n.readParts()
	if err != nil {
		return err
	}
	if marked && !p.rotten && p.Peer != self {
		return misfits(fmt.Sprintf("put the identity of %s back into %s", p.Peer.Short(), n.dir("identity")),
			"%s is the directory of peer %s, but the identity in it is that of %s", n.cfg.Data, p.Peer.Short(), self.Short())
	}
	name, owner, err := raft.OwnerOf(n.dir("log"))
	switch {
	case err != nil:
		return err
	case owner.IsZero() && marked:
		return misfits(n.anew(self), "the log of peer %s is missing from %s: it may have voted, and without its log it would not know how",
			self.Short(), n.dir("log"))
	case !owner.IsZero() && owner != self:
		return misfits("put each peer's log back into its own data directory",
			"%s is the log of peer %s, and this is peer %s", n.dir("log"), owner.Short(), self.Short())
	case !owner.IsZero() && name != n.id.Cluster.String():
		return misfits("put the log back that belongs here", "%s is a log of another cluster: %s, and this peer is of %s", n.dir("log"), name, n.id.Cluster)
	}
	return n.checkBlocks(p, marked)
}

func (n *Node) checkBlocks(p parts, marked bool) error {
	self := n.id.ID()
	store, err := segment.IdentityOf(n.dir("blocks"))
	if errors.Is(err, fault.NotExist) {
		if marked {
			return misfits(n.anew(self), "the blocks of peer %s (store %.8s) are missing from %s", self.Short(), p.Store, n.dir("blocks"))
		}
		return nil
	}
	if err != nil {
		return err
	}
	const next = "put each peer's blocks back into its own data directory"
	switch {
	case store.Cluster != n.id.Cluster:
		return misfits(next, "%s are blocks of another cluster: %s, and this peer is of %s",
			n.dir("blocks"), identity.ClusterID(store.Cluster), n.id.Cluster)
	case store.Owner != "" && store.Owner != self.String():
		return misfits(next, "%s are the blocks of peer %.7s, and this is peer %s", n.dir("blocks"), store.Owner, self.Short())
	case marked && !p.rotten && storeText(store) != p.Store:
		return misfits(n.anew(self), "%s is store %.8s, but peer %s keeps its blocks in store %.8s",
			n.dir("blocks"), storeText(store), self.Short(), p.Store)
	}
	return nil
}

// checkState refuses the state of another cluster: this cluster's log must not be played upon it.
func (n *Node) checkState() error {
	r, _ := n.machine.At(0)
	defer r.Close()
	g, err := state.NewView(r).Genesis()
	switch {
	case errors.Is(err, fault.NotExist):
		return nil
	case err != nil:
		return err
	case g.ClusterID != n.id.Cluster:
		return misfits("put the state back that belongs here, or rm -r "+n.dir("state")+": it is made anew from the log",
			"%s is the state of another cluster: %s, and this peer is of %s", n.dir("state"), identity.ClusterID(g.ClusterID), n.id.Cluster)
	}
	return nil
}

// unborn clears away what is left of a peer that was killed while it created a cluster: nobody knows of that cluster. It
// refuses to where a peer has lived.
func (n *Node) unborn() error {
	if n.cfg.Existing {
		return misfits("put the directory back; or dfsd join TOKEN --data "+n.cfg.Data+" with a new token",
			"the peer that lived in %s is gone from there", n.cfg.Data)
	}
	p, marked, err := n.readParts()
	if err != nil {
		return err
	}
	if marked {
		return misfits(n.anew(p.Peer), "%s is the directory of peer %s, but its identity is missing from %s",
			n.cfg.Data, p.Peer.Short(), n.dir("identity"))
	}
	_, owner, err := raft.OwnerOf(n.dir("log"))
	if err != nil || owner.IsZero() {
		return err
	}
	used, err := segment.Used(n.dir("blocks"))
	key, kerr := identity.Key(n.dir("identity"))
	if err = errors.Join(err, kerr); err != nil {
		return err
	}
	if used || owner != cluster.IDOf(key.Public().(ed25519.PublicKey)) {
		return misfits("put it back; or rm -r "+n.cfg.Data, "%s holds the log of peer %s, but no identity", n.cfg.Data, owner.Short())
	}
	n.log.Info("clearing away a cluster that was never finished", "data", n.cfg.Data)
	return errors.Join(os.RemoveAll(n.dir("log")), os.RemoveAll(n.dir("state")), os.RemoveAll(n.dir("blocks")))
}

const guardEvery = 500 * time.Millisecond

// guardParts watches that the directory this peer was opened on stays in its place. A file that is removed while
// it is open goes on working until the process ends, and everything in it is lost then: the peer must not go
// on promising.
func (n *Node) guardParts(ctx context.Context) error {
	tick := time.NewTicker(guardEvery)
	defer tick.Stop()
	for {
		if err := n.inPlace(); err != nil {
			return err
		}
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
	}
}

// inPlace returns a misfit if a part is not there any more, or is another one, since it was looked at first.
func (n *Node) inPlace() error {
	for _, place := range []string{partsFile, filepath.Join("log", "id"), filepath.Join("blocks", "ID"), "state", "identity"} {
		info, err := os.Stat(n.dir(place))
		old := n.places[place]
		switch {
		case err == nil && old == nil:
			n.places[place] = info
		case err == nil && !os.SameFile(old, info):
			return misfits(n.anew(n.id.ID()), "%s was replaced under this peer", n.dir(place))
		case errors.Is(err, fs.ErrNotExist) && old != nil:
			return misfits(n.anew(n.id.ID()), "%s was removed under this peer", n.dir(place))
		}
	}
	return nil
}
