package badger

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"dfs/blockstore/kv"
	"dfs/blockstore/kv/kvtest"
	"dfs/cluster/fault"
)

func open(t *testing.T, dir string, o Options) *Store {
	t.Helper()
	s, err := Open(dir, o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

// reopening gives kvtest a store that can be closed and opened.
type reopening struct {
	*Store
	dir string
}

func (r reopening) Reopen(t *testing.T) kv.Store {
	if err := r.Close(); err != nil {
		t.Fatal(err)
	}
	return reopening{open(t, r.dir, Options{}), r.dir}
}

func TestContract(t *testing.T) {
	kvtest.Run(t, func(t *testing.T) kv.Store {
		dir := t.TempDir()
		return reopening{open(t, dir, Options{}), dir}
	})
}

func TestSecondOpenIsBusy(t *testing.T) {
	dir := t.TempDir()
	open(t, dir, Options{})
	if _, err := Open(dir, Options{}); fault.KindOf(err) != fault.Busy {
		t.Fatalf("%v, want busy", err)
	}
	if err := Discard(dir); fault.KindOf(err) != fault.Busy {
		t.Fatalf("discard: %v, want busy", err)
	}
}

func TestTooBig(t *testing.T) {
	s := open(t, t.TempDir(), Options{MemtableBytes: 1 << 20})
	x := s.Begin(1)
	for i := range 10 {
		if err := x.Set(fmt.Append(nil, i), make([]byte, kv.MaxValue)); err != nil {
			t.Fatal(err)
		}
	}
	if err := x.Commit(); fault.KindOf(err) != fault.TooBig {
		t.Fatalf("%v, want too big", err)
	}
	x.Close()
	commit(t, s, 1) // nothing is broken, nothing half done
	if v, found := get(t, s, 1, "0"); found {
		t.Fatalf("left behind: %d bytes", len(v))
	}
}

// commit writes key = version, and a little of everything for later versions to overwrite.
func commit(t *testing.T, s *Store, version uint64) {
	t.Helper()
	x := s.Begin(version)
	defer x.Close()
	value := fmt.Appendf(make([]byte, 400), "%d", version)
	for i := range 20 {
		if err := x.Set(fmt.Appendf(nil, "%d/%d", i, version%50), value); err != nil {
			t.Fatal(err)
		}
	}
	if err := x.Set([]byte("applied"), fmt.Append(nil, version)); err != nil {
		t.Fatal(err)
	}
	if err := x.Commit(); err != nil {
		t.Fatal(err)
	}
}

func get(t *testing.T, s *Store, version uint64, key string) (string, bool) {
	t.Helper()
	r := s.At(version)
	defer r.Close()
	v, found, err := r.Get([]byte(key))
	if err != nil {
		t.Fatal(err)
	}
	return string(v), found
}

// copyDir copies a directory, LOCK excepted; false when a file vanished meanwhile.
func copyDir(t *testing.T, from string) (string, bool) {
	t.Helper()
	to := filepath.Join(t.TempDir(), "copy")
	var manifests, others []string
	err := filepath.WalkDir(from, func(path string, d os.DirEntry, err error) error {
		switch {
		case err != nil || d.Name() == "LOCK":
		case d.IsDir():
			rel, _ := filepath.Rel(from, path)
			return os.MkdirAll(filepath.Join(to, rel), 0o700)
		case d.Name() == "MANIFEST":
			manifests = append(manifests, path)
		default:
			others = append(others, path)
		}
		return err
	})
	for _, path := range append(manifests, others...) { // the manifest first: what it names is there, or has changed
		rel, _ := filepath.Rel(from, path)
		b, readErr := os.ReadFile(path)
		if err == nil && readErr == nil {
			err = os.WriteFile(filepath.Join(to, rel), b, 0o600)
		} else if err == nil {
			err = readErr
		}
	}
	if errors.Is(err, os.ErrNotExist) {
		return "", false
	}
	if err != nil {
		t.Fatal(err)
	}
	return to, true
}

func mustCopy(t *testing.T, from string) string {
	t.Helper()
	to, whole := copyDir(t, from)
	if !whole {
		t.Fatal("files vanished")
	}
	return to
}

// killed copies an open store at one moment, as a kill would leave it: no flush or compaction ended during the copy.
func killed(t *testing.T, s *Store) string {
	t.Helper()
	for range 1000 {
		before := fmt.Sprint(s.gen.db.Tables())
		to, whole := copyDir(t, s.dir)
		if whole && fmt.Sprint(s.gen.db.Tables()) == before {
			return to
		}
	}
	t.Fatal("the tables never stand still")
	return ""
}

// A process that dies loses nothing; a machine that dies leaves exactly what Durable said or more, as a whole version.
func TestUncleanStops(t *testing.T) {
	dir := t.TempDir()
	s := open(t, dir, Options{MemtableBytes: 2 << 20, BootID: "one"})
	var last uint64
	for last < 200 || s.Durable() == 0 {
		last++
		commit(t, s, last)
		if last > 5000 {
			t.Fatal("no memtable was ever flushed")
		}
	}
	durable := s.Durable()
	left := killed(t, s)

	same := open(t, mustCopy(t, left), Options{MemtableBytes: 2 << 20, BootID: "one"})
	if n := same.Newest(); n != last {
		t.Errorf("after a kill: newest %d, want %d", n, last)
	}
	if v, _ := get(t, same, last, "applied"); v != fmt.Sprint(last) {
		t.Errorf("after a kill: applied %s, want %d", v, last)
	}

	cut := open(t, mustCopy(t, left), Options{MemtableBytes: 2 << 20, BootID: "two"})
	n := cut.Newest()
	if n < durable || n >= last {
		t.Errorf("after a power cut: newest %d, durable was %d of %d", n, durable, last)
	}
	if cut.Durable() != n {
		t.Errorf("after a power cut: durable %d, newest %d", cut.Durable(), n)
	}
	if v, _ := get(t, cut, n, "applied"); v != fmt.Sprint(n) {
		t.Errorf("after a power cut: applied %s at %d", v, n)
	}
	commit(t, cut, n+1)
}

// Damage to a table is found at opening, never passed over; a discarded store starts empty.
func TestDamage(t *testing.T) {
	dir := t.TempDir()
	s := open(t, dir, Options{})
	for v := range uint64(100) {
		commit(t, s, v+1)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	tables, _ := filepath.Glob(filepath.Join(dir, "*", "*.sst"))
	if len(tables) == 0 {
		t.Fatal("no tables")
	}
	for _, where := range []string{"first block", "index", "missing", "manifest"} {
		t.Run(where, func(t *testing.T) {
			dir := mustCopy(t, dir)
			tables, _ := filepath.Glob(filepath.Join(dir, "*", "*.sst"))
			b, err := os.ReadFile(tables[0])
			if err != nil {
				t.Fatal(err)
			}
			switch where {
			case "first block":
				b[100] ^= 1
				err = os.WriteFile(tables[0], b, 0o600)
			case "index":
				b[len(b)-200] ^= 1
				err = os.WriteFile(tables[0], b, 0o600)
			case "missing":
				err = os.Remove(tables[0])
			case "manifest":
				err = os.WriteFile(filepath.Join(filepath.Dir(tables[0]), "MANIFEST"), []byte("rubbish"), 0o600)
			}
			if err != nil {
				t.Fatal(err)
			}
			_, err = Open(dir, Options{})
			if fault.KindOf(err) != fault.Corrupt {
				t.Fatalf("%v, want corrupt", err)
			}
			if err := Discard(dir); err != nil {
				t.Fatal(err)
			}
			if n := open(t, dir, Options{}).Newest(); n != 0 {
				t.Fatalf("newest %d after discarding", n)
			}
		})
	}
}

// Rot that sets in while the store is open is found by Verify.
func TestVerify(t *testing.T) {
	dir := t.TempDir()
	s := open(t, dir, Options{})
	for v := range uint64(100) {
		commit(t, s, v+1)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	s = open(t, dir, Options{})
	if err := s.Verify(); err != nil {
		t.Fatal(err)
	}
	tables, _ := filepath.Glob(filepath.Join(dir, "*", "*.sst"))
	f, err := os.OpenFile(tables[0], os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.WriteAt([]byte{0xff, 0xfe, 0xfd}, 100); err != nil {
		t.Fatal(err)
	}
	f.Close()
	if err := s.Verify(); fault.KindOf(err) != fault.Corrupt {
		t.Fatalf("%v, want corrupt", err)
	}
}

// A reader outlives a wipe and a close.
func TestHeldReader(t *testing.T) {
	s := open(t, t.TempDir(), Options{})
	commit(t, s, 7)
	r := s.At(7)
	if err := s.Wipe(); err != nil {
		t.Fatal(err)
	}
	if v, found, err := r.Get([]byte("applied")); err != nil || !found || string(v) != "7" {
		t.Fatalf("after wipe: %q, %v, %v", v, found, err)
	}
	r.Close()
	commit(t, s, 1)
	r = s.At(1)
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if v, found, err := r.Get([]byte("applied")); err != nil || !found || string(v) != "1" {
		t.Fatalf("after close: %q, %v, %v", v, found, err)
	}
	r.Close()
	if _, _, err := s.At(1).Get([]byte("applied")); fault.KindOf(err) != fault.Closed {
		t.Fatalf("a reader of a closed store: %v", err)
	}
}

// Old versions go and their space returns once the floor has passed them and tables are compacted.
func TestFloorGivesBack(t *testing.T) {
	s := open(t, t.TempDir(), Options{MemtableBytes: 1 << 20})
	for v := uint64(1); v <= 1500; v++ {
		commit(t, s, v)
		s.SetFloor(v)
	}
	if err := s.gen.db.Flatten(1); err != nil {
		t.Fatal(err)
	}
	var bytes int64
	for _, table := range s.gen.db.Tables() {
		bytes += int64(table.OnDiskSize)
	}
	if written := int64(1500 * 20 * 400); bytes > written/2 {
		t.Fatalf("%d of %d bytes are still there", bytes, written)
	}
	if v, _ := get(t, s, 1500, "applied"); v != "1500" {
		t.Fatalf("applied %s", v)
	}
}
