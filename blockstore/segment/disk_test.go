package segment

import (
	"errors"
	"math/rand/v2"
	"testing"

	"dfs/blockstore/disk"
)

var errNoPower = errors.New("no power")

// faults is a disk in memory whose calls fail as a test says: one of them, or every one from one on until cut.
type faults struct {
	disk.Disk // what the store is given
	mem       *disk.Memory
	rng       *rand.Rand
	calls     int   // made so far
	failAt    int   // the call that fails; 0: none
	fail      error // with
	offAt     int   // the call at which the power fails; 0: none
	off       bool  // no power: every call fails
}

func newFaults(seed uint64) *faults {
	f := &faults{mem: disk.NewMemory(), rng: rand.New(rand.NewPCG(seed, 2))}
	f.Disk = disk.Faulty(f.mem, func(disk.Op, string) error {
		f.calls++
		switch f.off = f.off || f.calls == f.offAt; {
		case f.off:
			return errNoPower
		case f.calls == f.failAt:
			return f.fail
		}
		return nil
	})
	return f
}

// cut takes the power away, and gives it back to a machine that has not begun.
func (f *faults) cut() {
	f.mem.Cut(f.rng)
	f.calls, f.failAt, f.offAt, f.off = 0, 0, 0, false
}

// kill ends the process, and nothing else.
func (f *faults) kill() {
	f.mem.Cut(nil)
	f.calls, f.failAt, f.offAt, f.off = 0, 0, 0, false
}

// exists reports whether there is a file of a name.
func exists(t *testing.T, d disk.Disk, name string) bool {
	t.Helper()
	f, err := d.Open(name, false)
	if err != nil {
		return false
	}
	ok(t, f.Close())
	return true
}
