package remote

import (
	"bytes"
	"context"
	"reflect"
	"testing"

	"dfs/blockstore"
	"dfs/blockstore/faulty"
	"dfs/blockstore/mem"
	"dfs/blockstore/storetest"
	"dfs/cluster"
	"dfs/cluster/fault"
	"dfs/net/peer"
	"dfs/net/wire"
)

// loop is a Caller whose other end is a handler in the same process. Everything is encoded and decoded, and within the
// limits of the wire.
type loop struct {
	handler peer.Handler
	calls   int
	spoil   func(payload []byte) // what happens to an answer's payload on the way
}

func (l *loop) Call(ctx context.Context, to cluster.PeerID, req, reply wire.Message) error {
	l.calls++
	body, err := travel(req)
	if err != nil {
		return err
	}
	m, err := l.handler(ctx, cluster.PeerID{1}, req.Kind(), body)
	if err != nil {
		return fault.New("remote", fault.KindOf(err), "%v", err)
	}
	if body, err = travel(m); err != nil {
		return err
	}
	if l.spoil != nil {
		l.spoil(body.Payload)
	}
	if m.Kind() != reply.Kind() {
		return fault.New("call", fault.Invalid, "kind %v", m.Kind())
	}
	return body.Into(reply)
}

func travel(m wire.Message) (wire.Body, error) {
	body := wire.Body{Fields: m.Append(nil)}
	if b, ok := m.(wire.Bulk); ok {
		body.Payload = bytes.Join(b.Payload(), nil)
	}
	limit := wire.DefaultLimits(m.Kind())
	if len(body.Fields) > limit.Fields || len(body.Payload) > limit.Payload {
		return body, fault.New("travel", fault.TooBig, "%d+%d bytes", len(body.Fields), len(body.Payload))
	}
	return body, nil
}

// plain makes a store look like one that has nothing but the contract.
type plain struct{ blockstore.Store }

// safe lets loop be called concurrently: the count is not needed then.
type safe struct{ handler peer.Handler }

func (s safe) Call(ctx context.Context, to cluster.PeerID, req, reply wire.Message) error {
	return (&loop{handler: s.handler}).Call(ctx, to, req, reply)
}

func TestContract(t *testing.T) {
	storetest.Run(t, func(*testing.T) blockstore.Store {
		return New(safe{Handler(mem.New())}, cluster.PeerID{2}, Options{})
	})
}

func TestContractOverAPlainStore(t *testing.T) {
	storetest.Run(t, func(*testing.T) blockstore.Store {
		return plain{New(safe{Handler(plain{mem.New()})}, cluster.PeerID{2}, Options{})}
	})
}

// Small extents share requests: 8,192 of one block are one.
func TestRequests(t *testing.T) {
	l := &loop{handler: Handler(mem.New())}
	s := New(l, cluster.PeerID{2}, Options{})
	data := make([]byte, blockstore.Size)
	sums := blockstore.Sums(data)
	var batches []blockstore.Batch
	var spans []blockstore.Span
	for i := range blockstore.MaxBlocks + 1 {
		b := blockstore.Batch{ID: blockstore.ID{byte(i >> 8), byte(i), 1}, Data: data, Sums: sums}
		b.Note = blockstore.Note{Ino: 1 << 63, Off: 1 << 50, Session: 1 << 63, Time: 1 << 62}
		batches = append(batches, b)
		spans = append(spans, blockstore.Span{Extent: b.ID, Count: 1})
	}
	if err := s.Put(context.Background(), batches[:blockstore.MaxBlocks]...); err != nil || l.calls != 1 {
		t.Fatalf("%d requests, %v", l.calls, err)
	}
	if err := s.Put(context.Background(), batches...); err != nil || l.calls != 3 {
		t.Fatalf("%d requests, %v", l.calls, err)
	}
	n := 0
	err := s.List(context.Background(), blockstore.ID{}, func(blockstore.ID, uint32) bool { n++; return true })
	if err != nil || n != len(batches) {
		t.Fatalf("%d extents listed, %v", n, err)
	}
	if err := s.Delete(context.Background(), spans...); err != nil {
		t.Fatal(err)
	}
}

// The reader finds what went wrong on the disk over there and on the way.
func TestReaderVerifies(t *testing.T) {
	ctx := context.Background()
	store := mem.New()
	l := &loop{handler: Handler(store)}
	s := New(l, cluster.PeerID{2}, Options{})
	b := storetest.Extent(1, 8)
	if err := s.Put(ctx, b); err != nil {
		t.Fatal(err)
	}
	p := make([]byte, 4*blockstore.Size)
	span := blockstore.Span{Extent: b.ID, First: 2, Count: 4}
	l.spoil = func(payload []byte) { payload[700] ^= 1 }
	if err := s.Get(ctx, span, p); fault.KindOf(err) != fault.Corrupt {
		t.Errorf("spoilt on the way: %v", err)
	}
	l.spoil = nil
	store.Rot(b.ID, 3)
	if err := s.Get(ctx, span, p); fault.KindOf(err) != fault.Corrupt {
		t.Errorf("rotten over there: %v", err)
	}
}

func TestErrorKindsTravel(t *testing.T) {
	ctx := context.Background()
	b := storetest.Extent(1, 1)
	for _, k := range []fault.Kind{fault.NoSpace, fault.ReadOnly, fault.Exist} {
		s := New(safe{Handler(faulty.New(mem.New(), faulty.Rule{Method: faulty.Put, Err: k}))}, cluster.PeerID{2}, Options{})
		if err := s.Put(ctx, b); fault.KindOf(err) != k {
			t.Errorf("%v arrives as %v", k, err)
		}
	}
}

// Answers that are too long, too short or of other blocks are refused.
func TestLyingPeer(t *testing.T) {
	ctx := context.Background()
	data := make([]byte, 3*blockstore.Size)
	for name, m := range map[string]*blocks{
		"too many blocks": {data: data, sums: blockstore.Sums(data)},
		"too few":         {data: data[:512], sums: blockstore.Sums(data[:512])},
		"none":            {},
		"bytes missing":   {data: data[:512], sums: blockstore.Sums(data[:1024])},
	} {
		s := New(safe{func(context.Context, cluster.PeerID, wire.Kind, wire.Body) (wire.Message, error) { return m, nil }},
			cluster.PeerID{2}, Options{})
		if err := s.Get(ctx, blockstore.Span{Count: 2}, make([]byte, 1024)); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
}

// FuzzHandler: whatever arrives, the handler answers or refuses, and what it decoded encodes to the same again.
func FuzzHandler(f *testing.F) {
	b := storetest.Extent(1, 3)
	for _, m := range []wire.Message{
		&put{batches: []blockstore.Batch{b, storetest.Extent(2, 1)}}, &get{blockstore.Span{Extent: b.ID, First: 1, Count: 2}},
		&remove{[]blockstore.Span{{Extent: b.ID, Count: 9}}}, &syncStore{}, &list{most: 5},
		&page{[]item{{b.ID, 3}}}, &blocks{sums: b.Sums, data: b.Data},
	} {
		body, err := travel(m)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(uint16(m.Kind()-wire.KindBlock), body.Fields, body.Payload)
	}
	f.Fuzz(func(t *testing.T, kind uint16, fields, payload []byte) {
		store := mem.New()
		if err := store.Put(context.Background(), b); err != nil {
			t.Fatal(err)
		}
		body := wire.Body{Fields: fields, Payload: payload}
		k := wire.KindBlock + wire.Kind(kind)
		_, _ = Handler(store)(context.Background(), cluster.PeerID{}, k, body)
		for _, m := range []wire.Message{&put{}, &put{hard: true}, &get{}, &remove{}, &syncStore{}, &list{}, &page{}, &blocks{most: 100}, &done{}} {
			if m.Kind() != k || body.Into(m) != nil {
				continue
			}
			again, err := travel(m)
			if err != nil {
				continue
			}
			other := reflect.New(reflect.TypeOf(m).Elem()).Interface().(wire.Message)
			switch x := other.(type) {
			case *blocks:
				x.most = 100
			case *put:
				x.hard = m.(*put).hard
			}
			if err := again.Into(other); err != nil || !reflect.DeepEqual(m, other) {
				t.Fatalf("%#v decodes as %#v, %v", m, other, err)
			}
		}
	})
}
