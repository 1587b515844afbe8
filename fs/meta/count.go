package meta

import (
	"bytes"
	"slices"

	"dfs/blockstore"
	"dfs/cluster"
	"dfs/cluster/placement"
	"dfs/net/wire"
)

// peersMax bounds what one list of peers may hold.
const peersMax = 1024

// counters are the drive's totals and the next inode's number.
type counters struct {
	next    Ino
	inodes  uint64
	extents uint64
	blocks  uint64
	shared  blockstore.ID // the youngest extent that ever was; zero: none
}

func readCounters(r reader) (c counters, err error) {
	b, ok, err := r.Get(countersKey)
	if err != nil || !ok {
		return counters{next: Root + 1}, err
	}
	d := wire.NewReader(b)
	c = counters{next: Ino(d.Uint()), inodes: d.Uint(), extents: d.Uint(), blocks: d.Uint()}
	if d.Err() == nil && d.Len() > 0 {
		c.shared = blockstore.ID(d.Fixed(len(c.shared)))
	}
	return c, corrupt("counters", d.Done())
}

func (c counters) encode() []byte {
	b := appendUints(nil, uint64(c.next), c.inodes, c.extents, c.blocks)
	if c.shared != (blockstore.ID{}) {
		b = append(b, c.shared[:]...)
	}
	return b
}

// bucket counts the extents, and their blocks, that were written under one wish and lie on one set of peers. From
// the buckets follows how much lies below its target, whoever comes and goes.
type bucket struct {
	copies  uint8
	peers   []cluster.PeerID // sorted
	extents uint64
	blocks  uint64
}

// state returns how many replicas there are on members, and how many there should be.
func (b bucket) state(members []cluster.PeerID) (have, want int) {
	for _, p := range b.peers {
		if isMember(members, p) {
			have++
		}
	}
	return have, placement.Target(placement.Wish{Copies: b.copies}, len(members))
}

func bucketKey(copies uint8, peers []cluster.PeerID) []byte {
	b := append(prefix('h'), copies)
	for _, p := range sortPeers(slices.Clone(peers)) {
		b = append(b, p[:]...)
	}
	return b
}

func eachBucket(r reader, fn func(bucket)) error {
	var failed error
	err := r.Scan(prefix('h'), nil, func(k, v []byte) bool {
		d := wire.NewReader(v)
		b := bucket{copies: k[2], extents: d.Uint(), blocks: d.Uint()}
		for k = k[3:]; len(k) >= 20; k = k[20:] {
			b.peers = append(b.peers, cluster.PeerID(k[:20]))
		}
		failed = corrupt("histogram", d.Done())
		fn(b)
		return failed == nil
	})
	if err == nil {
		err = failed
	}
	return err
}

// readMembers returns the members that count, sorted: all but the lost.
func readMembers(r reader) ([]cluster.PeerID, error) {
	b, ok, err := r.Get(membersKey)
	if err != nil || !ok {
		return nil, err
	}
	d := wire.NewReader(b)
	ps := readPeers(d, peersMax)
	return ps, corrupt("members", d.Done())
}

func isMember(members []cluster.PeerID, p cluster.PeerID) bool {
	_, ok := slices.BinarySearchFunc(members, p, cluster.PeerID.Compare)
	return ok
}

// sortPeers sorts ps in place and returns it without repeats.
func sortPeers(ps []cluster.PeerID) []cluster.PeerID {
	slices.SortFunc(ps, cluster.PeerID.Compare)
	return slices.Compact(ps)
}

// counting gathers what an op adds to the counters and buckets, and writes it once.
type counting struct {
	now     counters
	loaded  bool
	changed bool
	buckets map[string]bucket // differences, modulo 1<<64
}

// add counts n extents (1, or -1 as an unsigned number) of rec's shape.
func (c *counting) add(rec record, n uint64) {
	if c.buckets == nil {
		c.buckets = map[string]bucket{}
	}
	k := string(bucketKey(rec.copies, rec.Layout.Peers))
	b := c.buckets[k]
	b.extents += n
	b.blocks += n * uint64(rec.Span.Count)
	c.buckets[k] = b
}

func (c *counting) write(tx txn) error {
	for k, diff := range c.buckets {
		if diff.extents == 0 && diff.blocks == 0 {
			continue
		}
		key := []byte(k)
		v, ok, err := tx.Get(key)
		if err != nil {
			return err
		}
		if ok {
			d := wire.NewReader(v)
			diff.extents += d.Uint()
			diff.blocks += d.Uint()
			if err := d.Done(); err != nil {
				return corrupt("histogram", err)
			}
		}
		if diff.extents == 0 {
			err = tx.Delete(key)
		} else {
			next := appendUints(nil, diff.extents, diff.blocks)
			if bytes.Equal(next, v) {
				continue
			}
			err = tx.Set(key, next)
		}
		if err != nil {
			return err
		}
	}
	if c.changed {
		return tx.Set(countersKey, c.now.encode())
	}
	return nil
}
