package vfs

import (
	"bytes"
	"context"
	"math/rand/v2"
	"sync"
	"testing"

	"dfs/blockstore"
	"dfs/cluster"
	"dfs/cluster/placement"
	"dfs/fs/extent"
	"dfs/fs/meta"
)

// peers gives extents' bytes, which say where they are from, and counts them.
type peers struct {
	Blocks
	mu   sync.Mutex
	sent int64
}

func (p *peers) Read(_ context.Context, s blockstore.Span, _ placement.Layout, b []byte) error {
	p.mu.Lock()
	p.sent += int64(len(b))
	p.mu.Unlock()
	for i := range b {
		b[i] = byteAt(s.Extent, int64(s.First)*blockstore.Size+int64(i))
	}
	return nil
}

func byteAt(id blockstore.ID, pos int64) byte { return byte(pos/blockstore.Size) ^ byte(pos) ^ id[0] }

// lab is a file of whole extents on other peers, whose bytes are those of their own positions.
type lab struct {
	peers
	f *FS
	h *handle
	m extent.Map
}

const labExtent = 4 << 20

func newLab(t *testing.T, extents int, aheadBytes int64) *lab {
	l := &lab{}
	l.f = &FS{blocks: &l.peers}
	l.f.o.Self[0] = 9
	l.f.ahead = newAhead(&l.peers, aheadBytes, &l.f.tasks)
	l.f.nodes = map[meta.Ino]*node{}
	l.h = &handle{n: l.f.pin(7)}
	for i := range extents {
		l.m = append(l.m, extent.Extent{Off: int64(i) * labExtent,
			Span:   blockstore.Span{Extent: blockstore.ID{byte(i)}, Count: labExtent / blockstore.Size},
			Layout: placement.Layout{Peers: []cluster.PeerID{{1}}}})
	}
	l.f.tasks.begin()
	t.Cleanup(l.f.tasks.end)
	return l
}

func (l *lab) size() int64 { return int64(len(l.m)) * labExtent }

// read is what readUnder does with a map.
func (l *lab) read(t *testing.T, off int64, n int) {
	t.Helper()
	far := l.h.seq.ahead(off, n)
	end := min(off+int64(n)+far, l.size())
	var m extent.Map
	for _, e := range l.m {
		if e.Off < end && e.End() > off {
			m = append(m, e)
		}
	}
	got, want := make([]byte, n), make([]byte, n)
	for i := range want {
		pos := off + int64(i)
		want[i] = byteAt(blockstore.ID{byte(pos / labExtent)}, pos%labExtent)
	}
	if err := l.f.fill(context.Background(), l.h, m, off, got); err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, want) {
		t.Fatalf("wrong bytes at %d", off)
	}
}

func (l *lab) total() int64 {
	l.f.tasks.end() // what is on its way is counted, too
	l.f.tasks.begin()
	return l.sent
}

// A file that is read from its start to its end travels once, and then nothing of it is kept, in whatever order a
// kernel's read-ahead arrives.
func TestReadAheadTravelsOnce(t *testing.T) {
	for name, order := range map[string][]int{"in order": {0, 1, 2, 3}, "as a kernel sends it": {1, 0, 3, 2}} {
		t.Run(name, func(t *testing.T) {
			const unit = 128 << 10
			l := newLab(t, 8, 64<<20)
			for at := int64(0); at < l.size(); at += 4 * unit {
				for _, k := range order {
					l.read(t, at+int64(k)*unit, unit)
				}
			}
			if sent := l.total(); sent != l.size() {
				t.Errorf("%d bytes travelled for %d", sent, l.size())
			}
			if l.f.ahead.bytes != 0 || len(l.f.ahead.steps) != 0 || l.f.ahead.order.Len() != 0 {
				t.Errorf("%d bytes are kept", l.f.ahead.bytes)
			}
		})
	}
}

// Who reads here and there makes nobody read ahead, also where the file is small, until it is the same megabyte again and again
// (TestScatteredReadsFetchWhatIsHot).
func TestRandomReadsReadNothingAhead(t *testing.T) {
	const reads, unit = 60, 4 << 10
	l := newLab(t, 2, 64<<20)
	r := rand.New(rand.NewPCG(1, 2))
	for range reads {
		l.read(t, r.Int64N(l.size()/unit)*unit, unit)
	}
	if sent := l.total(); sent != reads*unit {
		t.Errorf("%d bytes travelled for %d", sent, reads*unit)
	}
}

// What was read ahead of a file is forgotten when nobody has it open any more, and what does not fit earlier.
func TestReadAheadIsBounded(t *testing.T) {
	l := newLab(t, 8, 3<<20)
	for at := int64(0); at < 6<<20; at += 64 << 10 {
		l.read(t, at, 64<<10)
		if l.f.ahead.bytes > 3<<20 {
			t.Fatalf("%d bytes are kept", l.f.ahead.bytes)
		}
	}
	l.total()
	if l.f.ahead.bytes == 0 {
		t.Error("nothing was read ahead")
	}
	l.f.unpin(l.h.n)
	if l.f.ahead.bytes != 0 || len(l.f.ahead.steps) != 0 {
		t.Errorf("%d bytes of a closed file are kept", l.f.ahead.bytes)
	}
}
