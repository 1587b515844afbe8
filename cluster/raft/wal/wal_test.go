package wal

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	"dfs/blockstore/disk"
	"dfs/cluster/fault"
)

func entries(lo, hi, term uint64) []Entry {
	var es []Entry
	for i := lo; i < hi; i++ {
		es = append(es, Entry{Index: i, Term: term, Kind: uint8(i % 3), Data: fmt.Appendf(nil, "entry %d of term %d", i, term)})
	}
	return es
}

func mustOpen(t *testing.T, d disk.Disk) *Log {
	t.Helper()
	l, err := Open(d, "me", Options{SegmentBytes: 4 << 10, CacheBytes: 2 << 10})
	if err != nil {
		t.Fatal(err)
	}
	return l
}

func mustSave(t *testing.T, l *Log, b ...Batch) {
	t.Helper()
	if err := l.Save(b...); err != nil {
		t.Fatal(err)
	}
}

func contents(t *testing.T, l *Log) []Entry {
	t.Helper()
	if l.First() > l.Last() {
		return nil
	}
	es, err := l.Entries(l.First(), l.Last()+1, 1<<40)
	if err != nil {
		t.Fatal(err)
	}
	return es
}

func same(a, b []Entry) bool {
	return slices.EqualFunc(a, b, func(x, y Entry) bool {
		return x.Index == y.Index && x.Term == y.Term && x.Kind == y.Kind && string(x.Data) == string(y.Data)
	})
}

func TestSavedIsThereAfterReopen(t *testing.T) {
	for name, d := range map[string]disk.Disk{"memory": disk.NewMemory(), "directory": disk.Dir(t.TempDir())} {
		t.Run(name, func(t *testing.T) {
			l := mustOpen(t, d)
			mustSave(t, l, Batch{Entries: entries(1, 300, 1), Hard: &Hard{1, 7, 12}, Conf: &Conf{1, []byte("conf")}})
			mustSave(t, l, Batch{Entries: entries(200, 210, 2), Hard: &Hard{2, 9, 150}})
			want := append(entries(1, 200, 1), entries(200, 210, 2)...)
			if got := contents(t, l); !same(got, want) {
				t.Fatal("before reopening:", len(got))
			}
			if _, err := Open(d, "me", Options{}); !errors.Is(err, fault.Busy) {
				t.Fatal("a second open:", err)
			}
			if err := l.Close(); err != nil {
				t.Fatal(err)
			}
			if _, err := Open(d, "you", Options{}); !errors.Is(err, fault.Conflict) {
				t.Fatal("another's log:", err)
			}
			l = mustOpen(t, d)
			if got := contents(t, l); !same(got, want) {
				t.Fatal("after reopening:", len(got))
			}
			if l.Hard() != (Hard{2, 9, 150}) || string(l.Conf().Data) != "conf" {
				t.Fatal(l.Hard(), l.Conf())
			}
			if err := l.Compact(150, Conf{150, []byte("later")}); err != nil {
				t.Fatal(err)
			}
			if l.First() == 1 || l.First() > 151 {
				t.Fatal("first after compaction:", l.First())
			}
			first := l.First()
			l.Close()
			l = mustOpen(t, d)
			if got := contents(t, l); l.First() != first || !same(got, want[first-1:]) || string(l.Conf().Data) != "later" {
				t.Fatal("after compaction:", l.First(), l.Last(), l.Conf())
			}
			mustSave(t, l, Batch{Base: &Mark{1000, 5}, Conf: &Conf{1000, []byte("snap")}, Entries: entries(1001, 1003, 5)})
			l.Close()
			l = mustOpen(t, d)
			defer l.Close()
			term, err := l.Term(1000)
			if got := contents(t, l); !same(got, entries(1001, 1003, 5)) || term != 5 || err != nil {
				t.Fatal("after a snapshot:", l.First(), l.Last(), term, err)
			}
		})
	}
}

// TestPowerCuts runs random histories, cuts the power at a random call, and checks that what Save returned for is
// there, and that anything else there was at least once being saved.
func TestPowerCuts(t *testing.T) {
	for seed := range uint64(300) {
		if err := powerCuts(t, seed); err != nil {
			t.Fatalf("seed %d: %v", seed, err)
		}
	}
}

func powerCuts(t *testing.T, seed uint64) error {
	rng := rand.New(rand.NewPCG(seed, 1))
	m := disk.NewMemory()
	left := 0
	cut := errors.New("power cut")
	d := disk.Faulty(m, func(op disk.Op, _ string) error {
		if !op.Changes() {
			return nil
		}
		if left--; left < 0 {
			return cut
		}
		return nil
	})
	var base Mark
	var log []Entry // promised
	term := uint64(1)
	hard := Hard{}
	conf := Conf{}
	var l *Log
	for range 12 {
		left = rng.IntN(60)
		var err error
		if l == nil {
			var opened *Log
			if opened, err = Open(d, "me", Options{SegmentBytes: 2 << 10, CacheBytes: 1 << 10}); err == nil {
				l = opened
				base = Mark{l.First() - 1, 0}
				got := contents(t, l)
				if len(log) > 0 {
					last := log[len(log)-1].Index
					if l.First() > last+1 {
						return fmt.Errorf("first is %d, promised up to %d", l.First(), last)
					}
					i := slices.IndexFunc(log, func(e Entry) bool { return e.Index == l.First() })
					if i >= 0 && (len(got) < len(log)-i || !same(got[:len(log)-i], log[i:])) {
						return fmt.Errorf("promised %d to %d, there is %d to %d", log[i].Index, last, l.First(), l.Last())
					}
				}
				if l.Hard().Term < hard.Term || l.Conf().Index < conf.Index {
					return fmt.Errorf("hard %v, promised %v; conf %v, promised %v", l.Hard(), hard, l.Conf().Index, conf.Index)
				}
				log, hard, conf, term = got, l.Hard(), l.Conf(), max(term, l.Hard().Term)+1
			}
		}
		for err == nil && left > -1 {
			next := l.Last() + 1
			var b Batch
			switch rng.IntN(12) {
			case 0: // replace a suffix above what is "applied", for which the configuration stands here
				if n := l.Last() - max(l.First()-1, conf.Index); n > 0 {
					next -= rng.Uint64N(n)
				}
				term++
			case 1:
				to := conf.Index
				if err = l.Compact(to, conf); err == nil {
					base = Mark{l.First() - 1, 0}
				}
				continue
			case 2:
				if len(log) > 0 {
					c := Conf{Index: l.Last(), Data: []byte("conf")}
					b.Conf = &c
				}
			case 3:
				if rng.IntN(4) == 0 {
					at := Mark{l.Last() + 10, term}
					b = Batch{Base: &at, Conf: &Conf{at.Index, []byte("snap")}}
					next = at.Index + 1
				}
			}
			h := Hard{Term: term, Vote: rng.Uint64N(5)}
			b.Hard = &h
			b.Entries = entries(next, next+rng.Uint64N(20), term)
			if len(b.Entries) > 0 && len(log) > 0 {
				// From now on the replaced ones may be gone.
				if b.Base == nil {
					log = slices.DeleteFunc(slices.Clone(log), func(e Entry) bool { return e.Index >= next })
				}
			}
			if b.Base != nil {
				err = l.Save(b)
				if err != nil {
					// Either state is right; the next open shows which.
					log, base = nil, Mark{}
					break
				}
				base, log = *b.Base, slices.Clone(b.Entries)
			} else if err = l.Save(b); err == nil {
				log = append(log, b.Entries...)
			}
			if err == nil {
				hard = h
				if b.Conf != nil {
					conf = *b.Conf
				}
				if i := slices.IndexFunc(log, func(e Entry) bool { return e.Index > l.First()-1 }); i > 0 {
					log = log[i:]
				}
				if got := contents(t, l); !same(got, log) {
					return fmt.Errorf("running: want %d entries after %v, have %d to %d", len(log), base, l.First(), l.Last())
				}
			}
		}
		if err != nil && !errors.Is(err, cut) {
			return err
		}
		l = nil
		if rng.IntN(5) == 0 {
			m.Cut(nil)
		} else {
			m.Cut(rng)
		}
	}
	return nil
}

// TestRotIsNoTornTail flips bits of a log that was synced and sealed: opening refuses, or loses nothing, the very last
// record included; Verify agrees, and so does what can be salvaged.
func TestRotIsNoTornTail(t *testing.T) {
	d := rebuilt(t)
	want := entries(1, 150, 1)
	names, _ := d.Names()
	var refused, fine int
	for _, name := range names {
		f, err := d.Open(name, false)
		if err != nil {
			t.Fatal(err)
		}
		size, _ := f.Size()
		for bit := 0; bit < int(size)*8; bit += 37 {
			d.Flip(name, int64(bit/8), uint(bit%8))
			rotten := Verify(d)
			left, err := Salvage(d, nil)
			if err != nil || left.Last < 148 || left.Term != 1 || left.Last == 148 && !left.Hole {
				t.Fatalf("%s bit %d: %+v, %v", name, bit, left, err)
			}
			l, err := Open(d, "me", Options{SegmentBytes: 4 << 10})
			if errors.Is(rotten, fault.Corrupt) != errors.Is(err, fault.Corrupt) {
				t.Fatalf("%s bit %d: Verify says %v, Open %v", name, bit, rotten, err)
			}
			switch {
			case errors.Is(err, fault.Corrupt):
				refused++
				d.Flip(name, int64(bit/8), uint(bit%8))
			case err != nil:
				t.Fatal(err)
			default:
				got := contents(t, l)
				l.Close()
				if !same(got, want) {
					t.Fatalf("%s bit %d: %d of %d entries", name, bit, len(got), len(want))
				}
				fine++
				d = rebuilt(t) // opening has cleared what was flipped
			}
		}
	}
	if refused == 0 || fine == 0 {
		t.Fatal(refused, fine)
	}
}

// A log that was synced and whose process was killed is sealed as soon as it rests: what was synced in it cannot pass for torn.
func TestSealedIsSynced(t *testing.T) {
	for _, sealed := range []bool{false, true} {
		d := disk.NewMemory()
		l := mustOpen(t, d)
		mustSave(t, l, Batch{Entries: entries(1, 4, 1), Hard: &Hard{1, 1, 3}})
		end := l.segs[0].end
		for range 3 { // once is enough, and again is nothing
			if !sealed {
				break
			}
			if err := l.Seal(); err != nil {
				t.Fatal(err)
			}
		}
		if grown := l.segs[0].end > end; grown != sealed || l.segs[0].end > end+64 {
			t.Fatalf("sealed %v: %d, then %d", sealed, end, l.segs[0].end)
		}
		d.Cut(nil) // killed
		d.Flip(segmentName(1), end-9, 0)
		l, err := Open(d, "me", Options{})
		if err == nil {
			l.Close()
		}
		if errors.Is(err, fault.Corrupt) != sealed {
			t.Fatalf("sealed %v: %v", sealed, err)
		}
	}
	d := disk.NewMemory()
	l := mustOpen(t, d)
	for i := uint64(1); i < 200; i++ { // over the ends of segments, too
		mustSave(t, l, Batch{Entries: entries(i, i+1, 1), Hard: &Hard{1, 1, i}})
		if err := l.Seal(); err != nil {
			t.Fatal(err)
		}
	}
	d.Cut(nil)
	l = mustOpen(t, d)
	defer l.Close()
	if got := contents(t, l); !same(got, entries(1, 200, 1)) {
		t.Fatal(len(got))
	}
}

// A discarded log begins anew, and is still its owner's; of the two files that say so one may rot.
func TestDiscardAndOwner(t *testing.T) {
	d := rebuilt(t)
	if err := Discard(d); err != nil {
		t.Fatal(err)
	}
	for _, name := range idNames {
		d.Flip(name, 26, 3)
		if id, err := Owner(d); id != "me" || err != nil {
			t.Fatal(id, err)
		}
		if _, err := Open(d, "you", Options{}); !errors.Is(err, fault.Conflict) {
			t.Fatal(err)
		}
		l := mustOpen(t, d) // and the other is mended
		if l.First() != 1 || l.Last() != 0 || l.Hard() != (Hard{}) {
			t.Fatal(l.First(), l.Last())
		}
		l.Close()
	}
}

func rebuilt(t *testing.T) *disk.Memory {
	d := disk.NewMemory()
	l := mustOpen(t, d)
	for i := uint64(1); i < 150; i++ {
		mustSave(t, l, Batch{Entries: entries(i, i+1, 1), Hard: &Hard{1, 1, i}})
	}
	l.Close()
	return d
}

func FuzzRecord(f *testing.F) {
	h := head{seq: 3, base: Mark{4, 2}, hard: Hard{2, 1, 3}, conf: Conf{4, []byte("c")}}
	f.Add(appendRecord(nil, place{3, 0}, 0, kindHead, h.append))
	f.Add(appendRecord(nil, place{3, 0}, 0, kindEntry, func(b []byte) []byte { return appendEntry(b, Entry{5, 2, 0, []byte("x")}) }))
	f.Fuzz(func(t *testing.T, b []byte) {
		records, end := scan(b, 3)
		rotten(b, 3, end)
		for _, rec := range records {
			if int64(len(rec.payload)) > rec.size {
				t.Fatal("payload beyond the record")
			}
			readHead(rec.payload)
			if e, err := readEntry(rec.payload); err == nil {
				again, err := readEntry(appendEntry(nil, e))
				if err != nil || again.Index != e.Index || string(again.Data) != string(e.Data) {
					t.Fatal(again, e, err)
				}
			}
		}
	})
}

func BenchmarkSave(b *testing.B) {
	l, err := Open(disk.Dir(b.TempDir()), "me", Options{})
	if err != nil {
		b.Fatal(err)
	}
	defer l.Close()
	data := make([]byte, 200)
	b.ReportAllocs()
	for i := uint64(1); b.Loop(); i++ {
		if err := l.Save(Batch{Entries: []Entry{{Index: i, Term: 1, Data: data}}}); err != nil {
			b.Fatal(err)
		}
	}
}
