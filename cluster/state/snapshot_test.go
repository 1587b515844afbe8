package state

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"math/rand/v2"
	"slices"
	"sync"
	"sync/atomic"
	"testing"

	"dfs/blockstore/kv/badger"
	"dfs/blockstore/kv/mem"
	"dfs/cluster/fault"
)

// big returns a log whose state takes several chunks, after enough entries.
func big(t *testing.T) (*log, [][]byte, uint64) {
	t.Helper()
	l := begun(t)
	for i := range uint64(4) {
		tx := l.kv.Begin(l.index + 1 + i)
		for k := range 20 {
			if err := tx.Set(fmt.Appendf([]byte{TagMeta}, "big%d.%d", i, k), bytes.Repeat([]byte{byte(k)}, 60<<10)); err != nil {
				t.Fatal(err)
			}
		}
		if err := tx.Commit(); err != nil {
			t.Fatal(err)
		}
	}
	l.index += 5
	l.ok(note(1, 3, 1, "sx"))
	s, err := l.m.Snapshot()
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	l.ok(note(1, 4, 1, "sy")) // later entries are not in it
	var chunks [][]byte
	for {
		b, err := s.Next()
		if err != nil {
			t.Fatal(err)
		}
		if b == nil {
			break
		}
		if len(b) > ChunkBytes {
			t.Fatalf("a chunk of %d bytes", len(b))
		}
		chunks = append(chunks, b)
	}
	if len(chunks) < 4 {
		t.Fatalf("%d chunks", len(chunks))
	}
	return l, chunks, s.Index()
}

func feed(chunks [][]byte) func() ([]byte, error) {
	return func() ([]byte, error) {
		if len(chunks) == 0 {
			return nil, nil
		}
		b := chunks[0]
		chunks = chunks[1:]
		return b, nil
	}
}

func TestSnapshotsMakeEqualMachines(t *testing.T) {
	l, chunks, index := big(t)
	o := newLog(t)
	o.ok(fact(5, 1, OpenSession{})) // what was there before goes
	if err := o.m.Restore(index, feed(chunks)); err != nil {
		t.Fatal(err)
	}
	if o.m.Applied() != index || !slices.Equal(o.resets, []uint64{index}) {
		t.Fatal(o.m.Applied(), o.resets)
	}
	if !bytes.Equal(dump(t, o.kv), dump(t, l.kv.CloneAt(index))) {
		t.Fatal("the states differ")
	}
	o.open()
	o.index = index
	o.ok(note(1, 4, 1, "sy"))
	if !bytes.Equal(dump(t, o.kv), dump(t, l.kv)) {
		t.Fatal("the states differ after one more entry")
	}
}

// The versions of a young snapshot may be fewer than its chunks.
func TestSnapshotOfTheFirstEntry(t *testing.T) {
	for index := uint64(1); index < 4; index++ {
		kvs := mem.New()
		tx := kvs.Begin(index)
		for k := range 80 {
			_ = tx.Set(fmt.Appendf([]byte{TagMeta}, "big%d", k), bytes.Repeat([]byte{byte(k)}, 60<<10))
		}
		_ = tx.Set(appliedKey, []byte{byte(index)})
		if err := tx.Commit(); err != nil {
			t.Fatal(err)
		}
		m, err := New(kvs, Options{})
		if err != nil {
			t.Fatal(err)
		}
		s, err := m.Snapshot()
		if err != nil {
			t.Fatal(err)
		}
		o := newLog(t)
		if err := o.m.Restore(index, s.Next); err != nil {
			t.Fatal(err)
		}
		s.Close()
		if !bytes.Equal(dump(t, o.kv), dump(t, kvs)) || o.kv.Newest() != index {
			t.Fatal("the states differ")
		}
	}
}

// A restore that was cut, at any chunk, is recognised at the next start; a second try mends it.
func TestHalfARestoreIsNoState(t *testing.T) {
	l, chunks, index := big(t)
	for n := range chunks {
		o := newLog(t)
		cut := append(slices.Clone(chunks[:n]), nil)
		if err := o.m.Restore(index, feed(cut)); !errors.Is(err, fault.Invalid) {
			t.Fatalf("cut after %d chunks: %v", n, err)
		}
		_, err := New(o.kv, Options{})
		if n > 0 && !errors.Is(err, fault.Corrupt) {
			t.Fatalf("cut after %d chunks, and it opens: %v", n, err)
		}
		if err := o.m.Restore(index, feed(chunks)); err != nil {
			t.Fatal(err)
		}
		o.open()
		if !bytes.Equal(dump(t, o.kv), dump(t, l.kv.CloneAt(index))) {
			t.Fatal("the states differ")
		}
	}
}

func TestBadChunksAreRefused(t *testing.T) {
	_, chunks, index := big(t)
	flip := func(i int) [][]byte {
		c := slices.Clone(chunks)
		c[1] = slices.Clone(c[1])
		c[1][i] ^= 1
		return c
	}
	for what, c := range map[string][][]byte{
		"a flipped bit":    flip(len(chunks[1]) / 2),
		"a flipped sum":    flip(0),
		"a missing chunk":  append(slices.Clone(chunks[:1]), chunks[2:]...),
		"a repeated chunk": append(slices.Clone(chunks[:1]), chunks...),
		"one too many":     append(slices.Clone(chunks), chunks[0]),
		"a short chunk":    {{1, 2}},
	} {
		o := newLog(t)
		if err := o.m.Restore(index, feed(c)); err == nil {
			t.Errorf("%s was taken", what)
		}
	}
	if err := newLog(t).m.Restore(index-1, feed(chunks)); !errors.Is(err, fault.Invalid) {
		t.Error("a snapshot of a later index was taken:", err)
	}
}

// The bytes below the sum may be anything.
func FuzzChunk(f *testing.F) {
	f.Add([]byte{1, 0, 1, 1, 1, 'k', 1, 'v'})
	f.Add([]byte{1, 0, 1, 0})
	f.Fuzz(func(t *testing.T, body []byte) {
		b := binary.LittleEndian.AppendUint32(nil, crc32.Checksum(body, castagnoli))
		c, err := decodeChunk(append(b, body...))
		if err == nil && len(c.keys) != len(c.values) {
			t.Fatal("keys without values")
		}
	})
}

// The overlay reads and scans like a map that was written to directly.
func TestOverlayIsAMap(t *testing.T) {
	r := rand.New(rand.NewPCG(4, 4))
	key := func() []byte { return []byte{'k', byte('a' + r.IntN(3)), byte('a' + r.IntN(6))} }
	for round := range 200 {
		kvs := mem.New()
		tx := kvs.Begin(1)
		want := map[string]string{}
		for i := range 8 {
			k := key()
			want[string(k)] = fmt.Sprint(i)
			_ = tx.Set(k, fmt.Append(nil, i))
		}
		o := newOverlay(tx)
		for i := range 12 {
			k := key()
			if r.IntN(2) == 0 {
				delete(want, string(k))
				_ = o.Delete(k)
			} else {
				want[string(k)] = fmt.Sprint("o", i)
				_ = o.Set(k, fmt.Append(nil, "o", i))
			}
			prefix, from := key()[:1+r.IntN(2)], key()
			if r.IntN(2) == 0 {
				from = nil
			}
			limit := r.IntN(9)
			var got, exp []string
			if err := o.Scan(prefix, from, func(k, v []byte) bool {
				got = append(got, string(k)+"="+string(v))
				return len(got) < limit
			}); err != nil {
				t.Fatal(err)
			}
			for k, v := range want {
				if bytes.HasPrefix([]byte(k), prefix) && k >= string(from) {
					exp = append(exp, k+"="+v)
				}
			}
			slices.Sort(exp)
			if exp = exp[:min(len(exp), max(limit, 1))]; !slices.Equal(got, exp) {
				t.Fatalf("round %d: scan of %q from %q: %q, want %q", round, prefix, from, got, exp)
			}
			v, ok, _ := o.Get(k)
			if w, there := want[string(k)]; ok != there || string(v) != w {
				t.Fatalf("get %q: %q %v", k, v, ok)
			}
		}
		if err := o.flush(); err != nil {
			t.Fatal(err)
		}
		_ = tx.Commit()
		rd := kvs.At(1)
		n := 0
		_ = rd.Scan(nil, nil, func(k, v []byte) bool {
			n++
			if want[string(k)] != string(v) {
				t.Fatalf("%q is %q", k, v)
			}
			return true
		})
		if n != len(want) {
			t.Fatalf("%d keys, want %d", n, len(want))
		}
		rd.Close()
	}
}

// Entries behind the newest proposals carry none: a snapshot stands for them too, and the state says so after a restart.
func TestRestoreStandsForLaterEntriesWithoutProposals(t *testing.T) {
	_, chunks, index := big(t)
	o := newLog(t)
	if err := o.m.Restore(index+2, feed(chunks)); err != nil {
		t.Fatal(err)
	}
	if o.m.Applied() != index+2 {
		t.Fatal(o.m.Applied())
	}
	again, err := New(o.kv, Options{})
	if err != nil || again.Applied() != index+2 {
		t.Fatal(again.Applied(), err)
	}
}

// Whoever acts on what is missing must be able to tell a state from none: while a snapshot is being installed there is none, and
// nothing stands for an index it does not have.
func TestReadersTellAStateFromNone(t *testing.T) {
	o, chunks, index := big(t)
	old := o.m.Applied()
	var stop atomic.Bool
	var looks sync.WaitGroup
	looks.Go(func() {
		for !stop.Load() {
			r, at := o.m.At(0)
			ms, err := NewView(r).Members()
			r.Close()
			switch {
			case err != nil:
				t.Error(err)
			case (at == 0) != (len(ms) == 0):
				t.Errorf("at index %d there are %d members", at, len(ms))
			case at != 0 && at != old && at != index:
				t.Errorf("read at index %d", at)
			default:
				continue
			}
			return
		}
	})
	for range 20 {
		if err := o.m.Restore(index, feed(chunks)); err != nil {
			t.Fatal(err)
		}
	}
	stop.Store(true)
	looks.Wait()
}

// A chunk holds tens of thousands of pairs if they are small. The store of a real peer takes them.
func TestChunksOfSmallPairs(t *testing.T) {
	o := begun(t)
	tx := o.kv.Begin(o.index + 1)
	for i := range 60_000 {
		if err := tx.Set(fmt.Appendf([]byte{TagMeta}, "small%06d", i), nil); err != nil {
			t.Fatal(err)
		}
	}
	if err := tx.Commit(); err != nil {
		t.Fatal(err)
	}
	o.index += 20
	o.ok(note(1, 3, 1, "sx"))
	s, err := o.m.Snapshot()
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	store, err := badger.Open(t.TempDir(), badger.Options{MemtableBytes: 8 << 20})
	if err != nil {
		t.Fatal(err)
	}
	defer store.Close()
	m, err := New(store, Options{})
	if err != nil {
		t.Fatal(err)
	}
	if err := m.Restore(s.Index(), s.Next); err != nil {
		t.Fatal(err)
	}
	n := 0
	r, _ := m.At(0)
	defer r.Close()
	if err := r.Scan([]byte{TagMeta}, nil, func(_, _ []byte) bool { n++; return true }); err != nil || n < 60_000 {
		t.Fatal(n, err)
	}
}
