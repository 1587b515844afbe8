package identity

import (
	"crypto/rand"
	"crypto/sha256"
	"fmt"
	"log/slog"
	"strings"
	"time"
	"unicode"

	"dfs/cluster/fault"
	"dfs/net/wire"
)

// TokenID names a token to the cluster; it is no secret.
type TokenID [8]byte

// String returns 13 lower-case characters.
func (id TokenID) String() string { return text.EncodeToString(id[:]) }

// ParseTokenID is the inverse of String. fault.Invalid.
func ParseTokenID(s string) (TokenID, error) {
	b, err := text.DecodeString(s)
	if err != nil || len(b) != len(TokenID{}) {
		return TokenID{}, fault.New("parse token id", fault.Invalid, "%q", s)
	}
	return TokenID(b), nil
}

// Token lets its holder become a member. Formatting shows only its id; Text is the real one.
type Token struct {
	Cluster ClusterID
	CAHash  [32]byte // see CAHash
	ID      TokenID
	Secret  [16]byte
	Expiry  time.Time // whole seconds; zero is never
	Addrs   []string  // HOST:PORT of members, at most 3
}

// Limits of a token's text.
const (
	tokenPrefix  = "dfs1"
	tokenVersion = 1
	tokenAddrs   = 3
	tokenAddrMax = 255
	tokenTextMax = 2048
	tokenSum     = 4 // bytes of SHA-256, so that a typing error is not taken for a refusal
)

// NewToken returns a token with a random id and secret. At most the first three addrs are kept.
func (i *Identity) NewToken(expiry time.Time, addrs []string) Token {
	t := Token{Cluster: i.Cluster, Expiry: expiry.Truncate(time.Second), Addrs: addrs[:min(len(addrs), tokenAddrs)]}
	t.CAHash, _ = CAHash(i.ca)
	rand.Read(t.ID[:])
	rand.Read(t.Secret[:])
	return t
}

// Key returns what the cluster stores of the secret: its SHA-256.
func (t Token) Key() [32]byte { return sha256.Sum256(t.Secret[:]) }

// Text returns the token as people hand it on. It is secret.
func (t Token) Text() string {
	b := []byte{tokenVersion}
	b = append(b, t.Cluster[:]...)
	b = append(b, t.CAHash[:]...)
	b = append(b, t.ID[:]...)
	b = append(b, t.Secret[:]...)
	expiry := uint64(0)
	if !t.Expiry.IsZero() {
		expiry = uint64(max(t.Expiry.Unix(), 1))
	}
	b = wire.AppendUint(b, expiry)
	b = wire.AppendUint(b, uint64(len(t.Addrs)))
	for _, a := range t.Addrs {
		b = wire.AppendString(b, a)
	}
	sum := sha256.Sum256(b)
	return tokenPrefix + text.EncodeToString(append(b, sum[:tokenSum]...))
}

// ParseToken is the inverse of Text. White space anywhere and capitals are forgiven. fault.Invalid for what is no
// token or was damaged on the way, fault.Unsupported for a newer version's.
func ParseToken(s string) (Token, error) {
	t, err := parseToken(s)
	return t, fault.Advise(err, "%s", newToken)
}

// newToken is the advice to those whose token does not work.
const newToken = "get a token: `dfsctl token create` on a machine of the cluster prints one"

func parseToken(s string) (Token, error) {
	bad := func(why string) (Token, error) { return Token{}, fault.New("join token", fault.Invalid, "%s", why) }
	if len(s) > tokenTextMax {
		return bad("too long to be one")
	}
	s = strings.ToLower(strings.Map(func(r rune) rune {
		if unicode.IsSpace(r) {
			return -1
		}
		return r
	}, s))
	s, ok := strings.CutPrefix(s, tokenPrefix)
	if !ok {
		return bad("a token begins with " + tokenPrefix)
	}
	const damaged = "mistyped or cut off: copy it again, from " + tokenPrefix + " to its last character"
	b, err := text.DecodeString(s)
	if err != nil || len(b) <= tokenSum {
		return bad(damaged)
	}
	b, got := b[:len(b)-tokenSum], b[len(b)-tokenSum:]
	if sum := sha256.Sum256(b); string(sum[:tokenSum]) != string(got) {
		return bad(damaged)
	}
	if b[0] != tokenVersion {
		return Token{}, fault.New("join token", fault.Unsupported, "made by a newer version of dfs: update this machine's")
	}
	return parseTokenFields(b[1:])
}

func parseTokenFields(b []byte) (Token, error) {
	r := wire.NewReader(b)
	t := Token{
		Cluster: ClusterID(r.Fixed(16)[:16]),
		CAHash:  [32]byte(r.Fixed(32)[:32]),
		ID:      TokenID(r.Fixed(8)[:8]),
		Secret:  [16]byte(r.Fixed(16)[:16]),
	}
	if expiry := r.Uint(); expiry > 1<<40 {
		return Token{}, fault.New("join token", fault.Invalid, "expiry %d", expiry)
	} else if expiry != 0 {
		t.Expiry = time.Unix(int64(expiry), 0).UTC()
	}
	for range r.Count(tokenAddrs) {
		t.Addrs = append(t.Addrs, r.String(tokenAddrMax))
	}
	if err := r.Done(); err != nil {
		return Token{}, fault.Because("join token", fault.Invalid, err)
	}
	return t, nil
}

// String shows the id only.
func (t Token) String() string { return "token " + t.ID.String() + " (" + redacted + ")" }

// GoString is String.
func (t Token) GoString() string { return t.String() }

// Format prints String whatever the verb.
func (t Token) Format(f fmt.State, _ rune) { f.Write([]byte(t.String())) }

// LogValue logs String.
func (t Token) LogValue() slog.Value { return slog.StringValue(t.String()) }

// MarshalText is String, so that no encoder finds the fields.
func (t Token) MarshalText() ([]byte, error) { return []byte(t.String()), nil }
