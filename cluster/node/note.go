package node

import (
	"dfs/fs/meta"
	"dfs/net/wire"
)

// note is what each peer tells the leader now and then, with a lease report: how far its duties to the log are done.
type note struct {
	Session   uint64
	Taken     uint64     // its kernel had taken in all changes up to here before Held was read
	Synced    uint64     // everything this peer stores for commits up to here is on its disk
	Confirmed uint64     // everything freed up to here is deleted from its store
	Mounted   bool       // this peer has a mount that may hold files open
	Many      bool       // more than heldMax: Held is empty and says nothing
	Held      []meta.Ino // files without a name that its mount holds open; complete as of Taken
}

const heldMax = 4096 // a mount that holds more says Many: then nothing is reaped

func (n note) encode() []byte {
	b := wire.AppendUint(nil, n.Session)
	b = wire.AppendUint(b, n.Taken)
	b = wire.AppendUint(b, n.Synced)
	b = wire.AppendUint(b, n.Confirmed)
	b = wire.AppendBool(wire.AppendBool(b, n.Mounted), n.Many)
	held := n.Held[:min(len(n.Held), heldMax)]
	b = wire.AppendUint(b, uint64(len(held)))
	for _, ino := range held {
		b = wire.AppendUint(b, uint64(ino))
	}
	return b
}

func decodeNote(b []byte) (note, error) {
	r := wire.NewReader(b)
	n := note{Session: r.Uint(), Taken: r.Uint(), Synced: r.Uint(), Confirmed: r.Uint(), Mounted: r.Bool(), Many: r.Bool()}
	for range r.Count(heldMax) {
		n.Held = append(n.Held, meta.Ino(r.Uint()))
	}
	return n, r.Done()
}
