package disk

import (
	"bytes"
	"math"
	"testing"
)

// TestAhead writes records one behind the other: they are there, the file seldom grows, what is ahead of them is zeros, and at the
// end nothing is left of it.
func TestAhead(t *testing.T) {
	for _, limit := range []int64{math.MaxInt64, 300 << 10} {
		f, err := Dir(t.TempDir()).Open("f", true)
		if err != nil {
			t.Fatal(err)
		}
		var a Ahead
		var want []byte
		grown, before := 0, int64(0)
		for i := range 70 {
			rec := bytes.Repeat([]byte{byte(i + 1)}, 4000)
			if err := a.WriteAll(f, limit, int64(len(want)), rec[:1000], rec[1000:]); err != nil {
				t.Fatal(err)
			}
			want = append(want, rec...)
			size, err := f.Size()
			if err != nil {
				t.Fatal(err)
			}
			if size != before {
				grown++
			}
			if before = size; size > limit || size < int64(len(want)) {
				t.Fatalf("%d bytes after %d of at most %d", size, len(want), limit)
			}
			got := make([]byte, size)
			if _, err := f.ReadAt(got, 0); err != nil {
				t.Fatal(err)
			}
			if !bytes.Equal(got, append(want[:len(want):len(want)], make([]byte, len(got)-len(want))...)) {
				t.Fatalf("after record %d the file is not the records and zeros", i)
			}
		}
		if grown != 2 {
			t.Errorf("the file grew %d times", grown)
		}
		if err := a.Trim(f, int64(len(want))); err != nil {
			t.Fatal(err)
		}
		if size, _ := f.Size(); size != int64(len(want)) {
			t.Errorf("%d bytes are left of %d", size, len(want))
		}
		if err := f.Close(); err != nil {
			t.Fatal(err)
		}
	}
}
