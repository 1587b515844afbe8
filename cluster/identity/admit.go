package identity

import (
	"context"
	"crypto/ed25519"
	"crypto/hmac"
	"crypto/tls"
	"errors"
	"io"
	"log/slog"
	"net"
	"time"

	"dfs/cluster/fault"
	"dfs/net/wire"
)

// Admitter is the cluster as the exchange sees it.
type Admitter interface {
	// TokenKey returns what is stored of a token: Token.Key, when it expires (zero: never), and how many may still
	// join by it (negative: any number).
	TokenKey(id TokenID) (key []byte, expiry time.Time, usesLeft int, ok bool)

	// Admit makes the joiner a member, by consensus, and a member again without a further use of the token if it
	// is one already: its first reply may have been lost. It is called for used-up tokens too, and must refuse all
	// others then. The request's proofs have been verified. Errors are told to the joiner as they are.
	Admit(ctx context.Context, req JoinRequest) (JoinReply, error)
}

// Admission is the members' side of the exchange. It is safe for concurrent use.
type Admission struct {
	o       AdmissionOptions
	limiter limiter
}

// AdmissionOptions of NewAdmission; Admitter is needed.
type AdmissionOptions struct {
	Admitter Admitter
	Now      func() time.Time // default time.Now
	Log      *slog.Logger     // default none; gets every attempt
	Failures int              // that one address may cause in Window; default 5
	Window   time.Duration    // default 1 min
	Patience time.Duration    // for the request to arrive and for the reply to leave, each; default 5 s
}

// NewAdmission returns an Admission.
func NewAdmission(o AdmissionOptions) *Admission {
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if o.Failures == 0 {
		o.Failures = 5
	}
	if o.Window == 0 {
		o.Window = time.Minute
	}
	if o.Patience == 0 {
		o.Patience = 5 * time.Second
	}
	return &Admission{o: o, limiter: limiter{most: o.Failures, window: o.Window}}
}

// Serve does one exchange on a connection whose handshake is over. It does not close it.
func (a *Admission) Serve(ctx context.Context, c *tls.Conn) {
	from := host(c.RemoteAddr())
	quiet := a.limiter.wait(from, a.o.Now()) > 0 // it has been said often enough
	req, reply, err := a.exchange(ctx, c, from)
	log := a.o.Log.With("from", from, "token", req.TokenID.String(), "name", req.Name)
	switch {
	case err != nil && quiet:
		log.Debug("join refused", "err", err)
	case err != nil:
		log.Warn("join refused", "err", err)
	default:
		log.Info("joined", "peer", req.ID().Short())
	}
	c.SetWriteDeadline(time.Now().Add(a.o.Patience))
	if err := answer(c, reply, err); err != nil {
		log.Debug("join: the answer did not leave", "err", err)
		return
	}
	// What is still on its way to us must not make the system throw away what is on its way to them.
	c.CloseWrite()
	c.SetReadDeadline(time.Now().Add(lingerTime))
	io.CopyN(io.Discard, c, lingerBytes)
}

const (
	lingerTime  = time.Second
	lingerBytes = 8 << 10
)

func answer(c net.Conn, reply JoinReply, err error) error {
	h := wire.Header{Type: wire.Reply, Kind: kindReply}
	var m wire.Message = &reply
	if err != nil {
		h.Type, m = wire.Failure, &wire.Failed{For: kindRequest, Err: err}
	}
	frame, _, err := wire.Encode(nil, h, m, wire.Limits(limits).For(h.Type, h.Kind))
	if err != nil {
		return err
	}
	_, err = c.Write(frame)
	return err
}

func (a *Admission) exchange(ctx context.Context, c *tls.Conn, from string) (req JoinRequest, reply JoinReply, err error) {
	if wait := a.limiter.wait(from, a.o.Now()); wait > 0 {
		return req, reply, fault.New("join", fault.Busy,
			"too many failed attempts from %s: wait %v, then try again with a fresh token", from, wait.Round(time.Second))
	}
	usesLeft := 0
	c.SetReadDeadline(time.Now().Add(a.o.Patience))
	if req, usesLeft, err = a.receive(c, from); err != nil {
		a.limiter.failed(from, a.o.Now())
		return req, reply, err
	}
	reply, err = a.o.Admitter.Admit(ctx, req)
	if err != nil && usesLeft == 0 {
		a.limiter.failed(from, a.o.Now())
		err = fault.New("join", fault.Quota, "token %v is used up", req.TokenID)
	}
	return req, reply, err
}

// receive reads a request and checks its proofs.
func (a *Admission) receive(c *tls.Conn, from string) (req JoinRequest, usesLeft int, err error) {
	frames := wire.NewFrameReader(c, limits)
	h, err := frames.Header()
	if err != nil {
		return req, 0, fault.Because("join", fault.Invalid, err)
	}
	body, err := frames.Body(h)
	if err != nil {
		return req, 0, fault.Because("join", fault.Invalid, err)
	}
	if h.Type != wire.Request || h.Kind != kindRequest {
		return req, 0, fault.New("join", fault.Invalid, "%v of kind %v", h.Type, h.Kind)
	}
	var m proven
	if err := m.Decode(body.Fields); err != nil {
		return req, 0, err
	}
	if err := req.decode(m.claims); err != nil {
		return req, 0, err
	}
	binding, err := bindingOf(c.ConnectionState())
	if err != nil {
		return req, 0, err
	}
	usesLeft, err = a.check(&req, &m, binding)
	req.Addr = reachable(req.Addr, from)
	return req, usesLeft, err
}

// check verifies the proofs of a request against the token it names.
func (a *Admission) check(req *JoinRequest, m *proven, binding []byte) (usesLeft int, err error) {
	key, expiry, usesLeft, ok := a.o.Admitter.TokenKey(req.TokenID)
	want := proofOf(key, binding, m.claims)
	switch {
	case !ok:
		return 0, fault.New("join", fault.NotExist,
			"the cluster does not know token %v (revoked?)", req.TokenID)
	case !hmac.Equal(want[:], m.proof[:]):
		return 0, fault.New("join", fault.Permission,
			"the secret of token %v is wrong", req.TokenID)
	case !ed25519.Verify(req.PublicKey, signedBytes(binding, m.claims), m.sig[:]):
		return 0, fault.New("join", fault.Permission, "the joiner does not own the key it names")
	case !expiry.IsZero() && !a.o.Now().Before(expiry):
		return 0, fault.New("join", fault.Stale, "token %v expired at %v",
			req.TokenID, expiry.UTC().Format(time.DateTime))
	}
	return usesLeft, nil
}

// reachable replaces an unspecified host in addr by the one the joiner came from.
func reachable(addr, from string) string {
	h, port, err := net.SplitHostPort(addr)
	if err != nil {
		return addr
	}
	if ip := net.ParseIP(h); h == "" || ip != nil && ip.IsUnspecified() {
		return net.JoinHostPort(from, port)
	}
	return addr
}

func host(a net.Addr) string {
	h, _, err := net.SplitHostPort(a.String())
	if err != nil {
		return a.String()
	}
	return h
}

// refusal is the cluster's no to a joiner: fault.Refused, and the kind that says why.
type refusal struct {
	why  fault.Kind
	text string
}

func (r *refusal) Error() string { return "join: " + r.text }

func (r *refusal) Unwrap() []error { return []error{fault.Refused, r.why} }

// refusalOf turns a member's answer into a refusal, if it is one and not trouble of its own.
func refusalOf(err error) (*refusal, bool) {
	var e *fault.Error
	if !errors.As(err, &e) {
		return nil, false
	}
	switch e.Kind {
	case fault.NotExist, fault.Permission, fault.Stale, fault.Quota, fault.Busy, fault.Refused, fault.Invalid, fault.Exist:
		return &refusal{why: e.Kind, text: e.Detail}, true
	}
	return nil, false
}
