package identity

import (
	"context"
	"crypto/ed25519"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"strings"
	"time"

	"dfs/cluster/fault"
	"dfs/net/wire"
)

// JoinOptions of Join. The zero value works.
type JoinOptions struct {
	Dial     func(ctx context.Context, addr string) (net.Conn, error) // default TCP
	Now      func() time.Time                                         // default time.Now
	Patience time.Duration                                            // for one address, consensus included; default 15 s
}

// Join asks the token's addresses, one after the other, to make the owner of key a member, and returns its identity,
// not yet saved, and all that the cluster told. req's TokenID and PublicKey are set here.
//
// A refusal is fault.Refused and, by errors.Is, its reason: NotExist (unknown token), Permission (wrong secret), Stale
// (expired), Quota (used up), Busy (too many attempts), Conflict (another cluster answers). fault.Unreachable: no
// address led to a member that could decide; Join may be repeated, with the same key, at any time.
func Join(ctx context.Context, t Token, key ed25519.PrivateKey, req JoinRequest, o JoinOptions) (*Identity, JoinReply, error) {
	i, reply, err := join(ctx, t, key, req, o)
	switch {
	case errors.Is(err, fault.Busy):
		err = fault.Advise(err, "wait, then try again")
	case errors.Is(err, fault.Refused), errors.Is(err, fault.Invalid):
		err = fault.Advise(err, "%s", newToken)
	case errors.Is(err, fault.Unreachable):
		err = fault.Advise(err, "dfsctl status, on a machine of the cluster, shows who runs and at which address")
	}
	return i, reply, err
}

func join(ctx context.Context, t Token, key ed25519.PrivateKey, req JoinRequest, o JoinOptions) (*Identity, JoinReply, error) {
	if o.Dial == nil {
		o.Dial = func(ctx context.Context, addr string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, "tcp", addr)
		}
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Patience == 0 {
		o.Patience = 15 * time.Second
	}
	req.TokenID, req.PublicKey = t.ID, key.Public().(ed25519.PublicKey)
	if len(t.Addrs) == 0 {
		return nil, JoinReply{}, fault.New("join", fault.Invalid, "the token holds no address")
	}
	var tried []string
	var foreign error
	for _, addr := range t.Addrs {
		i, reply, err := joinAt(ctx, addr, t, key, req, o)
		if err == nil {
			return i, reply, nil
		}
		switch {
		case errors.Is(err, fault.Conflict):
			foreign = err
		case errors.Is(err, fault.Refused):
			return nil, JoinReply{}, err
		}
		tried = append(tried, fmt.Sprintf("%s (%v)", addr, err))
		if ctx.Err() != nil {
			break
		}
	}
	if foreign != nil {
		return nil, JoinReply{}, foreign
	}
	return nil, JoinReply{}, fault.New("join", fault.Unreachable,
		"no member could be asked: %s; check that dfsd runs there and that its port is open", strings.Join(tried, ", "))
}

func joinAt(ctx context.Context, addr string, t Token, key ed25519.PrivateKey, req JoinRequest, o JoinOptions) (*Identity, JoinReply, error) {
	ctx, cancel := context.WithTimeout(ctx, o.Patience)
	defer cancel()
	raw, err := o.Dial(ctx, addr)
	if err != nil {
		return nil, JoinReply{}, fault.Because("connect", fault.Unreachable, err)
	}
	defer raw.Close()
	defer context.AfterFunc(ctx, func() { raw.Close() })()

	c, err := t.connect(ctx, raw, addr, o.Now)
	if err != nil {
		return nil, JoinReply{}, err
	}
	binding, err := bindingOf(c.ConnectionState())
	if err != nil {
		return nil, JoinReply{}, err
	}
	frame, _, err := wire.Encode(nil, wire.Header{Type: wire.Request, Kind: kindRequest}, prove(&req, t.Key(), key, binding), limits(kindRequest))
	if err != nil {
		return nil, JoinReply{}, &refusal{why: fault.Invalid, text: "a name or an address is too long"}
	}
	if _, err := c.Write(frame); err != nil {
		return nil, JoinReply{}, fault.Because("ask", fault.Unreachable, err)
	}
	reply, err := readReply(c)
	if err != nil {
		return nil, JoinReply{}, err
	}
	i, err := t.accept(reply, key, o.Now)
	return i, reply, err
}

// connect does the handshake and fails unless the other side is a peer of the token's cluster. Nothing of the token has
// been sent when it returns.
func (t Token) connect(ctx context.Context, raw net.Conn, addr string, now func() time.Time) (*tls.Conn, error) {
	var foreign error
	c := tls.Client(raw, &tls.Config{
		MinVersion:             tls.VersionTLS13,
		NextProtos:             []string{Protocol},
		InsecureSkipVerify:     true, // names mean nothing here; VerifyConnection decides by the pinned authority
		SessionTicketsDisabled: true,
		VerifyConnection: func(s tls.ConnectionState) error {
			foreign = t.pinned(s.PeerCertificates, addr, now())
			return foreign
		},
	})
	if err := c.HandshakeContext(ctx); err != nil {
		if foreign != nil {
			return nil, foreign
		}
		return nil, fault.Because("handshake", fault.Unreachable, err)
	}
	return c, nil
}

// pinned checks that chain ends in the authority whose hash the token holds.
func (t Token) pinned(chain []*x509.Certificate, addr string, now time.Time) error {
	stranger := func(why string) error {
		return &refusal{why: fault.Conflict, text: fmt.Sprintf(
			"what answers at %s is not of the token's cluster (%s); nothing was sent to it: get a token from a member of the cluster you want to join", addr, why)}
	}
	if len(chain) < 2 {
		return stranger("it shows no authority")
	}
	ca := chain[len(chain)-1]
	if hash, ok := CAHash(ca); !ok || hash != t.CAHash {
		return stranger("another authority")
	}
	if _, err := verifyLeaf(ca, t.Cluster, chain[0], now); err != nil {
		return stranger(err.Error())
	}
	return nil
}

func readReply(c *tls.Conn) (reply JoinReply, err error) {
	frames := wire.NewFrameReader(c, limits)
	h, err := frames.Header()
	if err != nil {
		return reply, fault.Because("answer", fault.Unreachable, err)
	}
	body, err := frames.Body(h)
	if err != nil {
		return reply, fault.Because("answer", fault.Unreachable, err)
	}
	if h.Type == wire.Failure {
		var f wire.Failed
		if err := f.Decode(body.Fields); err != nil {
			return reply, err
		}
		if r, ok := refusalOf(f.Err); ok {
			return reply, r
		}
		return reply, f.Err
	}
	if h.Type != wire.Reply || h.Kind != kindReply {
		return reply, fault.New("answer", fault.Invalid, "%v of kind %v", h.Type, h.Kind)
	}
	return reply, reply.Decode(body.Fields)
}

// accept turns a reply into an identity, if it is what was asked for.
func (t Token) accept(r JoinReply, key ed25519.PrivateKey, now func() time.Time) (*Identity, error) {
	root, c, err := parseCA(r.CA)
	if err != nil {
		return nil, err
	}
	if hash, _ := CAHash(root); hash != t.CAHash || c != t.Cluster || r.Cluster != t.Cluster {
		return nil, fault.New("answer", fault.Invalid, "it is about another cluster")
	}
	i, err := New(r.Cluster, r.Name, r.Secret, key, r.CA, r.Cert, now)
	if err != nil {
		return nil, err
	}
	if r.Self.ID != i.ID() {
		return nil, fault.New("answer", fault.Invalid, "it is about another peer")
	}
	return i, nil
}
