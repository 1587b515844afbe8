package mem_test

import (
	"testing"

	"dfs/blockstore/kv"
	"dfs/blockstore/kv/kvtest"
	"dfs/blockstore/kv/mem"
)

func TestContract(t *testing.T) {
	kvtest.Run(t, func(*testing.T) kv.Store { return mem.New() })
}

// A clone and its origin go separate ways; a clone at the durable version is what a crash leaves.
func TestClone(t *testing.T) {
	s := mem.New()
	commit(t, s, 1, "a")
	commit(t, s, 2, "b")
	s.SetDurable(1)
	if d := s.Durable(); d != 1 {
		t.Fatalf("Durable %d", d)
	}
	crashed, whole := s.CloneAt(s.Durable()), s.Clone()
	commit(t, s, 3, "c")
	for _, c := range []struct {
		s      *mem.Store
		newest uint64
		keys   string
	}{{crashed, 1, "a"}, {whole, 2, "ab"}, {s, 3, "abc"}} {
		var keys string
		r := c.s.At(99)
		if err := r.Scan(nil, nil, func(k, v []byte) bool { keys += string(k); return true }); err != nil {
			t.Fatal(err)
		}
		r.Close()
		if c.s.Newest() != c.newest || keys != c.keys {
			t.Errorf("newest %d with %q, want %d with %q", c.s.Newest(), keys, c.newest, c.keys)
		}
	}
	commit(t, crashed, 2, "z")
}

func commit(t *testing.T, s *mem.Store, version uint64, key string) {
	t.Helper()
	x := s.Begin(version)
	defer x.Close()
	if err := x.Set([]byte(key), nil); err != nil {
		t.Fatal(err)
	}
	if err := x.Commit(); err != nil {
		t.Fatal(err)
	}
}
