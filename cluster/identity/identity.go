// Package identity says who belongs to a cluster: keys, certificates, join tokens, and the exchange by which a machine
// that holds a token becomes a member.
//
// Who is who. A peer is its ed25519 key; its id is the key's hash. A cluster is its certificate authority: an ed25519 key
// made by the first peer, whose certificate names the cluster's 128-bit id and may vouch for that id alone. Every
// peer has a certificate with one name in it, dfs://CLUSTER/peer/PEER, and shows it on every link. Addresses and host
// names prove nothing and are never looked at.
//
// Who may sign. The authority's private key lies wrapped in the replicated state (WrapKey), under a secret that every
// member receives at admission. So any member can admit, and none is special.
//
// How one joins. A token carries the hash of the authority's public key, a token id and a secret. The joiner connects to
// an address of the token and sends nothing until the other side has shown a certificate under that authority. Then it
// sends what it wants to be, with two proofs over the claims and the TLS exporter value of this very connection: an
// HMAC keyed with the secret's hash, which is all the cluster stores of the secret, and a signature by its own new key.
// A relay, a replay on another connection, or a server of another cluster gains nothing. Failures are limited by address.
//
// Everything rests in DATA/identity, files 0600 in a directory 0700, and looser ones are refused.
package identity

import (
	"crypto/ed25519"
	"crypto/tls"
	"crypto/x509"
	"sync/atomic"
	"time"

	"dfs/cluster"
	"dfs/cluster/fault"
)

// Identity is one peer's place in one cluster. It is safe for concurrent use.
type Identity struct {
	Cluster ClusterID
	Name    string // of the cluster, for people
	Secret  Secret // shared by all members

	key  ed25519.PrivateKey
	ca   *x509.Certificate
	cert atomic.Pointer[tls.Certificate] // leaf, then authority
	now  func() time.Time
}

// New returns the identity that the parts make, having checked that they belong together. A nil now is time.Now.
func New(c ClusterID, name string, secret Secret, key ed25519.PrivateKey, ca, leaf []byte, now func() time.Time) (*Identity, error) {
	if now == nil {
		now = time.Now
	}
	if len(key) != ed25519.PrivateKeySize {
		return nil, fault.New("identity", fault.Invalid, "no private key")
	}
	root, err := x509.ParseCertificate(ca)
	if err != nil {
		return nil, fault.Because("identity: authority", fault.Invalid, err)
	}
	i := &Identity{Cluster: c, Name: name, Secret: secret, key: key, ca: root, now: now}
	return i, i.Renew(leaf)
}

// Create makes a new cluster and this peer's place in it. The authority is returned to be wrapped and stored; the
// identity does not keep its key.
func Create(key ed25519.PrivateKey, now func() time.Time) (*Identity, *CA, error) {
	if now == nil {
		now = time.Now
	}
	id := NewClusterID()
	ca, err := NewCA(id, now())
	if err != nil {
		return nil, nil, err
	}
	leaf, err := ca.Issue(key.Public().(ed25519.PublicKey), now())
	if err != nil {
		return nil, nil, err
	}
	i, err := New(id, id.Name(), NewSecret(), key, ca.Cert.Raw, leaf, now)
	return i, ca, err
}

// ID returns the peer's id.
func (i *Identity) ID() cluster.PeerID { return cluster.IDOf(i.PublicKey()) }

// PublicKey returns the peer's public key.
func (i *Identity) PublicKey() ed25519.PublicKey { return i.key.Public().(ed25519.PublicKey) }

// CA returns the authority's certificate.
func (i *Identity) CA() []byte { return i.ca.Raw }

// Certificate returns what the peer shows in handshakes: its own certificate, then the authority's.
func (i *Identity) Certificate() *tls.Certificate { return i.cert.Load() }

// Verify returns the peer of this cluster that chain, leaf first, proves. fault.Refused.
func (i *Identity) Verify(chain []*x509.Certificate) (cluster.PeerID, error) {
	if len(chain) == 0 {
		return cluster.PeerID{}, fault.New("verify certificate", fault.Refused, "none was shown")
	}
	return verifyLeaf(i.ca, i.Cluster, chain[0], i.now())
}

// Renew replaces the peer's certificate, for handshakes to come. fault.Invalid and Refused leave the old one.
func (i *Identity) Renew(leaf []byte) error {
	cert, err := x509.ParseCertificate(leaf)
	if err != nil {
		return fault.Because("identity: certificate", fault.Invalid, err)
	}
	// An expired certificate is still loaded: the others' refusal says more than a daemon that does not start.
	id, err := verifyLeaf(i.ca, i.Cluster, cert, cert.NotBefore)
	if err != nil {
		return err
	}
	if id != i.ID() {
		return fault.New("identity", fault.Invalid, "the certificate is %v's, the key is %v's", id.Short(), i.ID().Short())
	}
	i.cert.Store(&tls.Certificate{Certificate: [][]byte{leaf, i.ca.Raw}, PrivateKey: i.key, Leaf: cert})
	return nil
}

// RenewAt returns when a new certificate is due: at two thirds of the present one's life.
func (i *Identity) RenewAt() time.Time {
	leaf := i.cert.Load().Leaf
	return leaf.NotBefore.Add(leaf.NotAfter.Sub(leaf.NotBefore) * 2 / 3)
}

// String shows no secret.
func (i *Identity) String() string { return i.Name + "/" + i.ID().Short() }

// GoString is String.
func (i *Identity) GoString() string { return i.String() }
