package placement

import (
	"bytes"
	"errors"
	"math/rand/v2"
	"strings"
	"testing"

	"dfs/blockstore"
	"dfs/cluster"
	"dfs/cluster/fault"
	"dfs/net/wire"
)

func TestParseWish(t *testing.T) {
	for text, want := range map[string]Wish{
		"copies=3,policy=least-stored,unit=512,zones=2": {Copies: 3, Policy: LeastStored, UnitBlocks: 1, Zones: 2},
		"unit=64K":                          {UnitBlocks: 128},
		"unit=64KiB":                        {UnitBlocks: 128},
		"unit=4M":                           {},
		"unit=1536":                         {UnitBlocks: 3},
		"copies=auto,policy=balanced":       {},
		" copies = 2 , policy=local-first ": {Copies: 2, Policy: LocalFirst},
		"ec=4+2":                            {Data: 4, Parity: 2},
	} {
		if got, err := ParseWish(text); err != nil || got != want {
			t.Errorf("%q: %+v, %v; want %+v", text, got, err, want)
		}
	}
}

func TestParseWishRefuses(t *testing.T) {
	for _, text := range []string{
		"", "copies", "copies=", "copies=0", "copies=17", "copies=-1", "copies=1,copies=2", "policy=fastest", "unit=0",
		"unit=513", "unit=8M", "unit=4G", "unit=99999999999999999999K", "zones=x", "ec=4", "ec=1+1", "ec=4+0", "ec=40+2", "ec=4+2+1",
		"copies=2,ec=4+2", "ec=4+2,copies=2", "color=red", "copies=2,,zones=1", "Copies=2",
	} {
		if got, err := ParseWish(text); !errors.Is(err, fault.Invalid) {
			t.Errorf("%q: %+v, %v", text, got, err)
		}
	}
	_, err := ParseWish("color=red")
	for _, key := range []string{"copies", "policy", "unit", "zones", "ec"} {
		if !strings.Contains(err.Error(), key+"=") {
			t.Errorf("%v does not name %s", err, key)
		}
	}
}

func TestWithChangesOnlyWhatIsNamed(t *testing.T) {
	w, err := Wish{Copies: 3, Policy: LeastStored, UnitBlocks: 128, Zones: 2}.With("copies=2")
	if want := (Wish{Copies: 2, Policy: LeastStored, UnitBlocks: 128, Zones: 2}); err != nil || w != want {
		t.Errorf("%+v, %v", w, err)
	}
	w, err = w.With("ec=4+2")
	if want := (Wish{Data: 4, Parity: 2, Policy: LeastStored, UnitBlocks: 128, Zones: 2}); err != nil || w != want {
		t.Errorf("%+v, %v", w, err)
	}
	w, err = w.With("copies=auto,zones=0")
	if want := (Wish{Policy: LeastStored, UnitBlocks: 128}); err != nil || w != want {
		t.Errorf("%+v, %v", w, err)
	}
}

func TestWishReadsBackAsTextAndBytes(t *testing.T) {
	for _, w := range []Wish{
		{}, {Copies: 3}, {Policy: LowestLatency, UnitBlocks: 3}, {UnitBlocks: 2048, Zones: 4}, {Data: 4, Parity: 2, Policy: LeastStored},
	} {
		if got, err := ParseWish(w.String()); err != nil || got != w {
			t.Errorf("%q: %+v, %v", w, got, err)
		}
		if got, err := DecodeWish(w.Append(nil)); err != nil || got != w {
			t.Errorf("%q: %+v, %v", w, got, err)
		}
	}
	if got, err := DecodeWish(Wish{Policy: Balanced, UnitBlocks: 8192}.Append(nil)); err != nil || got != (Wish{}) {
		t.Errorf("written-out defaults: %+v, %v", got, err)
	}
}

func TestTarget(t *testing.T) {
	for _, c := range []struct {
		copies        uint8
		members, want int
	}{{0, 0, 1}, {0, 1, 1}, {0, 2, 2}, {0, 5, 2}, {3, 1, 3}, {1, 5, 1}} {
		if got := Target(Wish{Copies: c.copies}, c.members); got != c.want {
			t.Errorf("copies %d of %d members: %d, want %d", c.copies, c.members, got, c.want)
		}
	}
}

func TestLayoutReadsBack(t *testing.T) {
	l := Layout{Data: 1, Peers: []cluster.PeerID{id(1), id(2)}}
	r := wire.NewReader(l.Append(nil))
	got := ReadLayout(r)
	if err := r.Done(); err != nil || !bytes.Equal(got.Append(nil), l.Append(nil)) {
		t.Errorf("%+v, %v", got, err)
	}
}

// FuzzWish: whatever text or bytes are understood read back as themselves.
func FuzzWish(f *testing.F) {
	f.Add("copies=3,policy=least-stored,unit=64K,zones=2")
	f.Add(string(Wish{Data: 4, Parity: 2}.Append(nil)))
	f.Fuzz(func(t *testing.T, s string) {
		if w, err := ParseWish(s); err == nil {
			if again, err := ParseWish(w.String()); err != nil || again != w {
				t.Errorf("%q reads back as %+v, %v", w, again, err)
			}
		}
		if w, err := DecodeWish([]byte(s)); err == nil {
			if again, err := DecodeWish(w.Append(nil)); err != nil || again != w {
				t.Errorf("%+v reads back as %+v, %v", w, again, err)
			}
		}
	})
}

// The fast check of a stored wish agrees with the one by text.
func TestSoundIsCheckText(t *testing.T) {
	rng := rand.New(rand.NewPCG(5, 6))
	small := func(n int) uint8 { return uint8(max(0, rng.IntN(n+4)-2)) }
	names := append([]Name{"", "", "best"}, Names...)
	sound := 0
	for range 20000 {
		w := Wish{Copies: small(MaxCopies), Zones: small(MaxZones), Policy: names[rng.IntN(len(names))]}
		if rng.IntN(2) == 0 {
			w.Copies = 0
			w.Data, w.Parity = small(MaxData), small(MaxParity)
		}
		if rng.IntN(2) == 0 {
			w.UnitBlocks = uint32(rng.IntN(blockstore.MaxBlocks + 3))
		}
		if got, want := w.sound(), w.checkText() == nil; got != want {
			t.Fatalf("%+v: sound %v, by text %v", w, got, want)
		} else if got {
			sound++
		}
	}
	if sound == 0 {
		t.Error("nothing was sound")
	}
}
