package cpu

import (
	"flag"
	"fmt"
	"math/rand/v2"
	"reflect"
	"testing"

	d "dfs/osmodel/cpu/discipline"
)

var seed = flag.Uint64("seed", 1, "first seed of the random tests")

// byTicks is the slow, obvious scheduler: one loop turn a tick, every rule spelled out again. It knows fcfs, sjf,
// srtf, priority in all forms, rr and mlfq, with I/O, and costless switches.
func byTicks(ps []Process, o d.Options) (waits []int64, chart []int) {
	type state struct {
		burst             int
		rest, wake, since int64
		raised            int64
		level             int
		used, ran, slice  int64 // of the allotment; of the slice, set when it began
		done              bool
	}
	st := make([]state, len(ps))
	var ready []int
	left, running := len(ps), -1
	for i, p := range ps {
		st[i].rest, st[i].wake = p.Bursts[0], p.Arrival
	}
	quantum := max(o.Quantum, 1)
	allotment := o.Allotment
	if allotment == 0 {
		allotment = quantum
	}
	levels := o.Levels
	if levels == 0 {
		levels = 3
	}
	base := func(i int) int64 {
		if o.LowerFirst {
			return -int64(ps[i].Priority)
		}
		return int64(ps[i].Priority)
	}
	better := func(now int64, a, b int) bool { // a stands before b; ready is searched from the front
		tie := ps[a].Arrival < ps[b].Arrival || ps[a].Arrival == ps[b].Arrival && a < b
		switch o.Name {
		case d.SJF, d.SRTF:
			return st[a].rest < st[b].rest || st[a].rest == st[b].rest && tie
		case d.Priority:
			ra, rb := base(a), base(b)
			if o.Aging > 0 {
				ra += (now - st[a].since) / o.Aging
				rb += (now - st[b].since) / o.Aging
			}
			return ra > rb || ra == rb && o.Quantum == 0 && tie
		case d.MLFQ:
			return st[a].level < st[b].level
		}
		return false
	}
	first := func(now int64) int {
		best := 0
		for k := range ready {
			if better(now, ready[k], ready[best]) {
				best = k
			}
		}
		return best
	}
	waits = make([]int64, len(ps))
	for now := int64(0); left > 0; now++ {
		if o.Name == d.MLFQ && o.Boost > 0 && now > 0 && now%o.Boost == 0 {
			for i := range st {
				st[i].level, st[i].used = 0, 0
			}
		}
		for i := range ps {
			if !st[i].done && st[i].wake == now && i != running {
				st[i].since = now
				ready = append(ready, i)
			}
		}
		if running >= 0 {
			s := &st[running]
			expired := false
			switch {
			case o.Name == d.RR, o.Name == d.Priority && o.Quantum > 0:
				expired = s.ran >= quantum
			case o.Name == d.MLFQ:
				expired = s.ran >= s.slice
			}
			give := expired
			if !give && s.rest > 0 && len(ready) > 0 {
				b := ready[first(now)]
				switch {
				case o.Name == d.SRTF:
					give = st[b].rest < s.rest
				case o.Name == d.Priority && o.Preemptive:
					rank := base(b)
					if o.Aging > 0 {
						rank += (now - st[b].since) / o.Aging
					}
					give = rank > base(running)+s.raised
				case o.Name == d.MLFQ:
					give = st[b].level < s.level
				}
			}
			switch {
			case s.rest == 0 && s.burst == len(ps[running].Bursts)-1:
				s.done = true
				left--
				waits[running] = now - ps[running].Arrival
				for _, b := range ps[running].Bursts {
					waits[running] -= b
				}
				running = -1
			case s.rest == 0:
				s.wake = now + ps[running].Bursts[s.burst+1]
				s.burst += 2
				s.rest = ps[running].Bursts[s.burst]
				running = -1
			case give:
				s.since = now
				ready = append(ready, running)
				running = -1
			}
		}
		if running < 0 && len(ready) > 0 {
			k := first(now)
			running = ready[k]
			ready = append(ready[:k:k], ready[k+1:]...)
			s := &st[running]
			s.ran, s.slice = 0, min(quantum, allotment-s.used)
			if s.raised = 0; o.Aging > 0 {
				s.raised = (now - s.since) / o.Aging
			}
		}
		if left > 0 {
			chart = append(chart, running)
		}
		if running >= 0 {
			s := &st[running]
			s.rest--
			s.ran++
			s.used++
			if s.used >= allotment {
				s.level, s.used = min(s.level+1, levels-1), 0
			}
		}
	}
	return waits, chart
}

// ticks is the chart of a result, one entry a tick from 0.
func (r Result) ticks(ps []Process) (chart []int) {
	index := map[string]int{"": -1}
	for i, p := range ps {
		index[p.ID] = i
	}
	for range r.Gantt[0].Start {
		chart = append(chart, -1)
	}
	for _, s := range r.Gantt {
		for range s.End - s.Start {
			chart = append(chart, index[s.ID])
		}
	}
	return chart
}

func random(r *rand.Rand) []Process {
	ps := make([]Process, 1+r.IntN(7))
	for i := range ps {
		ps[i] = Process{ID: fmt.Sprintf("P%d", i), Arrival: r.Int64N(15), Priority: r.IntN(5)}
		for k := range 1 + 2*r.IntN(3) {
			_ = k
			ps[i].Bursts = append(ps[i].Bursts, 1+r.Int64N(9))
		}
	}
	return ps
}

func randomOptions(r *rand.Rand) d.Options {
	names := []d.Name{d.FCFS, d.SJF, d.SRTF, d.Priority, d.RR, d.MLFQ}
	return d.Options{
		Name: names[r.IntN(len(names))], Quantum: r.Int64N(5), LowerFirst: r.IntN(2) == 0, Preemptive: r.IntN(2) == 0,
		Aging: max(0, r.Int64N(8)-3), Levels: r.IntN(5), Allotment: r.Int64N(8), Boost: max(0, r.Int64N(40)-20),
	}
}

func TestAgainstATickByTickScheduler(t *testing.T) {
	for s := *seed; s < *seed+4000; s++ {
		r := rand.New(rand.NewPCG(s, 1))
		ps, o := random(r), randomOptions(r)
		waits, chart := byTicks(ps, o)
		got := simulate(t, ps, o)
		if !reflect.DeepEqual(got.waits(), waits) || !reflect.DeepEqual(got.ticks(ps), chart) {
			t.Fatalf("seed %d: %+v\n%+v\ngot  %v %v\nwant %v %v", s, o, ps, got.waits(), got.ticks(ps), waits, chart)
		}
	}
}

func TestEverySchedule(t *testing.T) {
	for s := *seed; s < *seed+2000; s++ {
		r := rand.New(rand.NewPCG(s, 2))
		ps, o := random(r), randomOptions(r)
		o.Name = d.Names[r.IntN(len(d.Names))]
		cost := max(0, r.Int64N(4)-2)
		got, err := Simulate(ps, Options{Options: o, SwitchCost: cost, Predict: r.IntN(4) == 0})
		if err != nil {
			t.Fatal(err)
		}
		fail := func(what string) {
			t.Fatalf("seed %d: %s\n%+v cost %d\n%+v\n%s", s, what, o, cost, ps, got.chart())
		}
		var cpu, busy, idle, switching int64
		ran := map[string]int64{}
		for i, g := range got.Gantt {
			switch g.Kind {
			case Run:
				busy += g.End - g.Start
				ran[g.ID] += g.End - g.Start
			case Idle:
				idle += g.End - g.Start
			case Switch:
				switching += g.End - g.Start
			}
			if i > 0 && (g.Start != got.Gantt[i-1].End || g.Kind == Run && got.Gantt[i-1].Kind == Run && g.ID == got.Gantt[i-1].ID) {
				fail("the chart has a gap, or slices that touch")
			}
		}
		for i, p := range ps {
			var want int64
			for k, b := range p.Bursts {
				if k%2 == 0 {
					want += b
				}
			}
			cpu += want
			m := got.Processes[i]
			if ran[p.ID] != want || m.Waiting < 0 || m.Response < 0 || m.Turnaround != m.Completion-p.Arrival {
				fail("the measures of " + p.ID)
			}
		}
		if cpu != busy || busy != got.Busy || busy+idle+switching != got.Makespan || switching != int64(got.Switches)*cost {
			fail("the sums")
		}
		if cost == 0 && !workConserving(ps, got) {
			fail("the CPU idles while a process is ready")
		}
	}
}

// workConserving reports whether, without I/O, no process is unfinished during an idle time.
func workConserving(ps []Process, r Result) bool {
	for _, g := range r.Gantt {
		if g.Kind != Idle {
			continue
		}
		for i, p := range ps {
			if len(p.Bursts) == 1 && p.Arrival < g.End && r.Processes[i].Completion > g.Start {
				return false
			}
		}
	}
	return true
}

func TestSJFIsBestAtEqualArrivals(t *testing.T) {
	for s := *seed; s < *seed+300; s++ {
		r := rand.New(rand.NewPCG(s, 3))
		bursts := make([]int64, 1+r.IntN(6))
		for i := range bursts {
			bursts[i] = 1 + r.Int64N(20)
		}
		ps := at0(1, bursts...)
		best := simulate(t, ps, d.Options{Name: d.SJF}).Mean.Waiting
		permutations(len(ps), func(order []int) {
			var at, sum int64
			for _, i := range order {
				sum += at
				at += bursts[i]
			}
			if float64(sum)/float64(len(ps)) < best-1e-9 {
				t.Fatalf("seed %d: bursts %v in order %v wait %v, SJF %v", s, bursts, order, float64(sum)/float64(len(ps)), best)
			}
		})
	}
}

func permutations(n int, do func([]int)) {
	order := make([]int, n)
	for i := range order {
		order[i] = i
	}
	var rec func(int)
	rec = func(k int) {
		if k == n {
			do(order)
			return
		}
		for i := k; i < n; i++ {
			order[k], order[i] = order[i], order[k]
			rec(k + 1)
			order[k], order[i] = order[i], order[k]
		}
	}
	rec(0)
}

// In round robin nobody waits longer than (n-1) quanta for the next turn.
func TestRoundRobinBound(t *testing.T) {
	for s := *seed; s < *seed+500; s++ {
		r := rand.New(rand.NewPCG(s, 4))
		ps := random(r)
		for i := range ps {
			ps[i].Bursts = ps[i].Bursts[:1]
		}
		quantum := 1 + r.Int64N(5)
		got := simulate(t, ps, d.Options{Name: d.RR, Quantum: quantum})
		last := map[string]int64{}
		for _, p := range ps {
			last[p.ID] = p.Arrival
		}
		for _, g := range got.Gantt {
			if g.Kind == Run {
				if wait := g.Start - last[g.ID]; wait > int64(len(ps)-1)*quantum {
					t.Fatalf("seed %d: %s waits %d with quantum %d\n%s", s, g.ID, wait, quantum, got.chart())
				}
				last[g.ID] = g.End
			}
		}
	}
}

func TestSameSeedSameLottery(t *testing.T) {
	ps := []Process{{"A", 0, []int64{3000}, 3}, {"B", 0, []int64{3000}, 1}}
	a := simulate(t, ps, d.Options{Name: d.Lottery, Seed: 5})
	b := simulate(t, ps, d.Options{Name: d.Lottery, Seed: 5})
	if !reflect.DeepEqual(a, b) {
		t.Error("the same seed gives different schedules")
	}
	// A has three quarters of the tickets: when it is done, B has had about a third of what A had.
	done := a.Processes[0].Completion
	if had := float64(done - 3000); had < 850 || had > 1150 {
		t.Errorf("B had %v of 1000", had)
	}
}

// fairness is the largest distance from the ideal share, in ticks, while all of ps want the CPU.
func fairness(ps []Process, r Result, share func(p Process) float64) (worst float64) {
	var total float64
	for _, p := range ps {
		total += share(p)
	}
	ran := map[string]float64{}
	for _, g := range r.Gantt {
		ran[g.ID] += float64(g.End - g.Start)
		if g.End > 2000 {
			break
		}
		for _, p := range ps {
			worst = max(worst, ran[p.ID]-float64(g.End)*share(p)/total, float64(g.End)*share(p)/total-ran[p.ID])
		}
	}
	return worst
}

func TestProportionalSharesStayClose(t *testing.T) {
	ps := []Process{{"A", 0, []int64{5000}, 1}, {"B", 0, []int64{5000}, 2}, {"C", 0, []int64{5000}, 5}}
	stride := simulate(t, ps, d.Options{Name: d.Stride})
	if f := fairness(ps, stride, func(p Process) float64 { return float64(p.Priority) }); f > 2 {
		t.Errorf("stride strays %v ticks", f)
	}
	nice := []Process{{"A", 0, []int64{5000}, 0}, {"B", 0, []int64{5000}, 5}, {"C", 0, []int64{5000}, -5}}
	weight := func(p Process) float64 { return float64(d.Weight(p.Priority)) }
	if f := fairness(nice, simulate(t, nice, d.Options{Name: d.EEVDF, Quantum: 3}), weight); f > 6 {
		t.Errorf("eevdf strays %v ticks", f)
	}
	if f := fairness(nice, simulate(t, nice, d.Options{Name: d.CFS}), weight); f > 48 {
		t.Errorf("cfs strays %v ticks", f)
	}
}

func TestAgingPreventsStarvation(t *testing.T) {
	ps := []Process{{"low", 0, []int64{5}, 0}}
	for i := range int64(200) {
		ps = append(ps, Process{fmt.Sprintf("h%d", i), i * 5, []int64{5}, 9})
	}
	without := simulate(t, ps, d.Options{Name: d.Priority}).Processes[0].Waiting
	with := simulate(t, ps, d.Options{Name: d.Priority, Aging: 10}).Processes[0].Waiting
	if without != 1000 || with > 150 {
		t.Errorf("waits %d without aging, %d with", without, with)
	}
}

func TestContextSwitchesCost(t *testing.T) {
	r, err := Simulate(at0(1, 4, 3), Options{Options: d.Options{Name: d.RR, Quantum: 2}, SwitchCost: 1})
	if err != nil {
		t.Fatal(err)
	}
	wantChart(t, r, "P1 0-2, * 2-3, P2 3-5, * 5-6, P1 6-8, * 8-9, P2 9-10")
	if r.Switches != 3 || !near(r.Utilisation, 0.7) || !near(r.Throughput, 0.2) {
		t.Errorf("%+v", r)
	}
}

func TestIOOverlapsWithOthers(t *testing.T) {
	ps := []Process{{"A", 0, []int64{2, 3, 2}, 0}, {"B", 0, []int64{4}, 0}}
	r := simulate(t, ps, d.Options{})
	wantChart(t, r, "A 0-2, B 2-6, A 6-8")
	wantWaits(t, r, 1.5, 1, 2)
	if want := []Span{{"A", IO, 2, 5}}; !reflect.DeepEqual(r.Away, want) {
		t.Errorf("away %v, want %v", r.Away, want)
	}
	alone := simulate(t, ps[:1], d.Options{})
	wantChart(t, alone, "A 0-2, . 2-5, A 5-7")
}

func TestCompare(t *testing.T) {
	c := Compare([]Process{{"A", 0, []int64{4}, 30}, {"B", 0, []int64{2}, 1}}, Options{Options: d.Options{Quantum: 2}})
	if len(c.Entries) != len(d.Names)-2 || len(c.Skipped) != 2 { // nice 30 there is none
		t.Errorf("%d disciplines, skipped: %v", len(c.Entries), c.Skipped)
	}
	names, waiting := c.Best()
	if waiting != 1 || !reflect.DeepEqual(names, []d.Name{d.SJF, d.SRTF}) {
		t.Errorf("%v wait %v", names, waiting)
	}
	if names, _ := (Comparison{}).Best(); names != nil {
		t.Error(names)
	}
}
