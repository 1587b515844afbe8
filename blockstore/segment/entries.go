package segment

import "dfs/blockstore"

// entriesMax is how many entries of the index are kept decoded, some 200 bytes each: 64 MiB of data in 4 KiB extents, 64 GiB
// in large ones.
const entriesMax = 16384

// entryCache keeps what the index said of extents that were read lately; nil: that it has none. The store's mu guards it. What
// is not in it is in the index or in neither.
type entryCache struct {
	known map[blockstore.ID]*entry
	moves uint64 // counts sets: what was read from the index before one must not come after it
}

// set notes what has become of id.
func (c *entryCache) set(id blockstore.ID) {
	c.moves++
	delete(c.known, id)
}

// learn notes what the index said of id, unless something has changed since moves was read.
func (c *entryCache) learn(id blockstore.ID, e *entry, moves uint64) {
	if c.moves != moves {
		return
	}
	if c.known == nil || len(c.known) >= entriesMax {
		c.known = map[blockstore.ID]*entry{} // all go at once: what is in use is soon back
	}
	c.known[id] = e
}
