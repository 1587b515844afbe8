package peer

import (
	"crypto/tls"
	"crypto/x509"
	"slices"

	"dfs/cluster"
	"dfs/cluster/fault"
)

// Protocols of the one port, named in ALPN.
const (
	protoControl = "dfs/1"
	protoBulk    = "dfs-bulk/1"
	protoGossip  = "dfs-gossip/1"

	// JoinProtocol is the protocol of admission: the only one open to callers without a certificate.
	JoinProtocol = "dfs-join/1"
)

func (n *Net) tlsBase() *tls.Config {
	return &tls.Config{
		MinVersion:                  tls.VersionTLS13,
		SessionTicketsDisabled:      true, // every handshake shows certificates
		DynamicRecordSizingDisabled: true,
	}
}

// serverTLS chooses by the one protocol the client must name.
func (n *Net) serverTLS() *tls.Config {
	joins, members := n.tlsBase(), n.tlsBase()
	getCert := func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return n.o.Identity.Certificate(), nil }
	joins.GetCertificate, members.GetCertificate = getCert, getCert
	joins.NextProtos = []string{JoinProtocol}
	members.NextProtos = []string{protoControl, protoBulk, protoGossip}
	members.ClientAuth = tls.RequireAnyClientCert
	members.VerifyConnection = func(s tls.ConnectionState) error {
		_, err := n.identify(s.PeerCertificates)
		return err
	}
	base := n.tlsBase()
	base.GetConfigForClient = func(hello *tls.ClientHelloInfo) (*tls.Config, error) {
		if len(hello.SupportedProtos) != 1 {
			return nil, fault.New("handshake", fault.Invalid, "%d protocols offered", len(hello.SupportedProtos))
		}
		switch proto := hello.SupportedProtos[0]; {
		case proto == JoinProtocol && n.onJoin != nil:
			return joins, nil
		case slices.Contains(members.NextProtos, proto):
			return members, nil
		default:
			return nil, fault.New("handshake", fault.Unsupported, "protocol %q", proto)
		}
	}
	return base
}

// clientTLS is for a link to one peer; the zero id accepts any member.
func (n *Net) clientTLS(proto string, want cluster.PeerID) *tls.Config {
	c := n.tlsBase()
	c.NextProtos = []string{proto}
	c.InsecureSkipVerify = true // names mean nothing here; VerifyConnection decides by identity
	c.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) {
		return n.o.Identity.Certificate(), nil
	}
	c.VerifyConnection = func(s tls.ConnectionState) error {
		id, err := n.identify(s.PeerCertificates)
		if err != nil {
			return err
		}
		if !want.IsZero() && id != want {
			return fault.New("handshake", fault.Refused, "%v answers where %v was expected", id.Short(), want.Short())
		}
		if s.NegotiatedProtocol != proto {
			return fault.New("handshake", fault.Unsupported, "protocol %q", s.NegotiatedProtocol)
		}
		return nil
	}
	return c
}

// identify returns the member that a chain proves.
func (n *Net) identify(chain []*x509.Certificate) (cluster.PeerID, error) {
	id, err := n.o.Identity.Verify(chain)
	if err != nil {
		return id, err
	}
	if id == n.self {
		return id, fault.New("handshake", fault.Refused, "this is our own identity: another peer runs on a copy of our data")
	}
	if !n.o.Allowed(id) {
		return id, fault.New("handshake", fault.Refused, "%v is not a member", id.Short())
	}
	return id, nil
}
