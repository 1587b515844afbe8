package sim

import (
	"flag"
	"os"
	"testing"
)

var (
	seed = flag.Uint64("sim.seed", 1, "first seed")
	runs = flag.Int("sim.runs", 0, "histories of each kind; 0: some hundred, ten times as many with DFS_SOAK")
)

// kinds of history.
var weathers = []struct {
	name string
	o    Options
}{
	{"Calm", Options{}},
	{"CalmOldKernel", Options{OldKernel: true}},
	{"CalmExplicit", Options{Explicit: true}},
	{"Rough", Options{Rough: true}},
	{"CalmMachine", Options{Machine: true}},
	{"RoughMachine", Options{Machine: true, Rough: true}},
	{"RoughAppends", Options{Appends: true, Rough: true}},
	{"CalmMachineAppends", Options{Appends: true, Machine: true}},
	{"CalmEarly", Options{Early: true}},
	{"RoughEarly", Options{Early: true, Rough: true}},
	{"CalmEarlyOldKernel", Options{Early: true, OldKernel: true}},
	{"RoughEarlyMachine", Options{Early: true, Machine: true, Rough: true}},
	{"CalmGuarded", Options{Guard: true}},
	{"RoughGuarded", Options{Guard: true, Rough: true}},
	{"RoughGuardedEarlyMachine", Options{Guard: true, Early: true, Machine: true, Rough: true}},
	{"RoughOldKernel", Options{Rough: true, OldKernel: true}},
}

// TestSim plays histories and expects every promise to be kept.
func TestSim(t *testing.T) {
	n := *runs
	if n == 0 {
		n = 30
		if os.Getenv("DFS_SOAK") != "" {
			n = 2000
		}
	}
	for _, w := range weathers {
		t.Run(w.name, func(t *testing.T) {
			t.Parallel()
			calls, shown, losses, failed := 0, 0, 0, 0
			for i := range n {
				o := w.o
				o.Seed = *seed + uint64(i)
				if *runs == 1 {
					o.Trace = func(line string) { t.Log(line) }
				}
				r := Run(o)
				calls, shown, losses = calls+r.Calls, shown+r.Shown, losses+r.Losses
				if len(r.Faults) > 0 {
					t.Errorf("seed %d: %v\n\tgo test ./fs/coherence/sim -run TestSim/%s$ -sim.seed=%d -sim.runs=1 -v", o.Seed, r.Faults[0], w.name, o.Seed)
					if failed++; failed == 3 {
						break
					}
				}
				if i%50 == 0 && *runs != 1 {
					if again := Run(o); again.Hash != r.Hash {
						t.Fatalf("seed %d: the same seed made two histories", o.Seed)
					}
				}
			}
			t.Logf("%d histories: %d calls, %d versions judged, %d leases lost", n, calls, shown, losses)
		})
	}
}
