// Package kvtest is the contract of kv.Store as tests. Every implementation runs all of it.
package kvtest

import (
	"flag"
	"fmt"
	"sync"
	"testing"
	"time"

	"dfs/blockstore/kv"
	"dfs/cluster/fault"
)

var seedFlag = flag.Uint64("kv.seed", 0, "seed of the random histories in kvtest; 0 takes the clock's")

func seed(t *testing.T) uint64 {
	s := *seedFlag
	if s == 0 {
		s = uint64(time.Now().UnixNano())
	}
	t.Logf("kv.seed=%d", s)
	return s
}

// Reopener is implemented by what open returns when the store can be closed and opened again with its contents.
// Reopen closes the receiver.
type Reopener interface {
	kv.Store
	Reopen(t *testing.T) kv.Store
}

// Run runs the contract on stores that open makes, each empty. open closes them itself, by t.Cleanup.
func Run(t *testing.T, open func(t *testing.T) kv.Store) {
	for _, c := range []struct {
		name string
		test func(*testing.T, kv.Store)
	}{
		{"empty", testEmpty},
		{"own writes", testOwnWrites},
		{"versions", testVersions},
		{"floor", testFloor},
		{"scan", testScan},
		{"scan merges", testScanMerges},
		{"abandoned", testAbandoned},
		{"limits", testLimits},
		{"order of commits", testCommitOrder},
		{"empty commit", testEmptyCommit},
		{"slices are copies", testCopies},
		{"readers beside the writer", testConcurrent},
		{"large transaction", testLarge},
		{"wipe", testWipe},
		{"reopen", testReopen},
		{"durable", testDurable},
		{"model", testModel},
	} {
		t.Run(c.name, func(t *testing.T) { c.test(t, open(t)) })
	}
}

func ok(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// put commits version with the pairs given; an empty value deletes.
func put(t *testing.T, s kv.Store, version uint64, pairs ...string) {
	t.Helper()
	x := s.Begin(version)
	defer x.Close()
	for i := 0; i < len(pairs); i += 2 {
		if pairs[i+1] == "" {
			ok(t, x.Delete([]byte(pairs[i])))
		} else {
			ok(t, x.Set([]byte(pairs[i]), []byte(pairs[i+1])))
		}
	}
	ok(t, x.Commit())
}

// dump returns "k=v k=v" of what a scan of r finds, and checks that Get agrees.
func dump(t *testing.T, r kv.Reader, prefix, from string) string {
	t.Helper()
	var out string
	type pair struct{ k, v string }
	var pairs []pair
	var f []byte
	if from != "" {
		f = []byte(from)
	}
	ok(t, r.Scan([]byte(prefix), f, func(k, v []byte) bool {
		pairs = append(pairs, pair{string(k), string(v)})
		return true
	}))
	for i, p := range pairs {
		if i > 0 {
			out += " "
		}
		out += p.k + "=" + p.v
		if v, found, err := r.Get([]byte(p.k)); err != nil || !found || string(v) != p.v {
			t.Fatalf("Get(%q) = %q, %v, %v after a scan found %q", p.k, v, found, err, p.v)
		}
	}
	return out
}

func want(t *testing.T, r kv.Reader, what string) {
	t.Helper()
	if got := dump(t, r, "", ""); got != what {
		t.Fatalf("found %q, want %q", got, what)
	}
}

func wantAt(t *testing.T, s kv.Store, version uint64, what string) {
	t.Helper()
	r := s.At(version)
	defer r.Close()
	want(t, r, what)
}

func testEmpty(t *testing.T, s kv.Store) {
	if n := s.Newest(); n != 0 {
		t.Fatalf("Newest %d", n)
	}
	wantAt(t, s, 0, "")
	wantAt(t, s, 9, "")
	r := s.At(1)
	defer r.Close()
	if v, found, err := r.Get([]byte("a")); v != nil || found || err != nil {
		t.Fatalf("Get = %q, %v, %v", v, found, err)
	}
}

func testOwnWrites(t *testing.T, s kv.Store) {
	put(t, s, 1, "a", "1", "b", "1")
	x := s.Begin(2)
	defer x.Close()
	ok(t, x.Set([]byte("c"), []byte("2")))
	ok(t, x.Set([]byte("a"), []byte("2")))
	ok(t, x.Delete([]byte("b")))
	ok(t, x.Delete([]byte("never")))
	want(t, x, "a=2 c=2")
	wantAt(t, s, 2, "a=1 b=1")
	ok(t, x.Set([]byte("b"), []byte("3")))
	want(t, x, "a=2 b=3 c=2")
	ok(t, x.Commit())
	wantAt(t, s, 2, "a=2 b=3 c=2")
}

func testVersions(t *testing.T, s kv.Store) {
	put(t, s, 3, "a", "3")
	put(t, s, 5, "a", "5", "b", "5")
	put(t, s, 9, "a", "")
	for _, c := range []struct {
		version uint64
		what    string
	}{{0, ""}, {2, ""}, {3, "a=3"}, {4, "a=3"}, {5, "a=5 b=5"}, {8, "a=5 b=5"}, {9, "b=5"}, {1 << 40, "b=5"}} {
		wantAt(t, s, c.version, c.what)
	}
	if n := s.Newest(); n != 9 {
		t.Fatalf("Newest %d, want 9", n)
	}
	future := s.At(1 << 40) // reads as the newest of the moment it was made
	defer future.Close()
	put(t, s, 10, "a", "10")
	want(t, future, "b=5")
}

func testFloor(t *testing.T, s kv.Store) {
	put(t, s, 1, "a", "1", "b", "1")
	held := s.At(1)
	defer held.Close()
	for v := uint64(2); v <= 40; v++ {
		put(t, s, v, "a", fmt.Sprint(v))
	}
	s.SetFloor(30)
	s.SetFloor(20) // lower again: no harm
	wantAt(t, s, 30, "a=30 b=1")
	wantAt(t, s, 35, "a=35 b=1")
	want(t, held, "a=1 b=1") // kept until it is closed
	s.SetFloor(1000)         // above the newest
	wantAt(t, s, 1000, "a=40 b=1")
	put(t, s, 41, "a", "41")
	wantAt(t, s, 1000, "a=41 b=1")
}

func testScan(t *testing.T, s kv.Store) {
	put(t, s, 1, "a", "1", "b", "2", "ba", "3", "bb", "4", "bb\x00", "5", "c", "6", "\xff", "7", "\xff\xff", "8")
	r := s.At(1)
	defer r.Close()
	for _, c := range []struct{ prefix, from, what string }{
		{"", "", "a=1 b=2 ba=3 bb=4 bb\x00=5 c=6 \xff=7 \xff\xff=8"},
		{"b", "", "b=2 ba=3 bb=4 bb\x00=5"},
		{"b", "bb", "bb=4 bb\x00=5"},
		{"b", "a", "b=2 ba=3 bb=4 bb\x00=5"},
		{"b", "c", ""},
		{"", "bb\x00", "bb\x00=5 c=6 \xff=7 \xff\xff=8"},
		{"\xff", "", "\xff=7 \xff\xff=8"},
		{"x", "", ""},
	} {
		if got := dump(t, r, c.prefix, c.from); got != c.what {
			t.Errorf("Scan(%q, %q) = %q, want %q", c.prefix, c.from, got, c.what)
		}
	}
	n := 0
	ok(t, r.Scan(nil, nil, func(k, v []byte) bool { n++; return n < 3 }))
	if n != 3 {
		t.Errorf("a scan told to stop after 3 called %d times", n)
	}
	// A reader may be asked anything inside a scan.
	ok(t, r.Scan([]byte("a"), nil, func(k, v []byte) bool {
		if got, found, err := r.Get([]byte("c")); err != nil || !found || string(got) != "6" {
			t.Errorf("Get inside a scan: %q, %v, %v", got, found, err)
		}
		ok(t, r.Scan([]byte("b"), nil, func(k, v []byte) bool { return true }))
		return true
	}))
}

func testScanMerges(t *testing.T, s kv.Store) {
	put(t, s, 1, "b", "1", "d", "1", "f", "1")
	x := s.Begin(2)
	defer x.Close()
	for _, k := range []string{"a", "c", "d", "g"} {
		ok(t, x.Set([]byte(k), []byte("2")))
	}
	ok(t, x.Delete([]byte("b")))
	ok(t, x.Delete([]byte("e")))
	ok(t, x.Set([]byte("e"), []byte("3"))) // after its delete
	ok(t, x.Set([]byte("h"), []byte("3")))
	ok(t, x.Delete([]byte("h")))
	want(t, x, "a=2 c=2 d=2 e=3 f=1 g=2")
	if got := dump(t, x, "", "d"); got != "d=2 e=3 f=1 g=2" {
		t.Fatalf("from d: %q", got)
	}
	ok(t, x.Commit())
	wantAt(t, s, 2, "a=2 c=2 d=2 e=3 f=1 g=2")
}

func testAbandoned(t *testing.T, s kv.Store) {
	put(t, s, 1, "a", "1")
	x := s.Begin(2)
	ok(t, x.Set([]byte("a"), []byte("2")))
	x.Close()
	wantAt(t, s, 2, "a=1")
	put(t, s, 2, "b", "2")
	wantAt(t, s, 2, "a=1 b=2")
}

func testLimits(t *testing.T, s kv.Store) {
	x := s.Begin(1)
	defer x.Close()
	key, value := make([]byte, kv.MaxKey), make([]byte, kv.MaxValue)
	ok(t, x.Set(key, value))
	ok(t, x.Set([]byte{1}, nil))
	for _, c := range []struct {
		key, value int
		kind       fault.Kind
	}{{0, 1, fault.Invalid}, {kv.MaxKey + 1, 1, fault.Invalid}, {1, kv.MaxValue + 1, fault.TooBig}} {
		if err := x.Set(make([]byte, c.key), make([]byte, c.value)); fault.KindOf(err) != c.kind {
			t.Errorf("key %d, value %d: %v, want %v", c.key, c.value, err, c.kind)
		}
	}
	ok(t, x.Commit())
	r := s.At(1)
	defer r.Close()
	if v, found, err := r.Get(key); err != nil || !found || len(v) != kv.MaxValue {
		t.Fatalf("largest pair: %d bytes, %v, %v", len(v), found, err)
	}
	if v, found, err := r.Get([]byte{1}); err != nil || !found || len(v) != 0 {
		t.Fatalf("empty value: %q, %v, %v", v, found, err)
	}
}

func testCommitOrder(t *testing.T, s kv.Store) {
	put(t, s, 5, "a", "5")
	for _, v := range []uint64{0, 4, 5} {
		x := s.Begin(v)
		ok(t, x.Set([]byte("a"), []byte("again")))
		if err := x.Commit(); fault.KindOf(err) != fault.Invalid {
			t.Errorf("commit of %d after 5: %v, want invalid", v, err)
		}
		x.Close()
	}
	wantAt(t, s, 9, "a=5")
}

func testEmptyCommit(t *testing.T, s kv.Store) {
	put(t, s, 1, "a", "1")
	put(t, s, 7)
	if n := s.Newest(); n != 7 {
		t.Fatalf("Newest %d, want 7", n)
	}
	wantAt(t, s, 7, "a=1")
	if re, can := s.(Reopener); can {
		if n := re.Reopen(t).Newest(); n != 7 {
			t.Fatalf("Newest %d after reopening, want 7", n)
		}
	}
}

func testCopies(t *testing.T, s kv.Store) {
	x := s.Begin(1)
	k, v := []byte("a"), []byte("1")
	ok(t, x.Set(k, v))
	k[0], v[0] = 'x', 'x'
	ok(t, x.Commit())
	x.Close()
	r := s.At(1)
	got, _, err := r.Get([]byte("a"))
	ok(t, err)
	got[0] = 'y'
	r.Close()
	wantAt(t, s, 1, "a=1")
}

// A reader's version is the same all through, whatever commits meanwhile: all keys of a version are equal.
func testConcurrent(t *testing.T, s kv.Store) {
	const keys, versions = 20, 200
	var wg sync.WaitGroup
	stop := make(chan struct{})
	for range 3 {
		wg.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
				}
				version := s.Newest()
				r := s.At(version)
				n := 0
				err := r.Scan(nil, nil, func(k, v []byte) bool {
					if string(v) != fmt.Sprint(version) {
						t.Errorf("%s = %s at %d", k, v, version)
					}
					n++
					return true
				})
				if err != nil || version > 0 && n != keys {
					t.Errorf("at %d: %d keys, %v", version, n, err)
				}
				r.Close()
			}
		})
	}
	for v := uint64(1); v <= versions; v++ {
		x := s.Begin(v)
		for k := range keys {
			ok(t, x.Set(fmt.Appendf(nil, "%02d", k), fmt.Append(nil, v)))
		}
		ok(t, x.Commit())
		x.Close()
	}
	close(stop)
	wg.Wait()
}

// One log entry, so one transaction, may change 8,000 keys and 2 MiB.
func testLarge(t *testing.T, s kv.Store) {
	const n, size = 8000, 200
	x := s.Begin(1)
	for i := range n {
		ok(t, x.Set(fmt.Appendf(nil, "key %09d of a length that is usual", i), make([]byte, size)))
	}
	ok(t, x.Commit())
	x.Close()
	r := s.At(1)
	defer r.Close()
	got := 0
	ok(t, r.Scan(nil, nil, func(k, v []byte) bool { got++; return len(v) == size }))
	if got != n {
		t.Fatalf("%d keys, want %d", got, n)
	}
}

func testWipe(t *testing.T, s kv.Store) {
	put(t, s, 50, "a", "1", "b", "2")
	ok(t, s.Wipe())
	if n := s.Newest(); n != 0 {
		t.Fatalf("Newest %d after Wipe", n)
	}
	wantAt(t, s, 50, "")
	put(t, s, 7, "c", "3") // lower versions than before are fine now
	wantAt(t, s, 7, "c=3")
	put(t, s, 80, "c", "4")
	wantAt(t, s, 60, "c=3")
	if re, can := s.(Reopener); can {
		s = re.Reopen(t)
		wantAt(t, s, 80, "c=4")
		wantAt(t, s, 60, "c=3")
	}
}

func testReopen(t *testing.T, s kv.Store) {
	re, can := s.(Reopener)
	if !can {
		t.Skip("this store keeps nothing")
	}
	put(t, s, 3, "a", "3")
	put(t, s, 8, "a", "8", "b", "8")
	s = re.Reopen(t)
	if n := s.Newest(); n != 8 {
		t.Fatalf("Newest %d, want 8", n)
	}
	wantAt(t, s, 3, "a=3")
	wantAt(t, s, 8, "a=8 b=8")
	if d := s.Durable(); d != 8 {
		t.Fatalf("Durable %d after a clean stop at 8", d)
	}
	put(t, s, 9, "b", "")
	wantAt(t, s, 9, "a=8")
}

func testDurable(t *testing.T, s kv.Store) {
	last := s.Durable()
	for v := uint64(1); v <= 50; v++ {
		put(t, s, v, "a", fmt.Sprint(v))
		d := s.Durable()
		if d < last || d > v {
			t.Fatalf("Durable %d at %d, was %d", d, v, last)
		}
		last = d
	}
}
