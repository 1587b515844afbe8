package identity

import (
	"crypto/ed25519"
	"crypto/tls"
	"time"

	"dfs/cluster/fault"
	"dfs/net/wire"
)

// For tests outside the package, which may import net/peer.
var ParseTokenFields = parseTokenFields

// FrameFor returns the frame a holder of the token would send on c.
func FrameFor(c *tls.Conn, t Token, key []byte, req JoinRequest) ([]byte, error) {
	binding, err := bindingOf(c.ConnectionState())
	if err != nil {
		return nil, err
	}
	req.TokenID = t.ID
	frame, _, err := wire.Encode(nil, wire.Header{Type: wire.Request, Kind: kindRequest}, prove(&req, t.Key(), key, binding), limits(kindRequest))
	return frame, err
}

// AnswerOn reads a member's answer.
func AnswerOn(c *tls.Conn) (JoinReply, error) { return readReply(c) }

// DecodeRequest reads what a stranger sent.
func DecodeRequest(b []byte) (JoinRequest, error) {
	var m proven
	var r JoinRequest
	if err := m.Decode(b); err != nil {
		return r, err
	}
	if again := m.Append(nil); string(again) != string(b) && len(again) > len(b) {
		return r, fault.New("test", fault.Other, "%x came back as %x", b, again)
	}
	return r, r.decode(m.claims)
}

// EncodeRequest is the inverse of DecodeRequest, with empty proofs.
func EncodeRequest(r JoinRequest) []byte { return (&proven{claims: r.append(nil)}).Append(nil) }

// Accept is what a joiner does with a reply.
func Accept(t Token, r JoinReply, key ed25519.PrivateKey, now func() time.Time) (*Identity, error) {
	return t.accept(r, key, now)
}
