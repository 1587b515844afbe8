package identity

import (
	"crypto/ed25519"
	"crypto/hmac"
	"crypto/sha256"
	"crypto/tls"

	"dfs/cluster"
	"dfs/cluster/fault"
	"dfs/net/wire"
)

// Protocol is admission's name in ALPN, the same as net/peer's.
const Protocol = "dfs-join/1"

const (
	kindRequest = wire.KindJoin
	kindReply   = wire.KindJoin + 1
)

// JoinRequest is what a machine that holds a token wants to be.
type JoinRequest struct {
	TokenID   TokenID
	PublicKey ed25519.PublicKey
	Name      string // for people; may get a number to be unique
	Addr      string // HOST:PORT of transport and gossip; an unspecified host is replaced by the caller's address
	Zone      string
	Host      string
	Capacity  int64
}

// ID returns the joiner's id.
func (r *JoinRequest) ID() cluster.PeerID { return cluster.IDOf(r.PublicKey) }

// Limits of text in requests, in bytes.
const (
	nameMax = 255
	addrMax = 261 // a host name, a colon, a port
)

func (r *JoinRequest) append(b []byte) []byte {
	b = append(b, r.TokenID[:]...)
	b = append(b, r.PublicKey...)
	b = wire.AppendString(b, r.Name)
	b = wire.AppendString(b, r.Addr)
	b = wire.AppendString(b, r.Zone)
	b = wire.AppendString(b, r.Host)
	return wire.AppendInt(b, r.Capacity)
}

func (r *JoinRequest) decode(b []byte) error {
	d := wire.NewReader(b)
	*r = JoinRequest{
		TokenID:   TokenID(d.Fixed(8)[:8]),
		PublicKey: ed25519.PublicKey(d.Fixed(ed25519.PublicKeySize)),
		Name:      d.String(nameMax),
		Addr:      d.String(addrMax),
		Zone:      d.String(nameMax),
		Host:      d.String(nameMax),
		Capacity:  d.Int(),
	}
	if err := d.Done(); err != nil {
		return err
	}
	if r.Capacity < 0 {
		return fault.New("join request", fault.Invalid, "capacity %d", r.Capacity)
	}
	return nil
}

// proven is a JoinRequest with its proofs, valid on one connection only.
type proven struct {
	claims []byte // encoded JoinRequest
	proof  [sha256.Size]byte
	sig    [ed25519.SignatureSize]byte
}

func (m *proven) Kind() wire.Kind { return kindRequest }

func (m *proven) Append(b []byte) []byte {
	b = wire.AppendBytes(b, m.claims)
	b = append(b, m.proof[:]...)
	return append(b, m.sig[:]...)
}

const claimsMax = 2048

func (m *proven) Decode(b []byte) error {
	d := wire.NewReader(b)
	m.claims = d.Bytes(claimsMax)
	m.proof = [sha256.Size]byte(d.Fixed(sha256.Size)[:sha256.Size])
	m.sig = [ed25519.SignatureSize]byte(d.Fixed(ed25519.SignatureSize)[:ed25519.SignatureSize])
	return d.Done()
}

// prove makes the proofs that the holder of the token and of the key makes these claims on this connection.
func prove(r *JoinRequest, tokenKey [32]byte, key ed25519.PrivateKey, binding []byte) *proven {
	m := &proven{claims: r.append(nil)}
	m.proof = proofOf(tokenKey[:], binding, m.claims)
	copy(m.sig[:], ed25519.Sign(key, signedBytes(binding, m.claims)))
	return m
}

func proofOf(tokenKey, binding, claims []byte) (proof [sha256.Size]byte) {
	mac := hmac.New(sha256.New, tokenKey)
	mac.Write([]byte("dfs join proof 1"))
	mac.Write(binding)
	mac.Write(claims)
	return [sha256.Size]byte(mac.Sum(nil))
}

func signedBytes(binding, claims []byte) []byte {
	return append(append([]byte("dfs join key 1"), binding...), claims...)
}

// bindingOf returns what no other connection shares with this one.
func bindingOf(s tls.ConnectionState) ([]byte, error) {
	b, err := s.ExportKeyingMaterial("EXPORTER-dfs-join", nil, 32)
	return b, fault.Because("join", fault.Other, err)
}

// JoinReply is what a new member gets.
type JoinReply struct {
	Cert    []byte // the new member's
	CA      []byte
	Cluster ClusterID
	Name    string // of the cluster
	Secret  Secret
	Members []cluster.Member // all
	Self    cluster.Member
}

// Kind is one of the join kinds.
func (r *JoinReply) Kind() wire.Kind { return kindReply }

// Append encodes the reply.
func (r *JoinReply) Append(b []byte) []byte {
	b = wire.AppendBytes(b, r.Cert)
	b = wire.AppendBytes(b, r.CA)
	b = append(b, r.Cluster[:]...)
	b = wire.AppendString(b, r.Name)
	b = append(b, r.Secret[:]...)
	b = appendMember(b, r.Self)
	b = wire.AppendUint(b, uint64(len(r.Members)))
	for _, m := range r.Members {
		b = appendMember(b, m)
	}
	return b
}

const (
	certMax    = 4096
	membersMax = 10_000
)

// Decode reads what Append wrote.
func (r *JoinReply) Decode(b []byte) error {
	d := wire.NewReader(b)
	*r = JoinReply{
		Cert:    d.Bytes(certMax),
		CA:      d.Bytes(certMax),
		Cluster: ClusterID(d.Fixed(16)[:16]),
		Name:    d.String(nameMax),
		Secret:  Secret(d.Fixed(32)[:32]),
		Self:    readMember(d),
	}
	for range d.Count(membersMax) {
		r.Members = append(r.Members, readMember(d))
		if d.Err() != nil {
			break
		}
	}
	if err := d.Done(); err != nil {
		return err
	}
	for _, m := range append(r.Members, r.Self) {
		if m.ID != cluster.IDOf(m.Key) {
			return fault.New("join reply", fault.Invalid, "member %q: its id is not its key's", m.Name)
		}
	}
	return nil
}

func appendMember(b []byte, m cluster.Member) []byte {
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

func readMember(d *wire.Reader) cluster.Member {
	return cluster.Member{
		ID:       cluster.PeerID(d.Fixed(20)[:20]),
		Key:      ed25519.PublicKey(d.Bytes(ed25519.PublicKeySize)),
		Name:     d.String(nameMax + 16), // the state machine may have added a number
		Addr:     d.String(addrMax),
		Zone:     d.String(nameMax),
		Host:     d.String(nameMax),
		Capacity: d.Int(),
		State:    cluster.State(d.Byte()),
		Joined:   d.Uint(),
	}
}

// limits are those of the exchange: a stranger may send one small request.
func limits(k wire.Kind) wire.Limit {
	switch k {
	case kindRequest:
		return wire.Limit{Fields: 4096}
	case kindReply:
		return wire.DefaultLimits(k)
	}
	return wire.Limit{}
}
