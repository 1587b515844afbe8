package wire

import (
	"encoding/binary"

	"dfs/cluster/fault"
)

// The encoding of everything that travels or is stored: unsigned and zig-zag varints, byte strings with their
// length before them, fixed-size arrays bare. Append functions write, a Reader reads; both follow the fields'
// order and nothing else, so a message's codec is a list of its fields twice.

// AppendUint appends v as an unsigned varint.
func AppendUint(b []byte, v uint64) []byte { return binary.AppendUvarint(b, v) }

// AppendInt appends v as a zig-zag varint.
func AppendInt(b []byte, v int64) []byte { return binary.AppendVarint(b, v) }

// AppendBool appends one byte, 0 or 1.
func AppendBool(b []byte, v bool) []byte {
	if v {
		return append(b, 1)
	}
	return append(b, 0)
}

// AppendBytes appends p with its length before it.
func AppendBytes(b, p []byte) []byte { return append(AppendUint(b, uint64(len(p))), p...) }

// AppendString appends s with its length before it.
func AppendString(b []byte, s string) []byte { return append(AppendUint(b, uint64(len(s))), s...) }

// Reader reads what the Append functions wrote. The first failure sticks: later reads return zero values, and
// Err or Done reports it. A Reader never allocates more than the bytes it was given warrant.
type Reader struct {
	b   []byte
	err error
}

// NewReader returns a Reader of b. Slices it returns alias b.
func NewReader(b []byte) *Reader { return &Reader{b: b} }

func (r *Reader) fail(what string) {
	if r.err == nil {
		r.err = fault.New("decode", fault.Invalid, "%s", what)
	}
	r.b = nil
}

// Uint reads an unsigned varint.
func (r *Reader) Uint() uint64 {
	v, n := binary.Uvarint(r.b)
	if n <= 0 {
		r.fail("varint")
		return 0
	}
	r.b = r.b[n:]
	return v
}

// Uint32 reads an unsigned varint that must fit 32 bits.
func (r *Reader) Uint32() uint32 {
	v := r.Uint()
	if v > 1<<32-1 {
		r.fail("32-bit number out of range")
		return 0
	}
	return uint32(v)
}

// Int reads a zig-zag varint.
func (r *Reader) Int() int64 {
	v, n := binary.Varint(r.b)
	if n <= 0 {
		r.fail("varint")
		return 0
	}
	r.b = r.b[n:]
	return v
}

// Byte reads one byte.
func (r *Reader) Byte() byte {
	if len(r.b) == 0 {
		r.fail("short")
		return 0
	}
	v := r.b[0]
	r.b = r.b[1:]
	return v
}

// Bool reads one byte that must be 0 or 1.
func (r *Reader) Bool() bool {
	switch r.Byte() {
	case 0:
		return false
	case 1:
		return true
	}
	r.fail("bool")
	return false
}

// Fixed reads n bytes. The slice aliases the input.
func (r *Reader) Fixed(n int) []byte {
	if n < 0 || len(r.b) < n {
		r.fail("short")
		return make([]byte, min(max(n, 0), 64))
	}
	v := r.b[:n:n]
	r.b = r.b[n:]
	return v
}

// Bytes reads a byte string of at most limit bytes. The slice aliases the input.
func (r *Reader) Bytes(limit int) []byte {
	n := r.Uint()
	if n > uint64(limit) || n > uint64(len(r.b)) {
		r.fail("byte string too long")
		return nil
	}
	v := r.b[:n:n]
	r.b = r.b[n:]
	return v
}

// String reads a string of at most limit bytes.
func (r *Reader) String(limit int) string { return string(r.Bytes(limit)) }

// Count reads the length of a list whose elements take at least one byte each, at most limit.
func (r *Reader) Count(limit int) int {
	n := r.Uint()
	if n > uint64(limit) || n > uint64(len(r.b)) {
		r.fail("list too long")
		return 0
	}
	return int(n)
}

// Rest returns all that has not been read. The slice aliases the input.
func (r *Reader) Rest() []byte {
	v := r.b
	r.b = nil
	return v
}

// Len returns the bytes that have not been read.
func (r *Reader) Len() int { return len(r.b) }

// Err returns the first failure.
func (r *Reader) Err() error { return r.err }

// Done returns the first failure, or an error if bytes are left over.
func (r *Reader) Done() error {
	if r.err == nil && len(r.b) != 0 {
		r.fail("trailing bytes")
	}
	return r.err
}
