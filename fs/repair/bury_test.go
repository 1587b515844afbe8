package repair_test

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"testing"

	"dfs/cluster/fault"
	"dfs/cluster/placement"
	"dfs/fs/meta"
	"dfs/fs/repair"
)

// holder is one mount as rule 15 sees it: how far it has taken changes in, what its programs have open, and its words on
// their way to the leader, in order.
type holder struct {
	taken uint64
	open  map[meta.Ino]bool
	mail  []repair.Word
}

// Files are opened, unlinked and closed on three mounts that lag, whose words lag further, while a leader buries at any
// moment. What a mount has open is there; what nobody has open goes in the end.
func TestWhatAMountHoldsIsNotReaped(t *testing.T) {
	first, n := uint64(1), uint64(60)
	if *seed != 0 {
		first, n = *seed, 1
	}
	for s := first; s < first+n; s++ {
		t.Run(fmt.Sprint("seed=", s), func(t *testing.T) { playBurials(t, rand.New(rand.NewPCG(s, 15))) })
	}
}

func playBurials(t *testing.T, rng *rand.Rand) {
	r := newRig(t, 1)
	mounts := []*holder{{open: map[meta.Ino]bool{}}, {open: map[meta.Ino]bool{}}, {open: map[meta.Ino]bool{}}}
	sessions := []uint64{11, 12, 13}
	heard := make([]repair.Word, len(mounts))
	gone := map[meta.Ino]uint64{} // by the index that took its name
	names := map[meta.Ino]string{}
	var files []meta.Ino

	report := func(i int) {
		m := mounts[i]
		w := repair.Word{Session: sessions[i], Taken: m.taken}
		for ino := range m.open {
			if at, ok := gone[ino]; ok && at <= m.taken {
				w.Held = append(w.Held, ino)
			}
		}
		m.mail = append(m.mail, w)
	}
	deliver := func(i int) {
		if m := mounts[i]; len(m.mail) > 0 {
			heard[i], m.mail = m.mail[0], m.mail[1:]
		}
	}
	bury := func() {
		if err := r.Bury(ctx, heard, sessions); err != nil {
			t.Fatal(err)
		}
		for _, m := range mounts {
			for ino := range m.open {
				r.stat(ino) // fails if it is gone
			}
		}
	}
	for range 400 {
		i := rng.IntN(len(mounts))
		m := mounts[i]
		switch rng.IntN(8) {
		case 0:
			name := fmt.Sprintf("f%d", len(files))
			ino := r.file(name, placement.Wish{})
			files, names[ino] = append(files, ino), name
		case 1, 2: // opens by a name that it still knows
			if len(files) > 0 {
				ino := files[rng.IntN(len(files))]
				if at, ok := gone[ino]; !ok || m.taken < at {
					m.open[ino] = true
				}
			}
		case 3:
			if len(files) > 0 {
				ino := files[rng.IntN(len(files))]
				if _, ok := gone[ino]; !ok {
					r.do(meta.Unlink{Dir: meta.Root, Name: names[ino], Time: 1})
					gone[ino] = r.now()
				}
			}
		case 4:
			for ino := range m.open {
				delete(m.open, ino)
				break
			}
		case 5:
			m.taken += rng.Uint64N(r.now() - m.taken + 1)
			report(i)
		case 6:
			deliver(i)
		case 7:
			bury()
		}
	}
	for range 4 {
		for i, m := range mounts {
			clear(m.open)
			m.taken, m.mail = r.now(), nil
			report(i)
			deliver(i)
		}
		bury()
	}
	v := r.image()
	defer v.Close()
	for ino := range gone {
		if _, err := v.Stat(ino); !errors.Is(err, fault.NotExist) {
			t.Fatalf("inode %d is held by nobody and not reaped: %v", ino, err)
		}
	}
}
