package peer

import (
	"crypto/ed25519"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"math/big"
	"testing"
	"time"

	"dfs/cluster"
	"dfs/cluster/fault"
)

// testIdentity is an identity without a cluster: a self-signed certificate, believed when its key is known to the
// group. The real one has its own tests.
type testIdentity struct {
	cert  tls.Certificate
	group map[cluster.PeerID]bool
}

func newIdentity(t testing.TB, seed string, group map[cluster.PeerID]bool) *testIdentity {
	sum := sha256.Sum256([]byte(seed))
	key := ed25519.NewKeyFromSeed(sum[:])
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotBefore: time.Unix(0, 0), NotAfter: time.Unix(1<<33, 0)}
	der, err := x509.CreateCertificate(nil, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	id := &testIdentity{cert: tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, group: group}
	if group != nil {
		group[id.ID()] = true
	}
	return id
}

func (i *testIdentity) ID() cluster.PeerID {
	return cluster.IDOf(i.cert.PrivateKey.(ed25519.PrivateKey).Public().(ed25519.PublicKey))
}

func (i *testIdentity) Certificate() *tls.Certificate { return &i.cert }

func (i *testIdentity) Verify(chain []*x509.Certificate) (cluster.PeerID, error) {
	key, ok := chain[0].PublicKey.(ed25519.PublicKey)
	if !ok || !i.group[cluster.IDOf(key)] {
		return cluster.PeerID{}, fault.New("verify", fault.Refused, "stranger")
	}
	return cluster.IDOf(key), nil
}

// newGroup returns n Nets that listen on loopback and know each other's addresses. Change adapts their options.
func newGroup(t testing.TB, n int, change func(i int, o *Options)) []*Net {
	group := map[cluster.PeerID]bool{}
	addrs := map[cluster.PeerID]string{}
	var nets []*Net
	for i := range n {
		o := Options{
			Identity: newIdentity(t, fmt.Sprint(t.Name(), i), group),
			Addrs:    func(id cluster.PeerID) (string, bool) { a, ok := addrs[id]; return a, ok },
			// A busy machine must not look like a dead peer: tests of silence set their own.
			Silence: 20 * time.Second,
		}
		if change != nil {
			change(i, &o)
		}
		net := New(o)
		addr, err := net.Listen("127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		addrs[net.self] = addr
		nets = append(nets, net)
	}
	return nets
}
