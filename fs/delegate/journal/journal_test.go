package journal

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"testing"

	"dfs/cluster/fault"
)

func mustOpen(t *testing.T, dir string, session uint64, o Options) (*Journal, []Left) {
	t.Helper()
	j, left, err := Open(dir, session, o)
	if err != nil {
		t.Fatal(err)
	}
	return j, left
}

func add(t *testing.T, j *Journal, kind byte, text string) Ticket {
	t.Helper()
	k, err := j.Append(kind, []byte(text))
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func TestWhatCountsIsFoundAgain(t *testing.T) {
	dir := t.TempDir()
	j, left := mustOpen(t, dir, 7, Options{Boot: "this"})
	if len(left) != 0 {
		t.Fatalf("an empty directory left %v", left)
	}
	add(t, j, 1, "a")
	add(t, j, 2, "")
	add(t, j, 1, "ccc")
	// The process dies here: nothing is closed.
	next, left := mustOpen(t, dir, 8, Options{Boot: "this"})
	if len(left) != 1 || left[0].Session != 7 || len(left[0].Records) != 3 {
		t.Fatalf("left %v", left)
	}
	for i, want := range []Record{{1, []byte("a")}, {2, nil}, {1, []byte("ccc")}} {
		if r := left[0].Records[i]; r.Kind != want.Kind || !bytes.Equal(r.Body, want.Body) {
			t.Errorf("record %d is %v", i, r)
		}
	}
	add(t, next, 1, "of the next session")
	if err := next.Forget(); err != nil {
		t.Fatal(err)
	}
	_, left = mustOpen(t, dir, 9, Options{Boot: "this"})
	if len(left) != 1 || left[0].Session != 8 || len(left[0].Records) != 1 {
		t.Fatalf("after Forget: %v", left)
	}
}

func TestNothingIsLeftOfWhatIsDone(t *testing.T) {
	dir := t.TempDir()
	j, _ := mustOpen(t, dir, 7, Options{Boot: "this"})
	text := string(make([]byte, 1<<20))
	for range 40 { // five files
		j.Done(add(t, j, 1, text))
	}
	if size := j.Size(); size > rotateAt+2<<20 {
		t.Errorf("%d bytes with nothing in them", size)
	}
	if err := j.Close(); err != nil {
		t.Fatal(err)
	}
	if es, _ := os.ReadDir(dir); len(es) != 0 {
		t.Errorf("files stay: %v", es)
	}
}

// A record may take back one of an older file, so an older file goes first.
func TestFilesGoInOrder(t *testing.T) {
	dir := t.TempDir()
	j, _ := mustOpen(t, dir, 7, Options{Boot: "this"})
	stays := add(t, j, 1, "counts")
	text := string(make([]byte, 1<<20))
	for range 20 {
		j.Done(add(t, j, 2, text))
	}
	_, left := mustOpen(t, dir, 8, Options{Boot: "this"})
	if len(left) != 1 || len(left[0].Records) != 21 {
		t.Fatalf("%d records behind one that counts", len(left[0].Records))
	}
	j.Done(stays)
	if size := j.Size(); size > rotateAt+2<<20 {
		t.Errorf("%d bytes with nothing in them", size)
	}
}

func TestATornRecordEndsItsFile(t *testing.T) {
	dir := t.TempDir()
	j, _ := mustOpen(t, dir, 7, Options{Boot: "this"})
	add(t, j, 1, "whole")
	add(t, j, 1, "torn")
	path := filepath.Join(dir, "journal.00000000")
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	whole := len(b) - recordLen - len("torn")
	for n := range len(b) {
		cutOff := bytes.Clone(b[:n])
		flipped := bytes.Clone(b)
		flipped[n] ^= 1
		for _, b := range [][]byte{cutOff, flipped} {
			_, _, rs, _ := parse(b)
			switch {
			case len(rs) > 1, len(rs) == 1 && string(rs[0].Body) != "whole":
				t.Fatalf("byte %d: read %v", n, rs)
			case len(rs) == 0 && n >= whole:
				t.Fatalf("byte %d: the whole record is lost", n)
			}
		}
	}
}

func TestItHasABound(t *testing.T) {
	j, _ := mustOpen(t, t.TempDir(), 7, Options{Max: 1000, Boot: "this"})
	k := add(t, j, 1, string(make([]byte, 900)))
	if _, err := j.Append(1, make([]byte, 200)); !errors.Is(err, fault.NoSpace) {
		t.Fatalf("beyond the bound: %v", err)
	}
	j.Done(k)
}

func FuzzParse(f *testing.F) {
	dir := f.TempDir()
	j, _, err := Open(dir, 7, Options{Boot: "this"})
	if err != nil {
		f.Fatal(err)
	}
	if _, err := j.Append(1, []byte("text")); err != nil {
		f.Fatal(err)
	}
	b, err := os.ReadFile(filepath.Join(dir, "journal.00000000"))
	if err != nil {
		f.Fatal(err)
	}
	f.Add(b)
	f.Fuzz(func(t *testing.T, b []byte) { parse(b) })
}
