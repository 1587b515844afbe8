package meta

import (
	"crypto/sha256"
	"encoding/binary"

	"dfs/blockstore"
	"dfs/cluster"
	"dfs/cluster/state"
)

// Keys, each after the part's tag. Numbers are big-endian: the order of keys is the order of numbers.
//
//	'C'                          counters
//	'M'                          members that count
//	'i' ino                      inode
//	'd' dir cursor               dentry: type, inode, name
//	'x' ino end                  extent that ends at byte end
//	'a' ino name                 extended attribute: its value
//	't' ino gen                  a truncation whose extents are not all dropped: where it cut
//	't' ino 0                    where Trim goes on
//	'o' ino                      orphan: log index of its last name's end
//	'g' session ino              grant
//	'q' session                  the newest op of its batches that was applied
//	'h' copies peers             histogram: extents and blocks of this wish on this set of peers
//	'v' index op n               volatile commit (n 0), and what it replaced (all n)
//	'w' ino index op             the same commit by inode: its peers
//	'f' peer index op n          freed spans that the peer has not confirmed
//	'k' ino                      locks: who holds what, and who waits
//	'l' session                  how many of them a session has
//	'l' session owner ino        what of them an owner has on an inode
//	's' extent peer              how many records place blocks of a shared extent on a peer
//
// Extents are keyed by their end, so that the first one at or after an offset is the first that overlaps it.
//
// A dentry's cursor is 54 bits of its name's hash, plus one, and then 8 bits that number the names of one hash.
// Names of one hash are found by probing these numbers upwards until one is absent; so a name that goes while a
// later one stays leaves an empty value behind. Of the 54 bits the first 46 are those of the name without its case, the rest the
// name's own: names that differ in case only lie side by side. In directories older than that all 54 are of the name as it is.
const tag = state.TagMeta

var (
	countersKey = []byte{tag, 'C'}
	membersKey  = []byte{tag, 'M'}
)

func be(b []byte, n uint64) []byte { return binary.BigEndian.AppendUint64(b, n) }

func number(k []byte, at int) uint64 {
	if len(k) < at+8 {
		return 0
	}
	return binary.BigEndian.Uint64(k[at:])
}

func prefix(kind byte) []byte { return append(make([]byte, 0, 40), tag, kind) }

func inodeKey(i Ino) []byte            { return be(prefix('i'), uint64(i)) }
func dirPrefix(dir Ino) []byte         { return be(prefix('d'), uint64(dir)) }
func dentKey(dir Ino, c Cursor) []byte { return be(dirPrefix(dir), uint64(c)) }
func extentsOf(i Ino) []byte           { return be(prefix('x'), uint64(i)) }
func extentKey(i Ino, end int64) []byte {
	return be(extentsOf(i), uint64(end))
}
func xattrsOf(i Ino) []byte                 { return be(prefix('a'), uint64(i)) }
func xattrKey(i Ino, name string) []byte    { return append(xattrsOf(i), name...) }
func cutsOf(i Ino) []byte                   { return be(prefix('t'), uint64(i)) }
func cutKey(i Ino, gen uint64) []byte       { return be(cutsOf(i), gen) }
func orphanKey(i Ino) []byte                { return be(prefix('o'), uint64(i)) }
func grantsOf(session uint64) []byte        { return be(prefix('g'), session) }
func grantKey(session uint64, i Ino) []byte { return be(grantsOf(session), uint64(i)) }

func uptoKey(session uint64) []byte { return be(prefix('q'), session) }

func volatileKey(index uint64, op uint32, n uint16) []byte {
	b := be(prefix('v'), index)
	b = binary.BigEndian.AppendUint32(b, op)
	return binary.BigEndian.AppendUint16(b, n)
}

func volatilesOf(i Ino) []byte { return be(prefix('w'), uint64(i)) }

func volatileByIno(i Ino, index uint64, op uint32) []byte {
	return binary.BigEndian.AppendUint32(be(volatilesOf(i), index), op)
}

func freedOf(p cluster.PeerID) []byte { return append(prefix('f'), p[:]...) }

func freedKey(p cluster.PeerID, index uint64, op uint32, n uint16) []byte {
	b := be(freedOf(p), index)
	b = binary.BigEndian.AppendUint32(b, op)
	return binary.BigEndian.AppendUint16(b, n)
}

func sharesOf(id blockstore.ID) []byte { return append(prefix('s'), id[:]...) }

func shareKey(id blockstore.ID, p cluster.PeerID) []byte { return append(sharesOf(id), p[:]...) }

// firstCursor returns the first cursor that name may have in a directory, which is folded or not.
func firstCursor(folded bool, name string) Cursor { return Cursor(hashName(folded, name)>>10+1) << 8 }

// variants returns the first cursor that any name may have which differs from name in case only, and the one behind the last.
func variants(name string) (from, to Cursor) {
	const step = 1 << (64 - foldBits - 10)
	first := hashName(false, Fold(name)) >> 10 &^ (step - 1)
	return Cursor(first+1) << 8, Cursor(first+step+1) << 8
}

// foldBits is how many bits of a hash are without case.
const foldBits = 46

// hashName spreads names, by its first 54 bits. It is a variable so that a test can make names collide.
var hashName = func(folded bool, name string) uint64 {
	if !folded {
		sum := sha256.Sum256([]byte(name))
		return binary.BigEndian.Uint64(sum[:])
	}
	sum := sha256.Sum256([]byte(Fold(name)))
	own := uint64(14695981039346656037) // FNV-1a
	for i := range len(name) {
		own = (own ^ uint64(name[i])) * 1099511628211
	}
	return binary.BigEndian.Uint64(sum[:])>>(64-foldBits)<<(64-foldBits) | own>>foldBits
}
