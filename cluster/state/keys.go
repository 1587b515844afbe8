package state

import (
	"encoding/binary"

	"dfs/cluster"
)

// Keys of the facts. All numbers are big-endian, so that order of keys is order of numbers.
//
//	01 'a'                  applied index
//	01 'g'                  genesis
//	01 'i'                  a snapshot is being installed
//	01 'm' peer             member
//	01 't' token            token
//	01 's' session          session
//	01 'r' session seq      result
//	01 'e' index session    session that ended at index: it is never opened again
var (
	appliedKey    = []byte{TagFacts, 'a'}
	genesisKey    = []byte{TagFacts, 'g'}
	incompleteKey = []byte{TagFacts, 'i'}
	memberPrefix  = []byte{TagFacts, 'm'}
	tokenPrefix   = []byte{TagFacts, 't'}
	sessionPrefix = []byte{TagFacts, 's'}
)

func memberKey(id cluster.PeerID) []byte { return append([]byte{TagFacts, 'm'}, id[:]...) }

func tokenKey(id TokenID) []byte { return append([]byte{TagFacts, 't'}, id[:]...) }

func sessionKey(s uint64) []byte { return binary.BigEndian.AppendUint64([]byte{TagFacts, 's'}, s) }

func resultsOf(s uint64) []byte { return binary.BigEndian.AppendUint64([]byte{TagFacts, 'r'}, s) }

func resultKey(s, seq uint64) []byte { return binary.BigEndian.AppendUint64(resultsOf(s), seq) }

// numberAt returns the number that follows a key's two-byte prefix.
func numberAt(k []byte) uint64 {
	if len(k) < 10 {
		return 0
	}
	return binary.BigEndian.Uint64(k[2:10])
}
