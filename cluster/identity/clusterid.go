package identity

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/base32"

	"dfs/cluster/fault"
)

// ClusterID names a cluster: 128 random bits.
type ClusterID [16]byte

// text is the base32 of ids and tokens: lower case, without characters that are easily confused.
var text = base32.NewEncoding("abcdefghijkmnpqrstuvwxyz23456789").WithPadding(base32.NoPadding)

// NewClusterID returns a random id.
func NewClusterID() (id ClusterID) {
	rand.Read(id[:])
	return id
}

// String returns 26 lower-case characters.
func (id ClusterID) String() string { return text.EncodeToString(id[:]) }

// IsZero reports whether id names no cluster.
func (id ClusterID) IsZero() bool { return id == ClusterID{} }

// MarshalText and UnmarshalText let ids travel in JSON as their String.
func (id ClusterID) MarshalText() ([]byte, error) { return []byte(id.String()), nil }

func (id *ClusterID) UnmarshalText(b []byte) (err error) {
	*id, err = ParseClusterID(string(b))
	return err
}

// ParseClusterID is the inverse of String. fault.Invalid.
func ParseClusterID(s string) (ClusterID, error) {
	b, err := text.DecodeString(s)
	if err != nil || len(b) != len(ClusterID{}) {
		return ClusterID{}, fault.New("parse cluster id", fault.Invalid, "%q", s)
	}
	return ClusterID(b), nil
}

// Name returns two words for people, always the same for an id. Two clusters may share a name.
func (id ClusterID) Name() string {
	sum := sha256.Sum256(id[:])
	return colours[int(sum[0])%len(colours)] + "-" + animals[int(sum[1])%len(animals)]
}

var colours = [64]string{
	"amber", "apricot", "aqua", "ash", "auburn", "azure", "beige", "blue",
	"bright", "bronze", "brown", "calm", "cedar", "cherry", "clear", "cobalt",
	"copper", "coral", "cream", "crimson", "dusky", "early", "ebony", "emerald",
	"fern", "flint", "gentle", "gold", "green", "grey", "hazel", "indigo",
	"ivory", "jade", "keen", "lemon", "lilac", "lime", "linen", "lively",
	"maple", "merry", "mint", "misty", "navy", "nimble", "olive", "opal",
	"pearl", "pine", "plum", "quiet", "red", "rose", "ruby", "rustic",
	"sandy", "silver", "slate", "steady", "sunny", "teal", "violet", "white",
}

var animals = [64]string{
	"adder", "badger", "bat", "bear", "beaver", "bee", "bison", "boar",
	"camel", "carp", "cat", "cod", "crab", "crane", "crow", "deer",
	"dingo", "dove", "duck", "eagle", "eel", "egret", "elk", "falcon",
	"finch", "fox", "frog", "gecko", "goat", "goose", "hare", "hawk",
	"heron", "ibex", "jay", "koala", "lark", "lemur", "lion", "llama",
	"lynx", "marten", "mole", "moose", "moth", "newt", "otter", "owl",
	"panda", "perch", "puffin", "quail", "raven", "robin", "seal", "shrew",
	"snail", "stork", "swan", "tapir", "toad", "trout", "whale", "wren",
}
