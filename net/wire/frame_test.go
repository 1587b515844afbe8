package wire_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"runtime"
	"testing"
	"testing/iotest"

	"dfs/cluster/fault"
	"dfs/net/wire"
)

// note is a message with every sort of field; blob carries a payload as well.
type note struct {
	N uint64
	I int64
	B bool
	S string
	P []byte
}

func (m *note) Kind() wire.Kind { return wire.KindAdmin }
func (m *note) Append(b []byte) []byte {
	b = wire.AppendUint(b, m.N)
	b = wire.AppendInt(b, m.I)
	b = wire.AppendBool(b, m.B)
	b = wire.AppendString(b, m.S)
	return wire.AppendBytes(b, m.P)
}
func (m *note) Decode(b []byte) error {
	r := wire.NewReader(b)
	*m = note{N: r.Uint(), I: r.Int(), B: r.Bool(), S: r.String(1000), P: r.Bytes(1000)}
	return r.Done()
}

type blob struct {
	Name  string
	Parts [][]byte
}

func (m *blob) Kind() wire.Kind        { return wire.KindBlock }
func (m *blob) Append(b []byte) []byte { return wire.AppendString(b, m.Name) }
func (m *blob) Decode(b []byte) error {
	r := wire.NewReader(b)
	m.Name = r.String(100)
	return r.Done()
}
func (m *blob) Payload() [][]byte         { return m.Parts }
func (m *blob) SetPayload(p []byte) error { m.Parts = [][]byte{p}; return nil }

func encode(t testing.TB, h wire.Header, m wire.Message) []byte {
	t.Helper()
	b, payload, err := wire.Encode(nil, h, m, wire.DefaultLimits(h.Kind))
	if err != nil {
		t.Fatal(err)
	}
	return append(b, bytes.Join(payload, nil)...)
}

func TestAFrameArrivesAsItWasSent(t *testing.T) {
	big := bytes.Repeat([]byte("0123456789abcdef"), 4<<20/16)
	sent := []struct {
		h wire.Header
		m wire.Message
	}{
		{wire.Header{Type: wire.Request, Kind: wire.KindAdmin, ID: 7, Wait: 1500}, &note{N: 1 << 60, I: -5, B: true, S: "x", P: []byte{0, 1}}},
		{wire.Header{Type: wire.Reply, Kind: wire.KindBlock, ID: 1 << 63}, &blob{Name: "b", Parts: [][]byte{big[:1000], big[1000:]}}},
		{wire.Header{Type: wire.Reply, Kind: wire.KindAdmin, ID: 9}, nil},
		{wire.Header{Type: wire.Notice, Kind: wire.KindAdmin}, &note{}},
	}
	var stream []byte
	for _, s := range sent {
		stream = append(stream, encode(t, s.h, s.m)...)
	}
	for name, r := range map[string]io.Reader{"whole": bytes.NewReader(stream), "halves": iotest.HalfReader(bytes.NewReader(stream))} {
		f := wire.NewFrameReader(r, nil)
		for i, s := range sent {
			h, err := f.Header()
			if err != nil {
				t.Fatalf("%s %d: %v", name, i, err)
			}
			if h.Type != s.h.Type || h.Kind != s.h.Kind || h.ID != s.h.ID || h.Wait != s.h.Wait {
				t.Errorf("%s %d: header %+v, want %+v", name, i, h, s.h)
			}
			body, err := f.Body(h)
			if err != nil {
				t.Fatalf("%s %d: %v", name, i, err)
			}
			switch want := s.m.(type) {
			case *note:
				var got note
				if err := body.Into(&got); err != nil || fmt.Sprint(got) != fmt.Sprint(*want) {
					t.Errorf("%s %d: %v, %v, want %v", name, i, got, err, *want)
				}
			case *blob:
				var got blob
				if err := body.Into(&got); err != nil || got.Name != want.Name || !bytes.Equal(got.Parts[0], big) {
					t.Errorf("%s %d: payload differs, %v", name, i, err)
				}
			}
		}
		if _, err := f.Header(); err != io.EOF {
			t.Errorf("%s: at the end: %v, want io.EOF", name, err)
		}
	}
}

func TestABadFrameIsRefusedByKind(t *testing.T) {
	good := encode(t, wire.Header{Type: wire.Request, Kind: wire.KindAdmin, ID: 7}, &note{S: "hello"})
	change := func(at int, v byte) []byte {
		b := bytes.Clone(good)
		b[at] ^= v
		return b
	}
	for name, c := range map[string]struct {
		b    []byte
		want error
	}{
		"magic":        {change(0, 1), fault.Invalid},
		"version":      {change(2, 3), fault.Unsupported},
		"type":         {change(3, 0x70), fault.Invalid},
		"flags":        {change(7, 1), fault.Unsupported},
		"unknown kind": {change(4, 0x7f), fault.TooBig},
		"wait":         {change(9, 1), fault.Corrupt},
		"id":           {change(15, 1), fault.Corrupt},
		"fields":       {change(20, 0x80), fault.TooBig},
		"payload":      {change(24, 0x80), fault.TooBig},
		"sum":          {change(31, 1), fault.Corrupt},
		"a field":      {change(len(good)-1, 1), fault.Corrupt},
		"cut header":   {good[:20], io.ErrUnexpectedEOF},
		"cut fields":   {good[:len(good)-1], io.ErrUnexpectedEOF},
		"only header":  {good[:wire.HeaderBytes], io.ErrUnexpectedEOF},
	} {
		if _, err := readAll(c.b); !errors.Is(err, c.want) {
			t.Errorf("%s: %v, want %v", name, err, c.want)
		}
	}
}

func TestAHugeLengthCostsNoMemory(t *testing.T) {
	whole := encode(t, wire.Header{Type: wire.Request, Kind: wire.KindBlock, ID: 1}, &blob{Parts: [][]byte{make([]byte, 4<<20)}})
	cut := whole[:wire.HeaderBytes+10]
	if got := allocated(func() { readAll(cut) }); got > 256<<10 {
		t.Errorf("a header alone made the reader allocate %d bytes", got)
	}
}

func TestASenderRefusesWhatAReceiverWould(t *testing.T) {
	_, _, err := wire.Encode(nil, wire.Header{Type: wire.Request, Kind: wire.KindBlock}, &blob{Parts: [][]byte{make([]byte, 5<<20)}}, wire.DefaultLimits(wire.KindBlock))
	if !errors.Is(err, fault.TooBig) {
		t.Errorf("5 MiB payload: %v, want TooBig", err)
	}
}

func TestErrorsKeepKindOperationAndDetail(t *testing.T) {
	for _, c := range []struct {
		err  error
		kind fault.Kind
		text string
	}{
		{fault.New("segment put", fault.NoSpace, "disk %s", "a"), fault.NoSpace, "segment put: disk a: no space"},
		{fault.Because("x", fault.Corrupt, io.ErrUnexpectedEOF), fault.Corrupt, "x: unexpected EOF: corrupt"},
		{fmt.Errorf("plain"), fault.Other, "remote: plain: failed"},
		{context.DeadlineExceeded, fault.Timeout, "remote: context deadline exceeded: timed out"},
		{fmt.Errorf("so: %w", context.Canceled), fault.Canceled, "remote: so: context canceled: canceled"},
		{&fault.Error{Op: "future", Kind: 200}, 200, "future: fault kind 200"},
	} {
		var got wire.Failed
		if err := got.Decode((&wire.Failed{Err: c.err}).Append(nil)); err != nil {
			t.Fatal(err)
		}
		if !errors.Is(got.Err, c.kind) || got.Err.Error() != c.text {
			t.Errorf("%v arrived as %q of kind %v", c.err, got.Err, fault.KindOf(got.Err))
		}
	}
	long := string(bytes.Repeat([]byte("é"), 4000))
	if n := len((&wire.Failed{Err: fault.New(long, fault.Other, "%s", long)}).Append(nil)); n > 4<<10 {
		t.Errorf("an error took %d bytes", n)
	}
}

func readAll(b []byte) (n int, err error) {
	f := wire.NewFrameReader(bytes.NewReader(b), nil)
	for {
		h, err := f.Header()
		if err != nil {
			return n, err
		}
		if _, err := f.Body(h); err != nil {
			return n, err
		}
		n++
	}
}

func allocated(f func()) uint64 {
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	f()
	runtime.ReadMemStats(&after)
	return after.TotalAlloc - before.TotalAlloc
}

func FuzzFrame(f *testing.F) {
	f.Add(encode(f, wire.Header{Type: wire.Request, Kind: wire.KindAdmin, ID: 7}, &note{S: "hello"}))
	f.Add(encode(f, wire.Header{Type: wire.Reply, Kind: wire.KindBlock, ID: 7}, &blob{Parts: [][]byte{make([]byte, 1000)}}))
	b, _, _ := wire.Encode(nil, wire.Header{Type: wire.Failure, Kind: wire.KindRaft}, &wire.Failed{Err: fault.NoSpace}, wire.Limit{Fields: 4096})
	f.Add(b)
	f.Fuzz(func(t *testing.T, b []byte) {
		fr := wire.NewFrameReader(bytes.NewReader(b), nil)
		for {
			h, err := fr.Header()
			if err != nil {
				return
			}
			body, err := fr.Body(h)
			if err != nil {
				return
			}
			if len(body.Fields) != h.Fields || len(body.Payload) != h.Payload || h.Size() > len(b) {
				t.Fatalf("a body of %d+%d bytes for %+v out of %d", len(body.Fields), len(body.Payload), h, len(b))
			}
			if h.Type == wire.Failure {
				var e wire.Failed
				if e.Decode(body.Fields) == nil && e.Err == nil {
					t.Fatal("an error without an error")
				}
			}
		}
	})
}

func FuzzReader(f *testing.F) {
	f.Add((&note{N: 300, I: -1, B: true, S: "abc", P: []byte("d")}).Append(nil), []byte{0, 1, 2, 3, 4, 5, 6, 7, 8})
	f.Fuzz(func(t *testing.T, b, script []byte) {
		r := wire.NewReader(b)
		left := len(b)
		take := func(n int) {
			if left -= n; left < 0 && r.Err() == nil {
				t.Fatal("more bytes came out than went in")
			}
		}
		for _, op := range script[:min(len(script), 1000)] {
			switch op % 10 {
			case 0:
				r.Uint()
			case 1:
				r.Uint32()
			case 2:
				r.Int()
			case 3:
				r.Byte()
			case 4:
				r.Bool()
			case 5:
				if p := r.Fixed(int(op)); r.Err() == nil {
					take(len(p))
				}
			case 6:
				p := r.Bytes(int(op))
				if len(p) > int(op) {
					t.Fatal("limit passed")
				}
				take(len(p))
			case 7:
				take(len(r.String(int(op))))
			case 8:
				if n := r.Count(int(op)); n > int(op) || n > len(b) {
					t.Fatal("count passed its limit")
				}
			case 9:
				take(len(r.Rest()))
			}
		}
		if r.Done() == nil && r.Err() != nil {
			t.Fatal("Done hides an error")
		}
		var m note
		if m.Decode(b) == nil {
			var again note
			if err := again.Decode(m.Append(nil)); err != nil || fmt.Sprint(again) != fmt.Sprint(m) {
				t.Fatalf("%v came back as %v, %v", m, again, err)
			}
		}
	})
}
