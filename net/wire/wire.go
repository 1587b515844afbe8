// Package wire says how messages look between peers: frames with a kind and a limit per kind, and a small,
// reflection-free codec for their fields.
package wire

import "fmt"

// Kind is the type of a message. Ranges belong to the package that serves them; numbers are never reused.
type Kind uint16

const (
	KindLink   Kind = 0x000 // net/peer itself: hello, ping, error
	KindJoin   Kind = 0x010 // cluster/identity: admission
	KindRaft   Kind = 0x020 // cluster/raft: consensus messages, proposals, snapshots
	KindLease  Kind = 0x030 // cluster/lease: reports, grants, releases
	KindBlock  Kind = 0x040 // blockstore/remote
	KindRecall Kind = 0x050 // fs/vfs: recall of a creator's grant
	KindAdmin  Kind = 0x060 // cluster/node: what one peer asks another on an admin's behalf
	KindPlane  Kind = 0x100 // sched
)

// Message is one request, reply or notice. A message with a large payload implements Bulk too.
type Message interface {
	Kind() Kind
	// Append appends the encoded fields, the payload excluded.
	Append(b []byte) []byte
	// Decode reads what Append wrote. It may keep slices of b. It checks everything: b is from a peer.
	Decode(b []byte) error
}

// Bulk is a message with bytes that are sent after the fields without being copied into the frame. Receivers get
// them in one slice of their own.
type Bulk interface {
	Message
	Payload() [][]byte
	SetPayload(p []byte) error
}

func (k Kind) String() string { return fmt.Sprintf("%#03x", uint16(k)) }

// Body is a received message not yet decoded. Fields and Payload are the receiver's to keep.
type Body struct {
	Fields  []byte
	Payload []byte // empty unless the kind is a Bulk

	spare bool // Payload's memory can be reused
}

// Reuse gives back the payload's memory, for payloads to come. It is for receivers that have kept nothing of it.
func (b *Body) Reuse() {
	if b.spare {
		spares.Put((*[spareBytes]byte)(b.Payload[:spareBytes]))
		b.Payload, b.spare = nil, false
	}
}

// Into decodes the body into m, payload included.
func (b Body) Into(m Message) error {
	if err := m.Decode(b.Fields); err != nil {
		return err
	}
	if bulk, ok := m.(Bulk); ok {
		return bulk.SetPayload(b.Payload)
	}
	return nil
}
