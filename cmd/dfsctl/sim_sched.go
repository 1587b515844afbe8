package main

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"math"
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/pflag"

	"dfs/osmodel/cpu"
	"dfs/osmodel/cpu/discipline"
	"dfs/osmodel/draw"
)

// schedFlags says which flags belong to which disciplines; a flag that is given and foreign is a usage error.
var schedFlags = map[string][]discipline.Name{
	"quantum":     {discipline.RR, discipline.Priority, discipline.MLFQ, discipline.Lottery, discipline.Stride, discipline.CFS, discipline.EEVDF},
	"lower-first": {discipline.Priority}, "preemptive": {discipline.Priority}, "aging": {discipline.Priority},
	"levels": {discipline.MLFQ}, "allotment": {discipline.MLFQ}, "boost": {discipline.MLFQ},
	"latency": {discipline.CFS}, "granularity": {discipline.CFS},
	"predict": {discipline.SJF, discipline.SRTF},
}

func simSched() simulator {
	return simulator{
		kind:  "sched",
		short: "processes on one CPU under a discipline",
		long: `sched runs processes on one CPU. A line of the trace is

  ID ARRIVAL BURST [PRIORITY]

in ticks; a BURST with I/O is CPU,I/O,CPU as in 3,10,2. A higher PRIORITY runs first unless --lower-first; it means
tickets for lottery and stride and nice for cfs and eevdf. Ties go by arrival, then by order in the trace; arrivals
enter the ready queue before a preempted process. priority neither preempts nor ages unless --preemptive or --aging.`,
		flags: func(f *pflag.FlagSet) {
			f.String("discipline", "fcfs", "fcfs|sjf|srtf|priority|rr|mlfq|lottery|stride|cfs|eevdf")
			f.Int64("quantum", 1, "ticks of a slice; priority: equals share round robin; cfs: a fixed slice")
			f.Bool("lower-first", false, "priority: the lower number runs first")
			f.Bool("preemptive", false, "priority: a more important arrival takes the CPU")
			f.Int64("aging", 0, "priority: one step up every so many ticks of waiting")
			f.Int("levels", 3, "mlfq: number of queues")
			f.Int64("allotment", 0, "mlfq: ticks on a level before going down (default the quantum)")
			f.Int64("boost", 0, "mlfq: all to the top every so many ticks (default never)")
			f.Int64("latency", 48, "cfs: ticks in which all run once")
			f.Int64("granularity", 6, "cfs: the shortest slice")
			f.Bool("predict", false, "sjf, srtf: predict bursts by exponential averaging instead of knowing them")
			f.Int64("switch-cost", 0, "ticks of a context switch")
			f.Bool("compare", false, "run every discipline and compare")
		},
		solve: solveSched,
	}
}

// schedDoc is the result of sim sched.
type schedDoc struct {
	Schema      int            `json:"schema"`
	Discipline  string         `json:"discipline"`
	Processes   []schedProcess `json:"processes"`
	Mean        schedMean      `json:"mean"`
	Gantt       []schedSlice   `json:"gantt"`
	Makespan    int64          `json:"makespan"`
	Switches    int            `json:"switches"`
	Throughput  float64        `json:"throughput"`
	Utilisation float64        `json:"utilisation"`
}

type schedProcess struct {
	ID         string `json:"id"`
	Waiting    int64  `json:"waiting"`
	Turnaround int64  `json:"turnaround"`
	Response   int64  `json:"response"`
	Completion int64  `json:"completion"`
}

type schedMean struct {
	Waiting    float64 `json:"waiting"`
	Turnaround float64 `json:"turnaround"`
	Response   float64 `json:"response"`
}

type schedSlice struct {
	ID    string `json:"id"`
	Start int64  `json:"start"`
	End   int64  `json:"end"`
}

func newSchedDoc(n discipline.Name, r cpu.Result) schedDoc {
	d := schedDoc{Schema: 1, Discipline: string(n), Mean: schedMean(r.Mean), Makespan: r.Makespan, Switches: r.Switches,
		Throughput: r.Throughput, Utilisation: r.Utilisation, Gantt: []schedSlice{}}
	for _, p := range r.Processes {
		d.Processes = append(d.Processes, schedProcess(p))
	}
	for _, s := range r.Gantt {
		if s.Kind == cpu.Run {
			d.Gantt = append(d.Gantt, schedSlice{s.ID, s.Start, s.End})
		}
	}
	return d
}

// schedOptions reads the flags.
func schedOptions(f *pflag.FlagSet) (o cpu.Options, err error) {
	name, _ := f.GetString("discipline")
	o.Name = discipline.Name(name)
	if !slices.Contains(discipline.Names, o.Name) {
		return o, fmt.Errorf("discipline %q is none of %v", name, discipline.Names)
	}
	compare, _ := f.GetBool("compare")
	f.Visit(func(g *pflag.Flag) {
		if owners, ok := schedFlags[g.Name]; ok && !compare && !slices.Contains(owners, o.Name) {
			err = cmp.Or(err, fmt.Errorf("--%s means nothing to %s", g.Name, o.Name))
		}
		if t := g.Value.Type(); t != "int64" && t != "int" {
			return
		}
		low := int64(1)
		if g.Name == "switch-cost" {
			low = 0
		}
		if n, e := strconv.ParseInt(g.Value.String(), 10, 64); e != nil || n < low {
			err = cmp.Or(err, fmt.Errorf("--%s %s: at least %d", g.Name, g.Value, low))
		}
	})
	if f.Changed("seed") && (f.Changed("trace") || f.Changed("exercise")) && o.Name != discipline.Lottery && !compare {
		err = cmp.Or(err, fmt.Errorf("--seed with a given problem means nothing to %s", o.Name))
	}
	if o.Name != discipline.Priority && o.Name != discipline.CFS || f.Changed("quantum") {
		o.Quantum, _ = f.GetInt64("quantum")
	}
	o.LowerFirst, _ = f.GetBool("lower-first")
	o.Preemptive, _ = f.GetBool("preemptive")
	o.Aging, _ = f.GetInt64("aging")
	o.Levels, _ = f.GetInt("levels")
	o.Allotment, _ = f.GetInt64("allotment")
	o.Boost, _ = f.GetInt64("boost")
	o.Latency, _ = f.GetInt64("latency")
	o.Granularity, _ = f.GetInt64("granularity")
	o.Predict, _ = f.GetBool("predict")
	o.SwitchCost, _ = f.GetInt64("switch-cost")
	o.Seed, _ = f.GetUint64("seed")
	o.Trace, _ = f.GetBool("step")
	if o.Trace && compare {
		err = cmp.Or(err, fmt.Errorf("--step walks through one discipline, not through --compare"))
	}
	return o, err
}

func solveSched(f *pflag.FlagSet, text string) (*solution, error) {
	o, err := schedOptions(f)
	if err != nil {
		return nil, err
	}
	processes, err := cpu.ReadTrace(strings.NewReader(text))
	if err != nil {
		return nil, err
	}
	if compare, _ := f.GetBool("compare"); compare {
		return compareSched(processes, o)
	}
	r, err := cpu.Simulate(processes, o)
	if err != nil {
		return nil, err
	}
	title := schedTitle(o)
	var waits []string
	for _, p := range r.Processes {
		waits = append(waits, strconv.FormatInt(p.Waiting, 10))
	}
	return &solution{
		doc:     newSchedDoc(o.Name, r),
		text:    func(w io.Writer) { schedText(w, title, r) },
		chart:   func(w io.Writer) { _ = r.WriteGantt(w, chartWidth) },
		picture: func() *draw.Picture { return r.SVG(title) },
		steps:   len(r.Steps),
		step:    func(w io.Writer, i int) { schedStep(w, r, i) },
		question: fmt.Sprintf("Discipline %s. How long does each process wait, in the order of the trace (or: what is the mean)?\n"+
			"Answer with numbers, separated by commas.", title),
		expected: strings.Join(waits, ",") + ", mean " + strconv.FormatFloat(r.Mean.Waiting, 'g', 6, 64),
		check: func(answer string) bool {
			if same(waits)(answer) {
				return true
			}
			mean, err := strconv.ParseFloat(strings.TrimSpace(answer), 64)
			return err == nil && math.Abs(mean-r.Mean.Waiting) <= 0.01
		},
	}, nil
}

// schedTitle names the discipline with all that decides the schedule, so that a quiz can be answered.
func schedTitle(o cpu.Options) string {
	title := string(o.Name)
	number := func(what string, n int64) {
		if n > 0 {
			title += fmt.Sprintf(", %s %d", what, n)
		}
	}
	if slices.Contains(schedFlags["quantum"], o.Name) {
		number("quantum", o.Quantum)
	}
	switch o.Name {
	case discipline.Priority:
		title += map[bool]string{false: ", higher number first", true: ", lower number first"}[o.LowerFirst]
		if o.Preemptive {
			title += ", preemptive"
		}
		number("aging every", o.Aging)
	case discipline.MLFQ:
		number("levels", int64(o.Levels))
		number("allotment", cmp.Or(o.Allotment, o.Quantum))
		number("boost every", o.Boost)
	case discipline.CFS:
		if o.Quantum == 0 {
			number("latency", o.Latency)
			number("granularity", o.Granularity)
		}
	case discipline.Lottery:
		title += fmt.Sprintf(", seed %d", o.Seed)
	}
	if o.Predict {
		title += ", bursts predicted"
	}
	number("switch cost", o.SwitchCost)
	return title
}

func schedText(w io.Writer, title string, r cpu.Result) {
	fmt.Fprintf(w, "%s: mean waiting %.4g, turnaround %.4g, response %.4g\n", title, r.Mean.Waiting, r.Mean.Turnaround, r.Mean.Response)
	fmt.Fprintln(w, "ID\tWAITING\tTURNAROUND\tRESPONSE\tCOMPLETION")
	for _, p := range r.Processes {
		fmt.Fprintf(w, "%s\t%d\t%d\t%d\t%d\n", p.ID, p.Waiting, p.Turnaround, p.Response, p.Completion)
	}
	fmt.Fprintf(w, "throughput %.4g a tick, CPU busy %.1f%%, %d switches in %d ticks\n", r.Throughput, 100*r.Utilisation, r.Switches, r.Makespan)
}

func schedStep(w io.Writer, r cpu.Result, i int) {
	s := r.Steps[i]
	fmt.Fprintf(w, "t = %d: %s\n", s.Time, s.Event)
	fmt.Fprintf(w, "CPU:   %s\nready: %s\n", cmp.Or(s.Running, "-"), cmp.Or(strings.Join(s.Ready, " "), "-"))
	part := cpu.Result{}
	for _, g := range r.Gantt {
		if g.Start >= s.Time {
			break
		}
		g.End = min(g.End, s.Time)
		part.Gantt = append(part.Gantt, g)
	}
	if len(part.Gantt) > 0 {
		part.Makespan = s.Time - part.Gantt[0].Start
		_ = part.WriteGantt(w, int(chartWidth*float64(part.Makespan)/float64(r.Makespan))) // it grows step by step
	}
}

type compareDoc struct {
	Schema      int        `json:"schema"`
	Disciplines []schedDoc `json:"disciplines"`
}

// compareSched runs every discipline whose rules the trace's priorities fit.
func compareSched(processes []cpu.Process, o cpu.Options) (*solution, error) {
	o.Quantum = max(o.Quantum, 1)
	c := cpu.Compare(processes, o)
	if len(c.Entries) == 0 {
		return nil, fmt.Errorf("no discipline can run this: %w", errors.Join(c.Skipped...))
	}
	doc := compareDoc{Schema: 1}
	for _, e := range c.Entries {
		doc.Disciplines = append(doc.Disciplines, newSchedDoc(e.Name, e.Result))
	}
	names, waiting := c.Best()
	var best []string
	for _, n := range names {
		best = append(best, string(n))
	}
	return &solution{
		doc: doc,
		text: func(w io.Writer) {
			fmt.Fprintf(w, "least mean waiting: %.4g, by %s\n", waiting, strings.Join(best, ", "))
			_ = c.WriteTable(w)
			fmt.Fprintf(w, "quantum %d where there is one\n", o.Quantum)
			for _, err := range c.Skipped {
				fmt.Fprintf(w, "not run: %v\n", err)
			}
		},
		chart: func(w io.Writer) {
			for _, e := range c.Entries {
				fmt.Fprintln(w, e.Name)
				_ = e.Result.WriteGantt(w, chartWidth)
			}
		},
		picture: func() *draw.Picture {
			return c.SVG(fmt.Sprintf("every discipline, quantum %d where there is one", o.Quantum))
		},
		question: "Which discipline has the least mean waiting time?",
		expected: strings.Join(best, " or "),
		check: func(answer string) bool {
			said := words(strings.ToLower(answer))
			return len(said) > 0 && !slices.ContainsFunc(said, func(n string) bool { return !slices.Contains(best, n) })
		},
	}, nil
}
