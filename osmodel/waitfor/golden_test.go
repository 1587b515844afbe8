package waitfor

import (
	"fmt"
	"reflect"
	"slices"
	"strings"
	"testing"
)

// mos is the graph of Tanenbaum, Modern Operating Systems, deadlock detection with one resource of each type.
const mos = `
A holds R
A wants S
B wants T
C wants S
D holds U
D wants S
D wants T
E holds T
E wants V
F holds W
F wants S
G holds V
G wants U
`

func read(t *testing.T, text string) *Graph {
	t.Helper()
	g, err := ReadTrace(strings.NewReader(text))
	if err != nil {
		t.Fatal(err)
	}
	return g
}

func TestG31_Cycle_MOS(t *testing.T) {
	r := read(t, mos).Analyse()
	want := Report{[]string{"D", "E", "G"}, []string{"B"}, [][]string{{"D", "E", "G"}}}
	if !reflect.DeepEqual(r, want) {
		t.Errorf("%+v, want %+v", r, want)
	}
}

func probes(ps []Probe) (text []string) {
	for _, p := range ps {
		text = append(text, fmt.Sprintf("(%s,%s,%s)", p.Initiator, p.From, p.To))
	}
	return text
}

func TestG32_EdgeChasing_ChandyMisraHaas1983(t *testing.T) {
	s := NewSites()
	s.Wait("1", "2")
	s.Wait("2", "3")
	s.Wait("3", "1")
	s.Chase("1")
	if got, want := probes(s.Run()), []string{"(1,1,2)", "(1,2,3)", "(1,3,1)"}; !slices.Equal(got, want) {
		t.Errorf("%v, want %v", got, want)
	}
	if !slices.Equal(s.Declared(), []string{"1"}) {
		t.Errorf("declared by %v", s.Declared())
	}
	if cycle, real := s.Confirm("1"); !real || !slices.Equal(cycle, []string{"1", "2", "3"}) {
		t.Errorf("%v %v", cycle, real)
	}

	s = NewSites() // P3 is not blocked
	s.Wait("1", "2")
	s.Wait("2", "3")
	s.Chase("1")
	if got, want := probes(s.Run()), []string{"(1,1,2)", "(1,2,3)"}; !slices.Equal(got, want) || len(s.Declared()) != 0 {
		t.Errorf("%v, declared by %v", got, s.Declared())
	}
}
