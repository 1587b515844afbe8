package cpu

import (
	"io"
	"math"
	"strings"

	"dfs/osmodel/trace"
)

// ReadTrace reads processes, one a line:
//
//	ID ARRIVAL BURST [PRIORITY]
//
// BURST is the ticks of CPU the process needs. A process with I/O has several numbers, joined by commas: CPU, I/O, CPU,
// and so on, as in 3,10,2. What is malformed is a *trace.Error.
func ReadTrace(r io.Reader) ([]Process, error) {
	lines, err := trace.Lines(r)
	if err != nil {
		return nil, err
	}
	if len(lines) == 0 {
		return nil, trace.Errorf("no process in it: a line is ID ARRIVAL BURST [PRIORITY]")
	}
	processes := make([]Process, 0, len(lines))
	seen := map[string]bool{}
	for _, l := range lines {
		p, err := process(l)
		if err != nil {
			return nil, err
		}
		if seen[p.ID] {
			return nil, l.Errorf("process %s is there already", p.ID)
		}
		seen[p.ID] = true
		processes = append(processes, p)
	}
	return processes, nil
}

func process(l trace.Line) (p Process, err error) {
	if len(l.Words) < 3 || len(l.Words) > 4 {
		return p, l.Errorf("%d words, want ID ARRIVAL BURST [PRIORITY]", len(l.Words))
	}
	if p.ID, err = l.Name(l.Words[0], "ID"); err != nil {
		return p, err
	}
	if p.Arrival, err = l.Number64(l.Words[1], "ARRIVAL", 0); err != nil {
		return p, err
	}
	for word := range strings.SplitSeq(l.Words[2], ",") {
		b, err := l.Number64(word, "BURST", 1)
		if err != nil {
			return p, err
		}
		p.Bursts = append(p.Bursts, b)
	}
	if len(p.Bursts)%2 == 0 {
		return p, l.Errorf("BURST %s ends with I/O: it goes CPU, I/O, CPU", l.Words[2])
	}
	if len(l.Words) == 4 {
		n, err := l.Number64(l.Words[3], "PRIORITY", math.MinInt32)
		if err != nil {
			return p, err
		}
		if n > math.MaxInt32 {
			return p, l.Errorf("PRIORITY is %d, above %d", n, math.MaxInt32)
		}
		p.Priority = int(n)
	}
	return p, nil
}
