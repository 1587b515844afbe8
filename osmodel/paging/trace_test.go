package paging

import (
	"bytes"
	"errors"
	"reflect"
	"strings"
	"testing"

	"dfs/osmodel/trace"
)

func TestReadTrace(t *testing.T) {
	got, err := ReadTrace(strings.NewReader("# pages\n7 0w\t1\n\n2 # end"))
	if want := []Ref{{7, false}, {0, true}, {1, false}, {2, false}}; err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("%v, %v", got, err)
	}
	for _, bad := range []string{"", "#", "1,2", "a", "-1", "1ww", "w", "99999999999999999999"} {
		_, err := ReadTrace(strings.NewReader(bad))
		var e *trace.Error
		if !errors.As(err, &e) {
			t.Errorf("%q: %v", bad, err)
		}
	}
}

func TestTable(t *testing.T) {
	r, err := Simulate(refs(7, 0, 1, 2, 0), 3, FIFO)
	if err != nil {
		t.Fatal(err)
	}
	var b bytes.Buffer
	if err := r.WriteTable(&b, 80); err != nil {
		t.Fatal(err)
	}
	want := `page    7 0 1 2 0
frame 0 7 7 7 2 2
frame 1 - 0 0 0 0
frame 2 - - 1 1 1
fault   * * * *
`
	if b.String() != want {
		t.Errorf("got\n%s", &b)
	}
}

func FuzzReadTrace(f *testing.F) {
	f.Add("7 0 1 2 0 3 0 4 2 3 0 3 2", uint8(2), uint16(3))
	f.Add("1w 2 1 #c\n3w", uint8(5), uint16(1))
	f.Fuzz(func(t *testing.T, text string, n uint8, frames uint16) {
		rs, err := ReadTrace(strings.NewReader(text))
		if err != nil || len(rs) > 5000 {
			return
		}
		r, err := Simulate(rs, int(frames), Names[int(n)%len(Names)])
		if err != nil {
			return
		}
		if r.Faults+r.Hits != len(rs) {
			t.Fatalf("%d + %d of %d", r.Faults, r.Hits, len(rs))
		}
		if err := r.WriteTable(&bytes.Buffer{}, 80); err != nil {
			t.Fatal(err)
		}
		if _, err := r.SVG("fuzz").WriteTo(&bytes.Buffer{}); err != nil {
			t.Fatal(err)
		}
	})
}

func BenchmarkSimulate(b *testing.B) {
	rs := make([]Ref, 100_000)
	x := uint32(1)
	for i := range rs {
		x = x*1664525 + 1013904223
		rs[i].Page = int64(x>>16) % 2000
	}
	for _, n := range Names {
		b.Run(string(n), func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if _, err := Simulate(rs, 500, n); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric(float64(len(rs)*b.N)/b.Elapsed().Seconds(), "steps/s")
		})
	}
}
