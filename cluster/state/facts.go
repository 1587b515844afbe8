package state

import (
	"time"

	"dfs/cluster"
	"dfs/net/wire"
)

// A Fact is one change of the facts. Encode makes the body of its proposal.
type Fact interface {
	fact() byte // the fact's number in the encoding; append-only
	append(b []byte) []byte
}

// TokenID names a join token; the secret is not in it.
type TokenID [8]byte

// Genesis is the cluster's beginning and its first member. Only the first one ever succeeds: fault.Exist.
type Genesis struct {
	ClusterID  [16]byte
	Name       string // for people
	CACert     []byte // DER
	WrappedKey []byte // the CA's key, wrapped with the cluster's secret
	Time       int64
	First      cluster.Member // State and Joined are set by the machine
}

// Token lets Uses more machines join until Expiry.
type Token struct {
	ID      TokenID
	Key     [32]byte // SHA-256 of the secret
	Expiry  int64    // UTC nanoseconds; 0 never
	Uses    uint32   // left
	Created int64    // UTC nanoseconds
}

// Admit makes Member a member by a token, whose uses it lowers by one. A machine that is a member already only
// has its name and addresses refreshed, whatever the token, so that a repeat does no harm.
// The result is the member as it is now (DecodeMember): its name may have got a number to be unique.
// fault.NotExist: no such token; fault.Refused: expired or used up; fault.Invalid: ID is not the key's.
type Admit struct {
	Token  TokenID
	Member cluster.Member
}

// Bits of SetMember.Mask.
const (
	SetName = 1 << iota
	SetAddr
	SetZone
	SetHost
	SetCapacity
	SetState
)

// SetMember changes facts of a member. The result is the member as it is now. fault.NotExist.
type SetMember struct {
	ID       cluster.PeerID
	Mask     uint32
	Name     string
	Addr     string
	Zone     string
	Host     string
	Capacity int64
	State    cluster.State // Alive, Draining, Maintenance, Dead or Lost
}

// Dead reports whether nobody can join by t at a time in UTC nanoseconds.
func (t Token) Dead(now int64) bool { return t.Uses == 0 || t.Expiry != 0 && t.Expiry <= now }

// RemoveMember ends a membership and the member's sessions. fault.NotExist; fault.Refused for the last member.
type RemoveMember struct{ ID cluster.PeerID }

// TokenCreate makes a token. fault.Exist.
type TokenCreate struct{ Token Token }

// TokenRevoke forgets a token. fault.NotExist.
type TokenRevoke struct{ ID TokenID }

// OpenSession begins the proposal's own session, which must be a new random number, and ends all earlier sessions
// of the peer: a daemon runs once. Incarnation must not be below an earlier session's (a start time will do), so
// that a belated opening does not end a newer session: fault.Stale. fault.Refused: Peer is no member (before
// Genesis anyone may).
type OpenSession struct {
	Peer        cluster.PeerID
	Incarnation uint64
}

// EndSession ends a session that will propose no more: its own, or that of a daemon that is gone. What it held is
// free. An unknown session is no error.
type EndSession struct{ Session uint64 }

// Limits of texts and byte strings in facts.
const (
	nameMax  = 64
	textMax  = 256
	bytesMax = 16 << 10
	membersN = 1024 // members at most; more is fault.Quota
	tokensN  = 1024 // tokens at most: fault.Quota

	deadTokens = int64(24 * time.Hour) // a token is remembered for so long after its expiry, while there is room
)

// Encode returns the body of a proposal.
func Encode(f Fact) []byte { return f.append([]byte{TagFacts, f.fact()}) }

// Decode is the inverse of Encode. fault.Invalid.
func Decode(body []byte) (Fact, error) {
	d := wire.NewReader(body)
	if tag := d.Byte(); d.Err() == nil && tag != TagFacts {
		return nil, invalid("tag %d is no fact", tag)
	}
	return decodeFact(d)
}

func decodeFact(d *wire.Reader) (Fact, error) {
	var f Fact
	switch n := d.Byte(); n {
	case Genesis{}.fact():
		f = Genesis{ClusterID: [16]byte(d.Fixed(16)), Name: d.String(nameMax), CACert: d.Bytes(bytesMax),
			WrappedKey: d.Bytes(bytesMax), Time: d.Int(), First: readMember(d)}
	case Admit{}.fact():
		f = Admit{Token: TokenID(d.Fixed(8)), Member: readMember(d)}
	case SetMember{}.fact():
		f = SetMember{ID: cluster.PeerID(d.Fixed(20)), Mask: d.Uint32(), Name: d.String(nameMax), Addr: d.String(textMax),
			Zone: d.String(nameMax), Host: d.String(textMax), Capacity: d.Int(), State: cluster.State(d.Byte())}
	case RemoveMember{}.fact():
		f = RemoveMember{ID: cluster.PeerID(d.Fixed(20))}
	case TokenCreate{}.fact():
		f = TokenCreate{Token: readToken(d)}
	case TokenRevoke{}.fact():
		f = TokenRevoke{ID: TokenID(d.Fixed(8))}
	case OpenSession{}.fact():
		f = OpenSession{Peer: cluster.PeerID(d.Fixed(20)), Incarnation: d.Uint()}
	case EndSession{}.fact():
		f = EndSession{Session: d.Uint()}
	default:
		return nil, invalid("fact %d is unknown", n)
	}
	if err := d.Done(); err != nil {
		return nil, err
	}
	return f, nil
}

// opens reports whether a body is an OpenSession: the one thing that an unknown session may propose.
func opens(body []byte) bool {
	return len(body) > 1 && body[0] == TagFacts && body[1] == OpenSession{}.fact()
}

func (Genesis) fact() byte      { return 1 }
func (Admit) fact() byte        { return 2 }
func (SetMember) fact() byte    { return 3 }
func (RemoveMember) fact() byte { return 4 }
func (TokenCreate) fact() byte  { return 5 }
func (TokenRevoke) fact() byte  { return 6 }
func (OpenSession) fact() byte  { return 7 }
func (EndSession) fact() byte   { return 8 }

func (f Genesis) append(b []byte) []byte {
	b = append(b, f.ClusterID[:]...)
	b = wire.AppendString(b, f.Name)
	b = wire.AppendBytes(b, f.CACert)
	b = wire.AppendBytes(b, f.WrappedKey)
	b = wire.AppendInt(b, f.Time)
	return AppendMember(b, f.First)
}

func (f Admit) append(b []byte) []byte { return AppendMember(append(b, f.Token[:]...), f.Member) }

func (f SetMember) append(b []byte) []byte {
	b = append(b, f.ID[:]...)
	b = wire.AppendUint(b, uint64(f.Mask))
	b = wire.AppendString(b, f.Name)
	b = wire.AppendString(b, f.Addr)
	b = wire.AppendString(b, f.Zone)
	b = wire.AppendString(b, f.Host)
	b = wire.AppendInt(b, f.Capacity)
	return append(b, byte(f.State))
}

func (f RemoveMember) append(b []byte) []byte { return append(b, f.ID[:]...) }
func (f TokenCreate) append(b []byte) []byte  { return appendToken(b, f.Token) }
func (f TokenRevoke) append(b []byte) []byte  { return append(b, f.ID[:]...) }

func (f OpenSession) append(b []byte) []byte {
	return wire.AppendUint(append(b, f.Peer[:]...), f.Incarnation)
}

func (f EndSession) append(b []byte) []byte { return wire.AppendUint(b, f.Session) }

// AppendMember appends m; DecodeMember is its inverse.
func AppendMember(b []byte, m cluster.Member) []byte {
	b = append(b, m.ID[:]...)
	b = wire.AppendBytes(b, m.Key)
	b = wire.AppendString(b, m.Name)
	b = wire.AppendString(b, m.Addr)
	b = wire.AppendString(b, m.Zone)
	b = wire.AppendString(b, m.Host)
	b = wire.AppendInt(b, m.Capacity)
	b = append(b, byte(m.State))
	return wire.AppendUint(b, m.Joined)
}

// DecodeMember reads what AppendMember wrote. fault.Invalid.
func DecodeMember(b []byte) (cluster.Member, error) {
	d := wire.NewReader(b)
	m := readMember(d)
	return m, d.Done()
}

func readMember(d *wire.Reader) cluster.Member {
	m := cluster.Member{ID: cluster.PeerID(d.Fixed(20))}
	if k := d.Bytes(32); len(k) > 0 {
		m.Key = append(m.Key, k...)
	}
	m.Name, m.Addr, m.Zone, m.Host = d.String(nameMax), d.String(textMax), d.String(nameMax), d.String(textMax)
	m.Capacity, m.State, m.Joined = d.Int(), cluster.State(d.Byte()), d.Uint()
	return m
}

func appendToken(b []byte, t Token) []byte {
	b = append(b, t.ID[:]...)
	b = append(b, t.Key[:]...)
	b = wire.AppendInt(b, t.Expiry)
	b = wire.AppendUint(b, uint64(t.Uses))
	return wire.AppendInt(b, t.Created)
}

func readToken(d *wire.Reader) Token {
	return Token{ID: TokenID(d.Fixed(8)), Key: [32]byte(d.Fixed(32)), Expiry: d.Int(), Uses: d.Uint32(), Created: d.Int()}
}
