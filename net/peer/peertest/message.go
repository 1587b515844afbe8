package peertest

import "dfs/net/wire"

// Kinds the suite serves: requests and notices in a control range, payloads in the bulk one.
const (
	kindText = wire.KindRecall
	kindLast = wire.KindRecall + 15
	kindBlob = wire.KindBlock
	blobLast = wire.KindBlock + 15
)

// Text is a small message.
type Text struct {
	Verb string // what the suite's handler shall do
	N    uint64
}

func (m *Text) Kind() wire.Kind { return kindText }

func (m *Text) Append(b []byte) []byte {
	return wire.AppendUint(wire.AppendString(b, m.Verb), m.N)
}

func (m *Text) Decode(b []byte) error {
	r := wire.NewReader(b)
	m.Verb, m.N = r.String(1<<20), r.Uint()
	return r.Done()
}

// Blob is a message with a payload.
type Blob struct {
	Name  string
	Parts [][]byte
}

func (m *Blob) Kind() wire.Kind        { return kindBlob }
func (m *Blob) Append(b []byte) []byte { return wire.AppendString(b, m.Name) }

func (m *Blob) Decode(b []byte) error {
	r := wire.NewReader(b)
	m.Name = r.String(1 << 10)
	return r.Done()
}

func (m *Blob) Payload() [][]byte { return m.Parts }

func (m *Blob) SetPayload(p []byte) error {
	m.Parts = [][]byte{p}
	return nil
}

var (
	_ wire.Message = (*Text)(nil)
	_ wire.Bulk    = (*Blob)(nil)
)
