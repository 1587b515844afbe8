package cpu

import (
	"bytes"
	"errors"
	"os"
	"reflect"
	"strings"
	"testing"

	d "dfs/osmodel/cpu/discipline"
	"dfs/osmodel/trace"
)

func TestReadTrace(t *testing.T) {
	got, err := ReadTrace(strings.NewReader("# id arrival burst priority\nP1 0 24\nP2 1 3,10,2 -5\n"))
	want := []Process{{"P1", 0, []int64{24}, 0}, {"P2", 1, []int64{3, 10, 2}, -5}}
	if err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("%v, %v", got, err)
	}
	for _, bad := range []string{"", "# nothing", "P1", "P1 0", "P1 0 1 2 3", "P1 x 1", "P1 0 0", "P1 -1 1", "P1 0 1,2", "P1 0 1,,2",
		"P1 0 1\nP1 0 1", "P1 0 1 x", "P1 0 1 99999999999", "P1 0 99999999999999999999"} {
		_, err := ReadTrace(strings.NewReader(bad))
		var e *trace.Error
		if !errors.As(err, &e) {
			t.Errorf("%q: %v", bad, err)
		}
	}
}

func TestWhatCannotBeSimulatedIsAnError(t *testing.T) {
	for _, c := range []struct {
		p Process
		o Options
	}{
		{Process{"P", 0, []int64{1, 1}, 0}, Options{}},
		{Process{"P", 0, []int64{0}, 0}, Options{}},
		{Process{"P", -1, []int64{1}, 0}, Options{}},
		{Process{"P", 0, []int64{MaxTicks, 1, 1}, 0}, Options{}},
		{Process{"P", 0, []int64{1}, 0}, Options{SwitchCost: -1}},
		{Process{"P", 0, []int64{1}, 0}, Options{Options: d.Options{Name: "best"}}},
		{Process{"P", 0, []int64{1}, 20}, Options{Options: d.Options{Name: d.CFS}}},
		{Process{"P", 0, []int64{1}, -1}, Options{Options: d.Options{Name: d.Lottery}}},
		{Process{"P", 0, []int64{1}, 0}, Options{Options: d.Options{Name: d.MLFQ, Levels: 5000}}},
	} {
		if _, err := Simulate([]Process{c.p}, c.o); err == nil {
			t.Errorf("%+v with %+v: no error", c.p, c.o)
		}
	}
	if _, err := Simulate(at0(1, 1<<30, 1<<30), Options{Options: d.Options{Name: d.RR}}); !errors.Is(err, ErrTooLong) {
		t.Errorf("%v", err)
	}
}

func FuzzReadTrace(f *testing.F) {
	f.Add("P1 0 24\nP2 1 3,10,2 -5\n", uint8(3))
	f.Add("# c\nA 3 1 1\nB 3 7 19", uint8(8))
	f.Fuzz(func(t *testing.T, text string, n uint8) {
		ps, err := ReadTrace(strings.NewReader(text))
		if err != nil {
			return
		}
		o := Options{Options: d.Options{Name: d.Names[int(n)%len(d.Names)], Quantum: 1 << 30}}
		r, err := Simulate(ps, o)
		if err != nil {
			return
		}
		if err := r.WriteGantt(&bytes.Buffer{}, 80); err != nil {
			t.Fatal(err)
		}
		if _, err := r.SVG("fuzz").WriteTo(&bytes.Buffer{}); err != nil {
			t.Fatal(err)
		}
		for _, p := range r.Processes {
			if p.Waiting < 0 {
				t.Fatalf("%+v", p)
			}
		}
	})
}

func TestGanttAsText(t *testing.T) {
	r := simulate(t, arriving(1, []int64{0, 1, 30, 31}, 8, 4, 9, 5), d.Options{Name: d.SRTF})
	var b bytes.Buffer
	if err := r.WriteGantt(&b, 30); err != nil {
		t.Fatal(err)
	}
	want, err := os.ReadFile("testdata/gantt.txt")
	if err != nil || b.String() != string(want) {
		t.Errorf("got\n%swant\n%s%v", &b, want, err)
	}
}
