package cpu

import (
	"fmt"
	"math"
	"reflect"
	"strings"
	"testing"

	d "dfs/osmodel/cpu/discipline"
)

// at0 are processes P<first>, P<first+1>, ... that all arrive at 0.
func at0(first int, bursts ...int64) []Process {
	return arriving(first, make([]int64, len(bursts)), bursts...)
}

func arriving(first int, arrivals []int64, bursts ...int64) []Process {
	var ps []Process
	for i, b := range bursts {
		ps = append(ps, Process{ID: fmt.Sprintf("P%d", first+i), Arrival: arrivals[i], Bursts: []int64{b}})
	}
	return ps
}

func simulate(t *testing.T, ps []Process, o d.Options) Result {
	t.Helper()
	r, err := Simulate(ps, Options{Options: o})
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func (r Result) waits() (w []int64) {
	for _, p := range r.Processes {
		w = append(w, p.Waiting)
	}
	return w
}

// chart is the Gantt chart as "P1 0-4, P2 4-7".
func (r Result) chart() string {
	var parts []string
	for _, s := range r.Gantt {
		parts = append(parts, fmt.Sprintf("%s %d-%d", s.label(), s.Start, s.End))
	}
	return strings.Join(parts, ", ")
}

func wantWaits(t *testing.T, r Result, mean float64, waits ...int64) {
	t.Helper()
	if !reflect.DeepEqual(r.waits(), waits) || !near(r.Mean.Waiting, mean) {
		t.Errorf("waits %v, mean %v; want %v, %v\n%s", r.waits(), r.Mean.Waiting, waits, mean, r.chart())
	}
}

func wantChart(t *testing.T, r Result, want string) {
	t.Helper()
	if r.chart() != want {
		t.Errorf("chart\n%s\nwant\n%s", r.chart(), want)
	}
}

func near(a, b float64) bool { return math.Abs(a-b) < 1e-9*max(1, math.Abs(b)) }

// OSC is Silberschatz, Galvin, Gagne, Operating System Concepts, 10th edition; OSTEP is Arpaci-Dusseau and
// Arpaci-Dusseau, Operating Systems: Three Easy Pieces.

func TestG1_FCFS_OSC_5_3_1(t *testing.T) {
	r := simulate(t, at0(1, 24, 3, 3), d.Options{Name: d.FCFS})
	wantWaits(t, r, 17, 0, 24, 27)
	if !near(r.Mean.Turnaround, 27) {
		t.Errorf("turnaround %v", r.Mean.Turnaround)
	}
}

func TestG2_FCFSConvoyTurned_OSC_5_3_1(t *testing.T) {
	ps := at0(1, 24, 3, 3)
	r := simulate(t, []Process{ps[1], ps[2], ps[0]}, d.Options{})
	wantWaits(t, r, 3, 0, 3, 6) // P2, P3, P1
}

func TestG3_SJF_OSC_5_3_2(t *testing.T) {
	r := simulate(t, at0(1, 6, 8, 7, 3), d.Options{Name: d.SJF})
	wantChart(t, r, "P4 0-3, P1 3-9, P3 9-16, P2 16-24")
	wantWaits(t, r, 7, 3, 16, 9, 0)
	if f := simulate(t, at0(1, 6, 8, 7, 3), d.Options{}); !near(f.Mean.Waiting, 10.25) {
		t.Errorf("FCFS %v", f.Mean.Waiting)
	}
}

func TestG4_SRTF_OSC_5_3_2(t *testing.T) {
	ps := arriving(1, []int64{0, 1, 2, 3}, 8, 4, 9, 5)
	r := simulate(t, ps, d.Options{Name: d.SRTF})
	wantChart(t, r, "P1 0-1, P2 1-5, P4 5-10, P1 10-17, P3 17-26")
	wantWaits(t, r, 6.5, 9, 0, 15, 2)
	if s := simulate(t, ps, d.Options{Name: d.SJF}); !near(s.Mean.Waiting, 7.75) {
		t.Errorf("SJF %v", s.Mean.Waiting)
	}
}

func TestG5_BurstPrediction_OSC_5_3_2(t *testing.T) {
	got := Predictions(0.5, 10, []float64{6, 4, 6, 4, 13, 13, 13})
	if want := []float64{10, 8, 6, 6, 5, 9, 11, 12}; !reflect.DeepEqual(got, want) {
		t.Errorf("%v, want %v", got, want)
	}
}

func TestG6_RoundRobin_OSC_5_3_3(t *testing.T) {
	r := simulate(t, at0(1, 24, 3, 3), d.Options{Name: d.RR, Quantum: 4})
	wantWaits(t, r, 17./3, 6, 4, 7)
	if !near(r.Mean.Turnaround, 47./3) {
		t.Errorf("turnaround %v", r.Mean.Turnaround)
	}
}

func TestG7_TurnaroundByQuantum_OSC_5_3_3(t *testing.T) {
	for i, want := range []float64{11, 11.5, 10.75, 11.5, 12.25, 10.5, 10.5} {
		r := simulate(t, at0(1, 6, 3, 1, 7), d.Options{Name: d.RR, Quantum: int64(i + 1)})
		if !near(r.Mean.Turnaround, want) {
			t.Errorf("q=%d: %v, want %v", i+1, r.Mean.Turnaround, want)
		}
	}
}

func TestG8_Priority_OSC_5_3_4(t *testing.T) {
	ps := at0(1, 10, 1, 2, 1, 5)
	for i, n := range []int{3, 1, 4, 5, 2} {
		ps[i].Priority = n
	}
	r := simulate(t, ps, d.Options{Name: d.Priority, LowerFirst: true})
	wantChart(t, r, "P2 0-1, P5 1-6, P1 6-16, P3 16-18, P4 18-19")
	wantWaits(t, r, 8.2, 6, 0, 16, 18, 1)
	for i := range ps {
		ps[i].Priority = -ps[i].Priority
	}
	wantWaits(t, simulate(t, ps, d.Options{Name: d.Priority}), 8.2, 6, 0, 16, 18, 1)
}

func TestG9_PriorityWithRoundRobin_OSC_5_3_4(t *testing.T) {
	ps := at0(1, 4, 5, 8, 7, 3)
	for i, n := range []int{3, 2, 2, 1, 3} {
		ps[i].Priority = n
	}
	r := simulate(t, ps, d.Options{Name: d.Priority, LowerFirst: true, Quantum: 2})
	wantChart(t, r, "P4 0-7, P2 7-9, P3 9-11, P2 11-13, P3 13-15, P2 15-16, P3 16-20, P1 20-22, P5 22-24, P1 24-26, P5 26-27")
}

func TestG10_FIFOTurnaround_OSTEP(t *testing.T) {
	for _, c := range []struct {
		bursts []int64
		want   float64
	}{{[]int64{10, 10, 10}, 20}, {[]int64{100, 10, 10}, 110}} {
		if r := simulate(t, at0(1, c.bursts...), d.Options{}); !near(r.Mean.Turnaround, c.want) {
			t.Errorf("%v: %v, want %v", c.bursts, r.Mean.Turnaround, c.want)
		}
	}
}

func TestG11_SJFAndLateArrivals_OSTEP(t *testing.T) {
	r := simulate(t, at0(1, 100, 10, 10), d.Options{Name: d.SJF})
	late := simulate(t, arriving(1, []int64{0, 10, 10}, 100, 10, 10), d.Options{Name: d.SJF})
	if !near(r.Mean.Turnaround, 50) || !near(late.Mean.Turnaround, 310./3) {
		t.Errorf("%v, %v", r.Mean.Turnaround, late.Mean.Turnaround)
	}
}

func TestG12_STCF_OSTEP(t *testing.T) {
	r := simulate(t, arriving(1, []int64{0, 10, 10}, 100, 10, 10), d.Options{Name: d.SRTF})
	if !near(r.Mean.Turnaround, 50) {
		t.Errorf("%v", r.Mean.Turnaround)
	}
}

func TestG13_ResponseTime_OSTEP(t *testing.T) {
	sjf := simulate(t, at0(1, 5, 5, 5), d.Options{Name: d.SJF})
	rr := simulate(t, at0(1, 5, 5, 5), d.Options{Name: d.RR, Quantum: 1})
	if !near(sjf.Mean.Response, 5) || !near(rr.Mean.Response, 1) || !near(rr.Mean.Turnaround, 14) {
		t.Errorf("%v, %v, %v", sjf.Mean.Response, rr.Mean.Response, rr.Mean.Turnaround)
	}
	for i, want := range []int64{13, 14, 15} {
		if got := rr.Processes[i].Turnaround; got != want {
			t.Errorf("P%d: turnaround %d, want %d", i+1, got, want)
		}
	}
}

func TestG14_Stride_OSTEP(t *testing.T) {
	ps := []Process{{"A", 0, []int64{20}, 100}, {"B", 0, []int64{20}, 50}, {"C", 0, []int64{20}, 250}}
	r := simulate(t, ps, d.Options{Name: d.Stride})
	if want := "A 0-1, B 1-2, C 2-5, A 5-6, C 6-8, "; !strings.HasPrefix(r.chart(), want) {
		t.Errorf("%s, want %s", r.chart(), want)
	}
}

func TestG15_CFSSlices_OSTEP(t *testing.T) {
	heavy, light := d.Weight(-5), d.Weight(0)
	if heavy != 3121 || light != 1024 || d.Weight(5) != 335 {
		t.Fatalf("weights %d %d %d", heavy, light, d.Weight(5))
	}
	for _, c := range []struct {
		weight, total int64
		want          float64
	}{{heavy, heavy + light, 36.1}, {light, heavy + light, 11.9}, {light, 4 * light, 12}} {
		if got := d.Slice(48, c.weight, c.total); math.Abs(got-c.want) > 0.05 {
			t.Errorf("weight %d of %d: %v ms, want %v", c.weight, c.total, got, c.want)
		}
	}
	r := simulate(t, []Process{{"A", 0, []int64{72}, -5}, {"B", 0, []int64{72}, 0}}, d.Options{Name: d.CFS})
	wantChart(t, r, "A 0-36, B 36-48, A 48-84, B 84-144")
	four := simulate(t, at0(1, 24, 24, 24, 24), d.Options{Name: d.CFS})
	if !strings.HasPrefix(four.chart(), "P1 0-12, P2 12-24, P3 24-36, P4 36-48, P1 48-60") {
		t.Errorf("%s", four.chart())
	}
}

func TestG37_AmdahlAndLittle_OSC_4_2_and_5_8(t *testing.T) {
	if a, b := Amdahl(0.75, 2), Amdahl(0.75, 4); !near(a, 1.6) || math.Abs(b-2.29) > 0.005 {
		t.Errorf("Amdahl %v, %v", a, b)
	}
	if w := Little(14, 7); w != 2 {
		t.Errorf("Little %v", w)
	}
}
