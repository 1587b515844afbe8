package main

import (
	"bytes"
	"encoding/json"
	"encoding/xml"
	"errors"
	"io"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"dfs/cmd/internal/cli"
	"dfs/osmodel/exercises"
)

// sim runs dfsctl sim without any daemon, with input as standard input.
func sim(t *testing.T, input string, args ...string) (code int, stdout, stderr string) {
	t.Helper()
	c := root(&ctl{mounts: func() ([]cli.Mount, error) { return nil, errors.New("sim asked for mounts") }})
	var out, errs bytes.Buffer
	c.SetIn(strings.NewReader(input))
	c.SetOut(&out)
	c.SetErr(&errs)
	c.SetArgs(append([]string{"sim"}, args...))
	code = cli.Main(t.Context(), c, &errs)
	return code, out.String(), errs.String()
}

// simJSON runs a simulator on a trace and returns its document.
func simJSON(t *testing.T, input string, args ...string) map[string]any {
	t.Helper()
	code, out, errs := sim(t, input, append(args, "--trace", "-", "--json")...)
	if code != 0 || errs != "" {
		t.Fatalf("%v: %d %s", args, code, errs)
	}
	var doc map[string]any
	if err := json.Unmarshal([]byte(out), &doc); err != nil {
		t.Fatal(err, out)
	}
	return doc
}

// same compares a part of a document with JSON written by hand.
func wantJSON(t *testing.T, what string, got any, want string) {
	t.Helper()
	var w any
	if err := json.Unmarshal([]byte(want), &w); err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(got, w) {
		b, _ := json.Marshal(got)
		t.Errorf("%s: %s\nwant %s", what, b, want)
	}
}

func TestSimSchedDocument(t *testing.T) {
	doc := simJSON(t, "P1 0 8\nP2 1 4\nP3 2 9\nP4 3 5\n", "sched", "--discipline", "srtf")
	wantJSON(t, "schema", doc["schema"], "1")
	wantJSON(t, "processes", doc["processes"], `[{"id":"P1","waiting":9,"turnaround":17,"response":0,"completion":17},
		{"id":"P2","waiting":0,"turnaround":4,"response":0,"completion":5},{"id":"P3","waiting":15,"turnaround":24,"response":15,"completion":26},
		{"id":"P4","waiting":2,"turnaround":7,"response":2,"completion":10}]`)
	wantJSON(t, "mean", doc["mean"], `{"waiting":6.5,"turnaround":13,"response":4.25}`)
	wantJSON(t, "gantt", doc["gantt"], `[{"id":"P1","start":0,"end":1},{"id":"P2","start":1,"end":5},{"id":"P4","start":5,"end":10},
		{"id":"P1","start":10,"end":17},{"id":"P3","start":17,"end":26}]`)
	_, out, _ := sim(t, "P1 0 24\nP2 0 3\nP3 0 3", "sched", "--discipline", "fcfs", "--trace", "-", "--json")
	if !strings.Contains(out, `"mean":{"waiting":17,"turnaround":27,"response":17}`) {
		t.Error("integers do not stay integers:", out)
	}
}

func TestSimSchedFlags(t *testing.T) {
	g9 := "P1 0 4 3\nP2 0 5 2\nP3 0 8 2\nP4 0 7 1\nP5 0 3 3\n"
	doc := simJSON(t, g9, "sched", "--discipline", "priority", "--lower-first", "--quantum", "2")
	if got := len(doc["gantt"].([]any)); got != 11 {
		t.Errorf("G9 has %d slices", got)
	}
	for _, args := range [][]string{
		{"--discipline", "fcfs", "--quantum", "2"},
		{"--discipline", "rr", "--lower-first"},
		{"--discipline", "rr", "--levels", "2"},
		{"--discipline", "rr", "--quantum", "0"},
		{"--discipline", "rr", "--switch-cost", "-1"},
		{"--discipline", "sjf", "--preemptive"},
		{"--discipline", "best"},
		{"--discipline", "fcfs", "--frames", "3"},
		{"--discipline", "fcfs", "--seed", "3"},
		{"extra"},
	} {
		if code, _, errs := sim(t, g9, append([]string{"sched", "--trace", "-"}, args...)...); code != cli.Usage || !strings.Contains(errs, "next: ") {
			t.Errorf("%v: exit code %d, %s", args, code, errs)
		}
	}
	if code, _, errs := sim(t, g9, "sched", "--discipline", "mlfq", "--levels", "2", "--allotment", "4", "--boost", "20", "--switch-cost", "0", "--trace", "-"); code != 0 {
		t.Error(code, errs)
	}
	if code, _, errs := sim(t, g9, "sched", "--discipline", "lottery", "--seed", "3", "--trace", "-"); code != 0 {
		t.Error(code, errs)
	}
}

func TestSimMemDocument(t *testing.T) {
	trace := "allocate P1 212\nallocate P2 417\nallocate P3 112\nallocate P4 426\nfree P1\nfree P1\nfree X\n"
	doc := simJSON(t, trace, "mem", "--fit", "first", "--holes", "100,500,200,300,600")
	var holes []any
	steps := doc["steps"].([]any)
	for _, s := range steps {
		holes = append(holes, s.(map[string]any)["hole"])
	}
	wantJSON(t, "holes", holes, "[500,600,288,null,null,null,null]")
	wantJSON(t, "first", steps[0], `{"op":"allocate","name":"P1","size":212,"hole":500,"address":101,"error":null,"block":212}`)
	wantJSON(t, "wait", steps[3], `{"op":"allocate","name":"P4","size":426,"hole":null,"address":null,"error":"no hole is large enough","block":null}`)
	wantJSON(t, "free", steps[4], `{"op":"free","name":"P1","size":212,"hole":null,"address":101,"error":null,"block":null}`)
	wantJSON(t, "twice", steps[5], `{"op":"free","name":"P1","size":212,"hole":null,"address":null,"error":"freed already","block":null}`)
	wantJSON(t, "unknown", steps[6], `{"op":"free","name":"X","size":null,"hole":null,"address":null,"error":"nothing was allocated under this name","block":null}`)
	fr := doc["fragmentation"].(map[string]any)
	if fr["free"] != 1171. || fr["holes"] != 6. || fr["largest_hole"] != 300. {
		t.Error(fr)
	}
	doc = simJSON(t, "allocate C 21", "mem", "--fit", "buddy", "--size", "256")
	wantJSON(t, "buddy", doc["steps"].([]any)[0], `{"op":"allocate","name":"C","size":21,"hole":256,"address":0,"error":null,"block":32}`)
	for _, args := range [][]string{{"--fit", "buddy", "--holes", "1,2"}, {"--holes", "1,2", "--size", "3"}, {"--holes", "1,x"}, {"--holes", "0"},
		{"--size", "0"}, {"--fit", "loose"}, {"--align", "3"}, {"--fit", "tlsf", "--header", "4"}} {
		if code, _, errs := sim(t, trace, append([]string{"mem", "--trace", "-"}, args...)...); code != cli.Usage {
			t.Errorf("%v: exit code %d, %s", args, code, errs)
		}
	}
}

func TestSimPagingDocument(t *testing.T) {
	doc := simJSON(t, "7 0 1 2 0 3\n0 4w", "paging", "--policy", "lru", "--frames", "3")
	wantJSON(t, "faults", doc["faults"], "6")
	wantJSON(t, "hits", doc["hits"], "2")
	var gone []any
	for _, s := range doc["steps"].([]any) {
		gone = append(gone, s.(map[string]any)["evicted"])
	}
	wantJSON(t, "evicted", gone, "[null,null,null,7,null,1,null,2]")
	for _, policy := range []string{"fifo", "clock", "opt", "lfu", "second-chance"} {
		simJSON(t, "1 2 3 1 2 4", "paging", "--policy", policy, "--frames", "2", "--curve", "4")
	}
	if code, _, errs := sim(t, "", "paging", "--exercise", "paging-classic", "--policy", "working-set"); code != 0 {
		t.Error(code, errs)
	}
	doc = simJSON(t, "1 2 1 3 1", "paging", "--policy", "working-set", "--window", "2")
	wantJSON(t, "working set", doc["faults"], "3")
	for _, args := range [][]string{{"--policy", "best"}, {"--frames", "0"}, {"--window", "3"}, {"--policy", "working-set", "--frames", "3"}, {"--fault-time", "NaN"}} {
		if code, _, errs := sim(t, "1 2", append([]string{"paging", "--trace", "-"}, args...)...); code != cli.Usage {
			t.Errorf("%v: exit code %d, %s", args, code, errs)
		}
	}
}

const oscBank = `total 10 5 7
process P0 max 7 5 3 allocated 0 1 0
process P1 max 3 2 2 allocated 2 0 0
process P2 max 9 0 2 allocated 3 0 2
process P3 max 2 2 2 allocated 2 1 1
process P4 max 4 3 3 allocated 0 0 2
`

func TestSimBankerDocument(t *testing.T) {
	doc := simJSON(t, oscBank+"request P1 1 0 2\nrequest P4 3 3 0\nrequest P0 0 2 0\nrequest P0 9 9 9\nrelease P1 9 9 9\nprocess P9 max 99 0 0 allocated 0 0 0\nrelease P2 3 0 2\n", "banker")
	var outcomes []any
	steps := doc["steps"].([]any)
	for _, s := range steps {
		outcomes = append(outcomes, s.(map[string]any)["outcome"])
	}
	wantJSON(t, "outcomes", outcomes, `["granted","waits","denied","error","error","error","granted"]`)
	wantJSON(t, "granted", steps[0], `{"op":"request","process":"P1","outcome":"granted","safe_sequence":["P1","P3","P4","P0","P2"]}`)
	wantJSON(t, "denied", steps[2], `{"op":"request","process":"P0","outcome":"denied","safe_sequence":[],"reason":"the state would be unsafe"}`)
	wantJSON(t, "safe", doc["safe"], "true")
	doc = simJSON(t, "total 12\nprocess P0 max 10 allocated 5\nprocess P1 max 4 allocated 2\nprocess P2 max 9 allocated 3\n", "banker")
	wantJSON(t, "safe", doc["safe"], "false")
	wantJSON(t, "sequence", doc["safe_sequence"], "[]")
	wantJSON(t, "steps", doc["steps"], "[]")
}

func TestSimDeadlockDocument(t *testing.T) {
	e, err := exercises.Find("deadlock-seven")
	if err != nil {
		t.Fatal(err)
	}
	doc := simJSON(t, e.Trace, "deadlock")
	wantJSON(t, "deadlocked", doc["deadlocked"], `["D","E","G"]`)
	wantJSON(t, "behind", doc["blocked_behind"], `["B"]`)
	doc = simJSON(t, "A wants R", "deadlock")
	wantJSON(t, "none", []any{doc["deadlocked"], doc["blocked_behind"]}, "[[],[]]")
	if code, out, _ := sim(t, e.Trace, "deadlock", "--trace", "-", "--dot"); code != 0 || !strings.HasPrefix(out, "digraph deadlock {") {
		t.Error(out)
	}
}

func TestSimProblemsComeFromSomewhere(t *testing.T) {
	file := filepath.Join(t.TempDir(), "trace")
	if err := os.WriteFile(file, []byte("P1 0 1\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		args []string
		want int
	}{
		{[]string{"sched", "--trace", file}, cli.OK},
		{[]string{"sched", "--trace", file + "no"}, cli.NotFound},
		{[]string{"sched"}, cli.Usage},
		{[]string{"sched", "--trace", "-"}, cli.Usage}, // empty
		{[]string{"sched", "--seed", "1"}, cli.OK},
		{[]string{"sched", "--exercise", "sched-rr"}, cli.OK},
		{[]string{"sched", "--exercise", "paging-ostep"}, cli.NotFound},
		{[]string{"sched", "--exercise", "sched-rr", "--trace", file}, cli.Usage},
		{[]string{"paging", "--exercise", "paging-ostep", "--seed", "1"}, cli.Usage},
		{[]string{"sched", "--trace", file, "--step", "--json"}, cli.Usage},
		{[]string{"sched", "--trace", "-", "--step"}, cli.Usage},
		{[]string{"list"}, cli.OK},
		{[]string{"list", "--json"}, cli.OK},
		{[]string{}, cli.Usage},
		{[]string{"nothing"}, cli.Usage},
	} {
		if code, _, errs := sim(t, "", c.args...); code != c.want {
			t.Errorf("%v: exit code %d, want %d: %s", c.args, code, c.want, errs)
		}
	}
}

// Every exercise and one made problem of each kind runs in every form.
func TestSimEveryExerciseInEveryForm(t *testing.T) {
	all, err := exercises.All()
	if err != nil {
		t.Fatal(err)
	}
	problems := [][]string{}
	for _, e := range all {
		problems = append(problems, []string{e.Kind, "--exercise", e.Name})
	}
	for _, kind := range []string{"sched", "mem", "paging", "banker", "deadlock"} {
		problems = append(problems, []string{kind, "--seed", "7"})
	}
	svg := filepath.Join(t.TempDir(), "picture.svg")
	for _, p := range problems {
		for _, form := range [][]string{{}, {"--gantt"}, {"--json"}, {"--svg", svg}, {"--quiz"}, {"--step"}} {
			args := append(append([]string{}, p...), form...)
			code, out, errs := sim(t, strings.Repeat("\n", 5)+"b\n1\nq\n", args...)
			if code != 0 || out == "" || errs != "" {
				t.Errorf("%v: %d %q %q", args, code, out, errs)
			}
		}
		file, err := os.Open(svg)
		if err != nil {
			t.Fatal(p, err)
		}
		for d := xml.NewDecoder(file); ; {
			if _, err := d.Token(); errors.Is(err, io.EOF) {
				break
			} else if err != nil {
				t.Fatal(p, err)
			}
		}
		_ = file.Close()
		_ = os.Remove(svg)
	}
}

// A made problem goes with its solution, and solving it from a trace gives the same.
func TestSimMadeProblems(t *testing.T) {
	for _, kind := range []string{"sched", "mem", "paging", "banker", "deadlock"} {
		_, out, errs := sim(t, "", kind, "--seed", "11", "--json")
		var doc map[string]any
		if err := json.Unmarshal([]byte(out), &doc); err != nil {
			t.Fatal(kind, err, errs)
		}
		problem, _ := doc["problem"].(string)
		delete(doc, "problem")
		if again := simJSON(t, problem, kind); !reflect.DeepEqual(again, doc) {
			t.Errorf("%s: %v\n%v", kind, again, doc)
		}
	}
}

func TestSimQuiz(t *testing.T) {
	rr := []string{"sched", "--exercise", "sched-rr"}
	_, out, _ := sim(t, "", append(rr, "--quiz")...)
	if !strings.Contains(out, "P1 0 24") || !strings.Contains(out, "--answer") || strings.Contains(out, "6,4,7") {
		t.Error(out)
	}
	for _, c := range []struct {
		args  []string
		right bool
	}{
		{append(rr, "--answer", "6,4,7"), true},
		{append(rr, "--answer", "6 4 7"), true},
		{append(rr, "--answer", "5.67"), true},
		{append(rr, "--answer", "6,4,8"), false},
		{append(rr, "--answer", "5.7"), false},
		{append(rr, "--answer", ""), false},
		{[]string{"mem", "--exercise", "mem-holes", "--answer", "101,1104,313,-"}, true},
		{[]string{"mem", "--exercise", "mem-holes", "--answer", "101,1104,313,0"}, false},
		{[]string{"paging", "--exercise", "paging-classic", "--answer", "15"}, true},
		{[]string{"paging", "--exercise", "paging-classic", "--policy", "lru", "--answer", "12"}, true},
		{[]string{"banker", "--exercise", "banker-classic", "--answer", "granted, waits, DENIED"}, true},
		{[]string{"deadlock", "--exercise", "deadlock-seven", "--answer", "G,E,D"}, true},
		{[]string{"deadlock", "--exercise", "deadlock-seven", "--answer", "G,E,D,B"}, false},
		{[]string{"deadlock", "--exercise", "deadlock-seven", "--answer", "none"}, false},
	} {
		code, out, errs := sim(t, "", c.args...)
		if code != 0 || strings.HasPrefix(out, "right") != c.right || strings.HasPrefix(out, "wrong") == c.right {
			t.Errorf("%v: %d %s %s", c.args, code, out, errs)
		}
		_, out, _ = sim(t, "", append(append([]string{}, c.args...), "--json")...)
		if strings.Contains(out, `"correct":true`) != c.right {
			t.Errorf("%v: %s", c.args, out)
		}
	}
	// Any safe sequence is right, since they are not unique.
	for answer, right := range map[string]string{"P1,P3,P4,P2,P0": "true", "P1,P3,P4,P0,P2": "true", "P0,P1,P2,P3,P4": "false", "unsafe": "false"} {
		if _, out, _ := sim(t, oscBank, "banker", "--trace", "-", "--answer", answer, "--json"); !strings.Contains(out, `"correct":`+right) {
			t.Errorf("%s: %s", answer, out)
		}
	}
}

func TestSimStepsForwardAndBack(t *testing.T) {
	file := filepath.Join(t.TempDir(), "trace")
	if err := os.WriteFile(file, []byte("allocate A 10\nallocate B 10\nfree A\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	code, out, errs := sim(t, "\nb\nb\n3\n\n9\nq\n", "mem", "--trace", file, "--size", "64", "--step")
	var seen []string
	for line := range strings.Lines(out) {
		if i := strings.Index(line, "--- step "); i >= 0 {
			seen = append(seen, line[i+9:i+10])
		}
	}
	if code != 0 || strings.Join(seen, "") != "1213" || errs != "" {
		t.Errorf("%d: steps %v %s\n%s", code, seen, errs, out)
	}
	for _, want := range []string{"this is the first step", "this is the last step", "there are steps 1 to 3", "free A"} {
		if !strings.Contains(out, want) {
			t.Errorf("%q is missing in\n%s", want, out)
		}
	}
}

func TestSimComparesDisciplines(t *testing.T) {
	code, out, errs := sim(t, "", "sched", "--exercise", "sched-sjf", "--compare")
	if code != 0 || !strings.HasPrefix(out, "least mean waiting: 7, by sjf, srtf\n") || !strings.Contains(out, "THROUGHPUT") || !strings.Contains(out, "eevdf") {
		t.Error(code, out, errs)
	}
	for answer, right := range map[string]bool{"sjf": true, "SRTF, sjf": true, "fcfs": false, "sjf fcfs": false, "": false} {
		_, out, _ := sim(t, "", "sched", "--exercise", "sched-sjf", "--compare", "--answer", answer)
		if strings.HasPrefix(out, "right") != right {
			t.Errorf("%q: %s", answer, out)
		}
	}
	if code, _, errs := sim(t, "", "sched", "--exercise", "sched-sjf", "--compare", "--step"); code != cli.Usage {
		t.Error(code, errs)
	}
}

// What decides the schedule stands in the question: without it nobody could answer.
func TestSimQuizSaysWhatDecides(t *testing.T) {
	for args, want := range map[string]string{
		"--discipline rr":       "rr, quantum 1.",
		"--discipline fcfs":     "fcfs.",
		"--discipline priority": "priority, higher number first.",
		"--discipline priority --lower-first --preemptive --aging 5": "priority, lower number first, preemptive, aging every 5.",
		"--discipline mlfq --quantum 2 --boost 20 --switch-cost 1":   "mlfq, quantum 2, levels 3, allotment 2, boost every 20, switch cost 1.",
		"--discipline cfs":           "cfs, latency 48, granularity 6.",
		"--discipline sjf --predict": "sjf, bursts predicted.",
	} {
		_, out, errs := sim(t, "P1 0 3\n", append([]string{"sched", "--trace", "-", "--quiz"}, strings.Fields(args)...)...)
		if !strings.Contains(out, "Discipline "+want) {
			t.Errorf("%s: %s%s", args, out, errs)
		}
	}
}

func TestSimSlabs(t *testing.T) {
	doc := simJSON(t, "allocate A 7\nallocate B 10\nallocate C 11\nallocate D 1\n", "mem", "--fit", "slab", "--object", "10", "--per-slab", "2", "--size", "45")
	var at []any
	for _, s := range doc["steps"].([]any) {
		at = append(at, s.(map[string]any)["address"])
	}
	wantJSON(t, "addresses", at, "[0,10,null,20]")
	wantJSON(t, "slabs", doc["slabs"], `{"full":1,"partial":1,"empty":0}`)
	for _, args := range [][]string{{"--fit", "slab", "--holes", "3"}, {"--fit", "first", "--object", "3"}, {"--fit", "slab", "--object", "0"}} {
		if code, _, errs := sim(t, "allocate A 1", append([]string{"mem", "--trace", "-"}, args...)...); code != cli.Usage {
			t.Errorf("%v: %d %s", args, code, errs)
		}
	}
}

func TestSimTranslation(t *testing.T) {
	args := []string{"paging", "--policy", "lru", "--frames", "2", "--page-bytes", "4", "--tlb", "1"}
	doc := simJSON(t, "0 3w 4 13 1", args...)
	var at []any
	for _, s := range doc["steps"].([]any) {
		at = append(at, s.(map[string]any)["physical"])
	}
	wantJSON(t, "physical", at, "[0,3,4,1,5]")
	wantJSON(t, "the rest", []any{doc["faults"], doc["tlb_hits"], doc["write_backs"], doc["page_tables"]}, "[4,1,1,1]")
	_, out, _ := sim(t, "0 3w 4 13 1", append(args, "--trace", "-", "--gantt")...)
	if !strings.HasPrefix(out, "ADDRESS") || !strings.Contains(out, "TLB: 1 hit of 5") {
		t.Error(out)
	}
	for _, bad := range [][]string{{"--tlb", "2"}, {"--levels", "4"}, {"--page-bytes", "3"}, {"--page-bytes", "4", "--levels", "1"}, {"--page-bytes", "4", "--levels", "x"}, {"--page-bytes", "4", "--tlb", "-1"}} {
		if code, _, errs := sim(t, "0 3 13", append([]string{"paging", "--trace", "-"}, bad...)...); code != cli.Usage {
			t.Errorf("%v: %d %s", bad, code, errs)
		}
	}
}

func TestSimInstancesVictimsAndProbes(t *testing.T) {
	e, err := exercises.Find("deadlock-matrix")
	if err != nil {
		t.Fatal(err)
	}
	doc := simJSON(t, e.Trace, "deadlock")
	wantJSON(t, "G22", []any{doc["deadlocked"], doc["blocked_behind"], doc["victims"]}, `[["P1","P2","P3","P4"],[],["P4"]]`)
	doc = simJSON(t, "1 holds A\n2 holds B\n3 holds C\n1 wants B\n2 wants C\n3 wants A\n", "deadlock", "--chase", "1")
	wantJSON(t, "G32", doc["chase"], `{"initiator":"1","declared":true,"probes":[{"initiator":"1","from":"1","to":"2"},
		{"initiator":"1","from":"2","to":"3"},{"initiator":"1","from":"3","to":"1"}]}`)
	wantJSON(t, "victim", doc["victims"], `["3"]`)
	doc = simJSON(t, "A holds R\nB holds S\nA wants S\nB wants R\n", "deadlock", "--prevent", "wait-die")
	wantJSON(t, "wait-die", doc["prevention"], `{"rule":"wait-die","rolled_back":["B"],"meetings":[{"process":"A","resource":"S","holder":"B","outcome":"wait"},
		{"process":"B","resource":"R","holder":"A","outcome":"die"},{"process":"A","resource":"S","holder":null,"outcome":"takes"}]}`)
	for trace, args := range map[string][]string{"A wants R": {"--chase", "B"}, "A wants S": {"--prevent", "luck"}, "R has 2\nA wants R": {"--dot"}, "A holds R 2": nil, "R has 1": nil} {
		if code, _, errs := sim(t, trace, append([]string{"deadlock", "--trace", "-"}, args...)...); code != cli.Usage {
			t.Errorf("%s: %d %s", trace, code, errs)
		}
	}
	_, out, _ := sim(t, "", "deadlock", "--seed", "5", "--dot", "--gantt")
	if !strings.HasPrefix(out, "digraph") || !strings.HasSuffix(out, "}\n") {
		t.Errorf("not only the graph:\n%s", out)
	}
}

func TestSimBankerWithoutProcesses(t *testing.T) {
	_, out, _ := sim(t, "total 1\nprocess A max 1 allocated 1\nexit A\n", "banker", "--trace", "-")
	if !strings.HasPrefix(out, "safe: nobody is registered\nexit A") || strings.Contains(out, "unsafe") {
		t.Error(out)
	}
}

func TestSimClassicProblems(t *testing.T) {
	for _, p := range classics {
		for _, args := range [][]string{{}, {"--seed", "3"}, {"--json"}, {"--step"}, {"--quiz"}} {
			code, out, errs := sim(t, "\n\nb\n", append([]string{"classic", p.name}, args...)...)
			if code != 0 || out == "" || errs != "" {
				t.Errorf("%s %v: %d %s%s", p.name, args, code, out, errs)
			}
		}
		_, right, _ := sim(t, "", "classic", p.name)
		_, wrong, _ := sim(t, "", "classic", p.name, "--wrong")
		if !strings.HasPrefix(right, "all are done") || !strings.HasPrefix(wrong, "deadlock: ") {
			t.Errorf("%s\n%s\n%s", p.name, right, wrong)
		}
	}
	_, out, _ := sim(t, "", "classic", "philosophers", "--actors", "2", "--wrong", "--json")
	var doc map[string]any
	if err := json.Unmarshal([]byte(out), &doc); err != nil {
		t.Fatal(err, out)
	}
	wantJSON(t, "deadlocked", doc["deadlocked"], `["P1","P2"]`)
	wantJSON(t, "moves", doc["moves"], `[{"who":"P1","what":"takes fork 1","blocked":false},{"who":"P2","what":"takes fork 2","blocked":false},
		{"who":"P1","what":"wants fork 2","blocked":true},{"who":"P2","what":"wants fork 1","blocked":true}]`)
	for answer, right := range map[string]bool{"P2,P1": true, "P1": false, "done": false} {
		_, out, _ := sim(t, "", "classic", "philosophers", "--actors", "2", "--wrong", "--answer", answer)
		if strings.HasPrefix(out, "right") != right {
			t.Errorf("%s: %s", answer, out)
		}
	}
	for _, bad := range [][]string{{}, {"chess"}, {"barber", "--actors", "0"}, {"barber", "--step", "--json"}, {"barber", "x"}} {
		if code, _, errs := sim(t, "", append([]string{"classic"}, bad...)...); code != cli.Usage {
			t.Errorf("%v: %d %s", bad, code, errs)
		}
	}
}
