package identity

import (
	"crypto/ed25519"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"crypto/x509/pkix"
	"math/big"
	"net/url"
	"strings"
	"time"

	"dfs/cluster"
	"dfs/cluster/fault"
)

const (
	caLife   = 10 * 365 * 24 * time.Hour
	leafLife = 365 * 24 * time.Hour
	skew     = 10 * time.Minute // clocks may differ by so much
	scheme   = "dfs"
)

// CA is a cluster's certificate authority.
type CA struct {
	Cluster ClusterID
	Cert    *x509.Certificate
	key     ed25519.PrivateKey
}

// NewCA makes the authority of a cluster, valid for ten years.
func NewCA(c ClusterID, now time.Time) (*CA, error) {
	public, key, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		return nil, fault.Because("new authority", fault.Other, err)
	}
	der, err := x509.CreateCertificate(rand.Reader, caTemplate(c, now), caTemplate(c, now), public, key)
	if err != nil {
		return nil, fault.Because("new authority", fault.Other, err)
	}
	return LoadCA(der, key)
}

func caTemplate(c ClusterID, now time.Time) *x509.Certificate {
	return &x509.Certificate{
		SerialNumber:                serial(),
		Subject:                     pkix.Name{CommonName: "dfs " + c.Name(), SerialNumber: c.String()},
		NotBefore:                   now.Add(-skew),
		NotAfter:                    now.Add(caLife),
		URIs:                        []*url.URL{{Scheme: scheme, Host: c.String(), Path: "/authority"}},
		IsCA:                        true,
		BasicConstraintsValid:       true,
		MaxPathLenZero:              true,
		KeyUsage:                    x509.KeyUsageCertSign,
		PermittedDNSDomainsCritical: true, // "of any kind", in spite of its name
		PermittedURIDomains:         []string{c.String()},
	}
}

// LoadCA puts an authority together from its certificate and its key. fault.Invalid.
func LoadCA(cert []byte, key ed25519.PrivateKey) (*CA, error) {
	root, c, err := parseCA(cert)
	if err != nil {
		return nil, err
	}
	if len(key) != ed25519.PrivateKeySize || !root.PublicKey.(ed25519.PublicKey).Equal(key.Public()) {
		return nil, fault.New("authority", fault.Invalid, "the key is not the certificate's")
	}
	return &CA{Cluster: c, Cert: root, key: key}, nil
}

// Key returns the private key, to be wrapped.
func (ca *CA) Key() ed25519.PrivateKey { return ca.key }

// String shows no secret.
func (ca *CA) String() string { return "authority of " + ca.Cluster.Name() }

// GoString is String.
func (ca *CA) GoString() string { return ca.String() }

// Issue makes a certificate for a peer's key, valid for a year.
func (ca *CA) Issue(key ed25519.PublicKey, now time.Time) ([]byte, error) {
	if len(key) != ed25519.PublicKeySize {
		return nil, fault.New("issue certificate", fault.Invalid, "a key of %d bytes", len(key))
	}
	id := cluster.IDOf(key)
	leaf := &x509.Certificate{
		SerialNumber: serial(),
		Subject:      pkix.Name{CommonName: id.String()},
		NotBefore:    now.Add(-skew),
		NotAfter:     now.Add(leafLife),
		URIs:         []*url.URL{{Scheme: scheme, Host: ca.Cluster.String(), Path: "/peer/" + id.String()}},
		KeyUsage:     x509.KeyUsageDigitalSignature,
		ExtKeyUsage:  []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth, x509.ExtKeyUsageServerAuth},
	}
	der, err := x509.CreateCertificate(rand.Reader, leaf, ca.Cert, key, ca.key)
	return der, fault.Because("issue certificate", fault.Other, err)
}

// CAHash returns what tokens pin: the SHA-256 of the authority's public key.
func CAHash(cert *x509.Certificate) (hash [32]byte, ok bool) {
	key, ok := cert.PublicKey.(ed25519.PublicKey)
	return sha256.Sum256(key), ok
}

func serial() *big.Int {
	var b [16]byte
	rand.Read(b[:])
	b[0] &= 0x7f
	return new(big.Int).SetBytes(b[:])
}

// parseCA reads an authority's certificate and the cluster it names. fault.Invalid.
func parseCA(der []byte) (*x509.Certificate, ClusterID, error) {
	root, err := x509.ParseCertificate(der)
	if err != nil {
		return nil, ClusterID{}, fault.Because("authority", fault.Invalid, err)
	}
	if _, ok := root.PublicKey.(ed25519.PublicKey); !ok || !root.IsCA || len(root.URIs) != 1 {
		return nil, ClusterID{}, fault.New("authority", fault.Invalid, "not the certificate of one")
	}
	u := root.URIs[0]
	c, err := ParseClusterID(u.Host)
	if err != nil || u.Scheme != scheme || u.Path != "/authority" {
		return nil, ClusterID{}, fault.New("authority", fault.Invalid, "names %v", u)
	}
	return root, c, nil
}

// verifyLeaf returns the peer that leaf names, having checked its signature, its time and its name. fault.Refused.
func verifyLeaf(ca *x509.Certificate, c ClusterID, leaf *x509.Certificate, now time.Time) (id cluster.PeerID, err error) {
	refuse := func(why string, args ...any) (cluster.PeerID, error) {
		return cluster.PeerID{}, fault.New("verify certificate", fault.Refused, why, args...)
	}
	roots := x509.NewCertPool()
	roots.AddCert(ca)
	if _, err := leaf.Verify(x509.VerifyOptions{
		Roots:       roots,
		CurrentTime: within(now, leaf),
		KeyUsages:   []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth, x509.ExtKeyUsageServerAuth},
	}); err != nil {
		return refuse("%v", err)
	}
	key, ok := leaf.PublicKey.(ed25519.PublicKey)
	if !ok || leaf.IsCA || len(leaf.URIs) != 1 {
		return refuse("not a peer's")
	}
	u := leaf.URIs[0]
	name, ok := strings.CutPrefix(u.Path, "/peer/")
	if u.Scheme != scheme || u.Host != c.String() || !ok {
		return refuse("it names %v, not a peer of %v", u, c)
	}
	if id, err = cluster.ParsePeerID(name); err != nil || id != cluster.IDOf(key) {
		return refuse("it names %q, its key is %v's", name, cluster.IDOf(key).Short())
	}
	return id, nil
}

// within moves now into leaf's life if it misses it by no more than clocks may differ.
func within(now time.Time, leaf *x509.Certificate) time.Time {
	switch {
	case now.Before(leaf.NotBefore) && now.After(leaf.NotBefore.Add(-skew)):
		return leaf.NotBefore
	case now.After(leaf.NotAfter) && now.Before(leaf.NotAfter.Add(skew)):
		return leaf.NotAfter
	}
	return now
}
