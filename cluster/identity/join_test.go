package identity_test

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"dfs/cluster"
	"dfs/cluster/fault"
	"dfs/cluster/identity"
	"dfs/net/peer"
	"dfs/net/wire"
)

// town is a cluster of one peer with its port open, as admission sees it.
type town struct {
	*identity.Identity
	ca   *identity.CA
	net  *peer.Net
	addr string
	*clock

	mu      sync.Mutex
	tokens  map[identity.TokenID]*stored
	members []cluster.Member
	fail    error // of Admit
}

type stored struct {
	key    [32]byte
	expiry time.Time
	left   int
}

var _ identity.Admitter = (*town)(nil)
var _ peer.Identity = (*identity.Identity)(nil)

func (c *town) TokenKey(id identity.TokenID) ([]byte, time.Time, int, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	t := c.tokens[id]
	if t == nil {
		return nil, time.Time{}, 0, false
	}
	return t.key[:], t.expiry, t.left, true
}

func (c *town) Admit(ctx context.Context, req identity.JoinRequest) (identity.JoinReply, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.fail != nil {
		return identity.JoinReply{}, c.fail
	}
	self := cluster.Member{ID: req.ID(), Key: req.PublicKey, Name: req.Name, Addr: req.Addr, Zone: req.Zone, Host: req.Host, Capacity: req.Capacity}
	known := false
	for _, m := range c.members {
		known = known || m.ID == self.ID
	}
	if !known {
		t := c.tokens[req.TokenID]
		if t.left == 0 {
			return identity.JoinReply{}, fault.New("admit", fault.Refused, "no use left")
		}
		if t.left > 0 {
			t.left--
		}
		c.members = append(c.members, self)
	}
	cert, err := c.ca.Issue(req.PublicKey, c.now())
	return identity.JoinReply{Cert: cert, CA: c.CA(), Cluster: c.Cluster, Name: c.Name, Secret: c.Secret, Members: c.members, Self: self}, err
}

func newTown(t *testing.T) *town {
	c := &town{clock: &clock{t: noon}, tokens: map[identity.TokenID]*stored{}}
	c.Identity, c.ca = create(t, c.now)
	c.members = []cluster.Member{{ID: c.ID(), Key: c.PublicKey(), Name: "first"}}
	admission := identity.NewAdmission(identity.AdmissionOptions{Admitter: c, Now: c.now})
	c.net = peer.New(peer.Options{Identity: c.Identity, Addrs: func(cluster.PeerID) (string, bool) { return "", false }})
	c.net.OnJoin(admission.Serve)
	addr, err := c.net.Listen("127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	c.addr = addr
	ctx, cancel := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	wg.Go(func() { c.net.Run(ctx) })
	t.Cleanup(func() { cancel(); wg.Wait() })
	return c
}

// token makes one that lets so many machines join; negative is any number.
func (c *town) token(uses int, addrs ...string) identity.Token {
	if addrs == nil {
		addrs = []string{c.addr}
	}
	t := c.NewToken(c.now().Add(time.Hour), addrs)
	c.mu.Lock()
	c.tokens[t.ID] = &stored{key: t.Key(), expiry: t.Expiry, left: uses}
	c.mu.Unlock()
	return t
}

func (c *town) join(t *testing.T, token identity.Token, key ed25519.PrivateKey) (*identity.Identity, identity.JoinReply, error) {
	return identity.Join(t.Context(), token, key, identity.JoinRequest{Name: "host-b", Addr: ":9001", Zone: "z", Host: "h", Capacity: 1 << 40}, identity.JoinOptions{Now: c.now})
}

func TestWhoHoldsATokenBecomesAMember(t *testing.T) {
	c := newTown(t)
	key := newKey(t)
	i, reply, err := c.join(t, c.token(1), key)
	if err != nil {
		t.Fatal(err)
	}
	if i.Cluster != c.Cluster || i.Name != c.Name || i.Secret != c.Secret || i.ID() != cluster.IDOf(public(key)) {
		t.Errorf("%v joined %v", i, c.Identity)
	}
	if len(reply.Members) != 2 || reply.Members[0].Name != "first" {
		t.Errorf("members: %+v", reply.Members)
	}
	want := cluster.Member{ID: i.ID(), Key: i.PublicKey(), Name: "host-b", Addr: "127.0.0.1:9001", Zone: "z", Host: "h", Capacity: 1 << 40}
	if got := reply.Self; got.ID != want.ID || !got.Key.Equal(want.Key) || got.Name != want.Name || got.Addr != want.Addr || got.Zone != want.Zone || got.Host != want.Host || got.Capacity != want.Capacity {
		t.Errorf("self is %+v, want %+v (an unspecified host is the caller's)", got, want)
	}
	if _, err := c.Verify(chainOf(i)); err != nil {
		t.Errorf("the old peer does not know the new one: %v", err)
	}
	if _, err := i.Verify(chainOf(c.Identity)); err != nil {
		t.Errorf("the new peer does not know the old one: %v", err)
	}
}

func TestARepeatedJoinCostsNoUse(t *testing.T) {
	c := newTown(t)
	token, key := c.token(1), newKey(t)
	for range 3 {
		if _, _, err := c.join(t, token, key); err != nil {
			t.Fatal(err)
		}
	}
	if len(c.members) != 2 {
		t.Errorf("%d members", len(c.members))
	}
}

func TestEveryRefusalHasItsReason(t *testing.T) {
	for name, test := range map[string]struct {
		token func(c *town) identity.Token
		why   fault.Kind
		says  string
	}{
		"revoked": {func(c *town) identity.Token {
			token := c.token(1)
			delete(c.tokens, token.ID)
			return token
		}, fault.NotExist, "token create"},
		"wrong secret": {func(c *town) identity.Token {
			token := c.token(1)
			token.Secret[3] ^= 1
			return token
		}, fault.Permission, "token create"},
		"expired": {func(c *town) identity.Token {
			token := c.token(1)
			c.tokens[token.ID].expiry = c.now()
			return token
		}, fault.Stale, "token create"},
		"used up":         {func(c *town) identity.Token { return c.token(0) }, fault.Quota, "token create"},
		"another cluster": {func(c *town) identity.Token { return newTown(t).token(1, c.addr) }, fault.Conflict, "nothing was sent"},
		"same cluster id, another authority": {func(c *town) identity.Token {
			token := c.token(1)
			token.CAHash[0] ^= 1
			return token
		}, fault.Conflict, "nothing was sent"},
	} {
		t.Run(name, func(t *testing.T) {
			c := newTown(t)
			_, _, err := c.join(t, test.token(c), newKey(t))
			if !errors.Is(err, fault.Refused) || fault.KindOf(err) != fault.Refused || !errors.Is(err, test.why) || !strings.Contains(err.Error()+fault.NextStep(err), test.says) {
				t.Errorf("%v, want Refused because %v, with a next step", err, test.why)
			}
			if strings.Contains(err.Error(), "\n") {
				t.Errorf("more than a line: %q", err)
			}
			if len(c.members) != 1 {
				t.Error("it became a member")
			}
		})
	}
}

func TestTroubleIsNoRefusal(t *testing.T) {
	c := newTown(t)
	dead, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	dead.Close()
	if _, _, err := c.join(t, c.token(1, dead.Addr().String()), newKey(t)); !errors.Is(err, fault.Unreachable) || errors.Is(err, fault.Refused) {
		t.Errorf("nobody there: %v, want Unreachable", err)
	}
	foreign := newTown(t)
	if _, _, err := c.join(t, c.token(1, dead.Addr().String(), foreign.addr, c.addr), newKey(t)); err != nil {
		t.Errorf("the third address is right: %v", err)
	}
	c.fail = fault.New("propose", fault.CutOff, "no quorum")
	if _, _, err := c.join(t, c.token(1), newKey(t)); !errors.Is(err, fault.Unreachable) || !strings.Contains(err.Error(), "no quorum") {
		t.Errorf("no quorum: %v, want Unreachable and why", err)
	}
	if _, _, err := c.join(t, c.NewToken(noon, nil), newKey(t)); !errors.Is(err, fault.Invalid) {
		t.Errorf("a token without addresses: %v, want Invalid", err)
	}
}

func TestGuessingIsLimited(t *testing.T) {
	c := newTown(t)
	good, bad := c.token(-1), c.token(-1)
	bad.Secret[0] ^= 1
	for range 5 {
		if _, _, err := c.join(t, bad, newKey(t)); !errors.Is(err, fault.Permission) {
			t.Fatalf("%v, want Permission", err)
		}
	}
	if _, _, err := c.join(t, good, newKey(t)); !errors.Is(err, fault.Busy) || !errors.Is(err, fault.Refused) {
		t.Errorf("the sixth: %v, want Busy", err)
	}
	c.set(c.now().Add(time.Minute))
	if _, _, err := c.join(t, good, newKey(t)); err != nil {
		t.Errorf("a minute later: %v", err)
	}
}

// dialJoin connects as a joiner who skips all checks.
func dialJoin(t *testing.T, addr string) *tls.Conn {
	t.Helper()
	c, err := tls.Dial("tcp", addr, &tls.Config{InsecureSkipVerify: true, NextProtos: []string{identity.Protocol}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	c.SetDeadline(time.Now().Add(20 * time.Second))
	return c
}

func TestAProofIsGoodOnOneConnectionOnly(t *testing.T) {
	c := newTown(t)
	token, key := c.token(-1), newKey(t)
	first, second := dialJoin(t, c.addr), dialJoin(t, c.addr)
	frame, err := identity.FrameFor(first, token, key, identity.JoinRequest{PublicKey: public(key), Name: "x"})
	if err != nil {
		t.Fatal(err)
	}
	second.Write(frame)
	if _, err := identity.AnswerOn(second); !errors.Is(err, fault.Permission) {
		t.Errorf("replayed: %v, want Permission", err)
	}
	first.Write(frame)
	if _, err := identity.AnswerOn(first); err != nil {
		t.Errorf("in its place: %v", err)
	}
}

func TestNobodyJoinsWithAnothersKey(t *testing.T) {
	c := newTown(t)
	conn := dialJoin(t, c.addr)
	frame, err := identity.FrameFor(conn, c.token(-1), newKey(t), identity.JoinRequest{PublicKey: public(newKey(t)), Name: "x"})
	if err != nil {
		t.Fatal(err)
	}
	conn.Write(frame)
	if _, err := identity.AnswerOn(conn); !errors.Is(err, fault.Permission) {
		t.Errorf("%v, want Permission", err)
	}
}

func TestGarbageOnTheJoinProtocolIsAnswered(t *testing.T) {
	c := newTown(t)
	for name, b := range map[string][]byte{
		"text":      []byte("GET / HTTP/1.1\r\nHost: x\r\n\r\n plus enough bytes for a header"),
		"huge":      frameOf(t, wire.Request, wire.KindJoin, make([]byte, 100_000)),
		"empty":     frameOf(t, wire.Request, wire.KindJoin, nil),
		"foreign":   frameOf(t, wire.Request, wire.KindRaft, nil),
		"truncated": frameOf(t, wire.Request, wire.KindJoin, []byte{200, 1, 2, 3}),
	} {
		c.set(c.now().Add(time.Hour)) // past the limiter
		conn := dialJoin(t, c.addr)
		conn.Write(b)
		if _, err := identity.AnswerOn(conn); !errors.Is(err, fault.Refused) {
			t.Errorf("%s: %v, want Refused", name, err)
		}
	}
}

type raw struct {
	kind wire.Kind
	b    []byte
}

func (r raw) Kind() wire.Kind        { return r.kind }
func (r raw) Append(b []byte) []byte { return append(b, r.b...) }
func (r raw) Decode([]byte) error    { return nil }

func frameOf(t *testing.T, typ wire.Type, k wire.Kind, b []byte) []byte {
	frame, _, err := wire.Encode(nil, wire.Header{Type: typ, Kind: k}, raw{k, b}, wire.Limit{Fields: 1 << 20})
	if err != nil {
		t.Fatal(err)
	}
	return frame
}

// A server of another cluster stands where a member was: it sees a handshake, and not one byte after it.
func TestAStrangerLearnsNothing(t *testing.T) {
	c := newTown(t)
	stranger, _ := create(t, c.now)
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	type heard struct {
		raw, plain bytes.Buffer
		err        error
	}
	done := make(chan *heard, 1)
	go func() {
		h := &heard{}
		defer func() { done <- h }()
		conn, err := ln.Accept()
		if err != nil {
			h.err = err
			return
		}
		defer conn.Close()
		s := tls.Server(recorder{conn, &h.raw}, &tls.Config{
			Certificates: []tls.Certificate{*stranger.Certificate()}, NextProtos: []string{identity.Protocol},
		})
		_, h.err = io.Copy(&h.plain, s)
		io.Copy(io.Discard, recorder{conn, &h.raw})
	}()
	token := c.token(-1, ln.Addr().String())
	if _, _, err := c.join(t, token, newKey(t)); !errors.Is(err, fault.Conflict) {
		t.Fatalf("%v, want Conflict", err)
	}
	h := <-done
	if h.plain.Len() != 0 || h.err == nil {
		t.Errorf("the stranger read %d bytes after the handshake, %v", h.plain.Len(), h.err)
	}
	key := token.Key()
	for _, secret := range [][]byte{token.Secret[:], key[:], token.ID[:], []byte(token.Text())} {
		if bytes.Contains(h.raw.Bytes(), secret) {
			t.Error("the secret was sent")
		}
	}
	if h.raw.Len() == 0 {
		t.Error("the recorder does not record")
	}
}

type recorder struct {
	net.Conn
	to *bytes.Buffer
}

func (r recorder) Read(p []byte) (int, error) {
	n, err := r.Conn.Read(p)
	r.to.Write(p[:n])
	return n, err
}

func TestTheReplyIsCheckedToo(t *testing.T) {
	c := newTown(t)
	token, key := c.token(-1), newKey(t)
	_, good, err := c.join(t, token, key)
	if err != nil {
		t.Fatal(err)
	}
	other, _ := create(t, c.now)
	for name, change := range map[string]func(*identity.JoinReply){
		"another authority":     func(r *identity.JoinReply) { r.CA = other.CA() },
		"another cluster":       func(r *identity.JoinReply) { r.Cluster = other.Cluster },
		"another's certificate": func(r *identity.JoinReply) { r.Cert = c.Certificate().Certificate[0] },
		"another member":        func(r *identity.JoinReply) { r.Self = r.Members[0] },
		"no certificate":        func(r *identity.JoinReply) { r.Cert = nil },
	} {
		r := good
		change(&r)
		if i, err := identity.Accept(token, r, key, c.now); err == nil {
			t.Errorf("%s: accepted as %v", name, i)
		}
	}
	if _, err := identity.Accept(token, good, key, c.now); err != nil {
		t.Error(err)
	}
}

func FuzzJoinRequest(f *testing.F) {
	_, key, _ := ed25519.GenerateKey(nil)
	f.Add(identity.EncodeRequest(identity.JoinRequest{PublicKey: public(key), Name: "host-b", Addr: "10.0.0.2:9001", Zone: "z", Host: "h", Capacity: 1 << 40}))
	f.Fuzz(func(t *testing.T, b []byte) {
		r, err := identity.DecodeRequest(b)
		if err != nil {
			if errors.Is(err, fault.Other) {
				t.Fatal(err)
			}
			return
		}
		back, err := identity.DecodeRequest(identity.EncodeRequest(r))
		if err != nil || back.Name != r.Name || back.Addr != r.Addr || back.Capacity != r.Capacity || back.ID() != r.ID() {
			t.Fatalf("%+v came back as %+v, %v", r, back, err)
		}
	})
}

func FuzzJoinReply(f *testing.F) {
	_, key, _ := ed25519.GenerateKey(nil)
	m := cluster.Member{ID: cluster.IDOf(public(key)), Key: public(key), Name: "a", Addr: "b:1"}
	f.Add((&identity.JoinReply{Cert: []byte{1}, CA: []byte{2}, Name: "amber-otter", Members: []cluster.Member{m, m}, Self: m}).Append(nil))
	f.Fuzz(func(t *testing.T, b []byte) {
		var r, back identity.JoinReply
		if r.Decode(b) != nil {
			return
		}
		if err := back.Decode(r.Append(nil)); err != nil || len(back.Members) != len(r.Members) {
			t.Fatalf("%+v came back as %+v, %v", r, back, err)
		}
	})
}
