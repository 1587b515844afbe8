package wire

import (
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"io"
	"sync"

	"dfs/cluster/fault"
)

// A frame is one message on a stream: a header of fixed size, the fields, the payload. Numbers are big-endian.
//
//	 0 magic    2  0xD5 0xF5
//	 2 version  1  1
//	 3 type     1  request, reply, error, notice
//	 4 kind     2  which message; for an error, of the request
//	 6 flags    2  0
//	 8 wait     4  request: milliseconds the asker will wait; 0 says nothing
//	12 id       8  request: chosen by the asker; others: the request they are about, or 0
//	20 fields   4  bytes
//	24 payload  4  bytes
//	28 sum      4  CRC-32C of the 28 bytes above and of the fields
//
// The payload has no sum here: the link is authenticated and payloads carry sums of their own to the reader.
const (
	HeaderBytes = 32
	version     = 1
	sumAt       = 28
)

var magic = [2]byte{0xD5, 0xF5}

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// Type says what a frame is in a conversation.
type Type uint8

const (
	Request Type = iota + 1 // wants a reply or an error
	Reply                   // answers a request
	Failure                 // answers a request with an error
	Notice                  // wants no answer
)

func (t Type) String() string {
	switch t {
	case Request:
		return "request"
	case Reply:
		return "reply"
	case Failure:
		return "error"
	case Notice:
		return "notice"
	}
	return fmt.Sprintf("type %d", uint8(t))
}

// Header is what stands before the fields.
type Header struct {
	Type    Type
	Kind    Kind
	ID      uint64
	Wait    uint32 // milliseconds
	Fields  int    // bytes
	Payload int    // bytes

	sum, part uint32 // as sent; of the header's bytes
}

// Size returns the bytes of the whole frame.
func (h Header) Size() int { return HeaderBytes + h.Fields + h.Payload }

// Encode appends a frame with m in it to b, the payload excluded: it is returned as it is and must follow. A nil m
// is a frame without fields. Fields and Payload of h are set here. fault.TooBig when m is beyond limit.
func Encode(b []byte, h Header, m Message, limit Limit) (frame []byte, payload [][]byte, err error) {
	start := len(b)
	b = append(b, make([]byte, HeaderBytes)...)
	if m != nil {
		b = m.Append(b)
		if bulk, ok := m.(Bulk); ok {
			payload = bulk.Payload()
		}
	}
	h.Fields, h.Payload = len(b)-start-HeaderBytes, 0
	for _, p := range payload {
		h.Payload += len(p)
	}
	if err := limit.check(h); err != nil {
		return b[:start], nil, err
	}
	h.put(b[start:])
	return b, payload, nil
}

// put writes h over the first HeaderBytes of b, the rest of which is the fields.
func (h Header) put(b []byte) {
	copy(b, magic[:])
	b[2], b[3] = version, byte(h.Type)
	binary.BigEndian.PutUint16(b[4:], uint16(h.Kind))
	binary.BigEndian.PutUint16(b[6:], 0)
	binary.BigEndian.PutUint32(b[8:], h.Wait)
	binary.BigEndian.PutUint64(b[12:], h.ID)
	binary.BigEndian.PutUint32(b[20:], uint32(h.Fields))
	binary.BigEndian.PutUint32(b[24:], uint32(h.Payload))
	sum := crc32.Update(crc32.Checksum(b[:sumAt], castagnoli), castagnoli, b[HeaderBytes:])
	binary.BigEndian.PutUint32(b[sumAt:], sum)
}

// parseHeader reads a header and believes nothing in it but what limits allow.
func parseHeader(b *[HeaderBytes]byte, limits Limits) (Header, error) {
	if [2]byte(b[:2]) != magic {
		return Header{}, fault.New("frame", fault.Invalid, "magic %x", b[:2])
	}
	if b[2] != version {
		return Header{}, fault.New("frame", fault.Unsupported, "version %d", b[2])
	}
	h := Header{
		Type:    Type(b[3]),
		Kind:    Kind(binary.BigEndian.Uint16(b[4:])),
		Wait:    binary.BigEndian.Uint32(b[8:]),
		ID:      binary.BigEndian.Uint64(b[12:]),
		Fields:  int(binary.BigEndian.Uint32(b[20:])),
		Payload: int(binary.BigEndian.Uint32(b[24:])),
		sum:     binary.BigEndian.Uint32(b[sumAt:]),
		part:    crc32.Checksum(b[:sumAt], castagnoli),
	}
	if h.Type < Request || h.Type > Notice {
		return Header{}, fault.New("frame", fault.Invalid, "%v", h.Type)
	}
	if flags := binary.BigEndian.Uint16(b[6:]); flags != 0 {
		return Header{}, fault.New("frame", fault.Unsupported, "flags %#x", flags)
	}
	return h, limits.For(h.Type, h.Kind).check(h)
}

// FrameReader reads frames from a stream.
type FrameReader struct {
	r      io.Reader
	limits Limits
	head   [HeaderBytes]byte
}

// NewFrameReader returns a reader of r's frames that refuses what is beyond limits; nil means DefaultLimits.
func NewFrameReader(r io.Reader, limits Limits) *FrameReader {
	if limits == nil {
		limits = DefaultLimits
	}
	return &FrameReader{r: r, limits: limits}
}

// Header reads the next header. Body must follow before the next Header. io.EOF at the end of the stream between
// two frames; fault.Invalid, Unsupported and TooBig leave the stream unusable.
func (f *FrameReader) Header() (Header, error) {
	if _, err := io.ReadFull(f.r, f.head[:]); err != nil {
		return Header{}, err
	}
	return parseHeader(&f.head, f.limits)
}

// Body reads what follows h. Memory is taken in steps as bytes arrive, so that a header alone costs its sender more
// than its receiver. fault.Corrupt when the sum is wrong.
func (f *FrameReader) Body(h Header) (Body, error) {
	fields, err := readSteps(f.r, h.Fields)
	if err != nil {
		return Body{}, err
	}
	if crc32.Update(h.part, castagnoli, fields) != h.sum {
		return Body{}, fault.New("frame", fault.Corrupt, "%v of kind %v", h.Type, h.Kind)
	}
	payload, err := readPayload(f.r, h.Payload)
	return Body{Fields: fields, Payload: payload, spare: cap(payload) == spareBytes}, err
}

// spares is memory of payloads that was given back. What lies there is paid for, so it needs no steps.
var spares sync.Pool // of *[spareBytes]byte

const (
	spareBytes = 4 << 20
	spareFor   = 512 << 10 // smaller payloads get memory of their own
)

func readPayload(r io.Reader, n int) ([]byte, error) {
	if n < spareFor || n > spareBytes {
		return readSteps(r, n)
	}
	s, _ := spares.Get().(*[spareBytes]byte)
	if s == nil {
		return readSteps(r, n)
	}
	if _, err := io.ReadFull(r, s[:n]); err != nil {
		spares.Put(s)
		if err == io.EOF {
			err = io.ErrUnexpectedEOF
		}
		return nil, err
	}
	return s[:n], nil
}

// Steps of memory while a body arrives: the first is taken on the header's word, each next is at most stepGrowth
// times what has been received.
const (
	stepFirst  = 64 << 10
	stepGrowth = 4
)

func readSteps(r io.Reader, n int) ([]byte, error) {
	if n == 0 {
		return nil, nil
	}
	b := make([]byte, min(n, stepFirst))
	for got := 0; ; {
		if _, err := io.ReadFull(r, b[got:]); err != nil {
			if err == io.EOF {
				err = io.ErrUnexpectedEOF
			}
			return nil, err
		}
		got = len(b)
		if got == n {
			return b, nil
		}
		size := min(n, got*stepGrowth)
		room := size
		if got*stepGrowth == spareBytes {
			room = spareBytes // to be reused
		}
		next := make([]byte, size, room)
		copy(next, b)
		b = next
	}
}
