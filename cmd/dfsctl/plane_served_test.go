package main

import (
	"encoding/json"
	"strings"
	"testing"

	"dfs/cmd/internal/cli"
	"dfs/sched/control"
)

func TestSemaphores(t *testing.T) {
	s := newSidecar(t)
	s.want(cli.NotFound, "", "sem", "wait", "s", "--try")
	s.want(0, "created s with 1 permits\n", "sem", "create", "s", "--binary")
	s.want(0, "s was there\n", "sem", "create", "s", "--binary")
	s.want(cli.Conflict, "", "sem", "create", "s", "--permits", "3")
	token := strings.TrimSpace(s.want(0, "", "sem", "wait", "s", "--as", "P1"))
	s.want(cli.Refused, "", "sem", "wait", "s", "--try")
	s.want(cli.TimedOut, "", "sem", "wait", "s", "--timeout", "100ms")
	s.want(0, "s has 0 of 1 permits free; 1 hold it, 0 wait\n", "sem", "info", "s")
	s.want(cli.Conflict, "", "sem", "delete", "s")
	s.want(cli.Refused, "", "sem", "signal", "s", "--as", "P2")
	s.want(0, "set at", "kv", "set", "k", "under it", "--fence", "s:"+token)
	s.want(0, "s has 1 of 1 permits free\n", "sem", "signal", "s", "--as", "P1")
	s.want(cli.Conflict, "", "sem", "signal", "s", "--token", token)
	s.want(cli.Conflict, "dfsctl: kv: grant "+token+" of s is over", "kv", "set", "k", "too late", "--fence", "s:"+token)
	s.want(0, "under it\n", "kv", "get", "k")
	s.want(cli.Refused, "", "sem", "signal", "s", "--add")
	s.want(0, "token\n", "sem", "wait", "s", "--", "sh", "-c", "test -n \"$DFS_TOKEN\" && echo token")
	s.want(0, "s has 1 of 1 permits free; 0 hold it, 0 wait\n", "sem", "info", "s")
	if code, _, _ := s.ctl("sem", "wait", "s", "--", "sh", "-c", "exit 42"); code != 42 {
		t.Error(code)
	}
	// One that is held for a time is given back, and who waits gets it.
	s.want(0, "", "sem", "wait", "s", "--hold", "1s")
	s.want(0, "", "sem", "wait", "s", "--timeout", "20s")
	var doc control.Semaphores
	if err := json.Unmarshal([]byte(s.want(0, "", "sem", "list", "--json")), &doc); err != nil || doc.Schema != 1 || len(doc.Semaphores[0].Holders) != 1 {
		t.Errorf("%v %+v", err, doc)
	}
	s.want(0, "deleted s\n", "sem", "delete", "s", "--force")
}

func TestDeadlocks(t *testing.T) {
	s := newSidecar(t)
	s.want(0, "nobody is deadlocked\n", "deadlock", "check")
	for _, name := range []string{"A", "B"} {
		s.want(0, "", "sem", "create", name)
	}
	s.want(0, "", "sem", "wait", "A", "--as", "P1")
	s.want(0, "", "sem", "wait", "B", "--as", "P2")
	waited := make(chan int)
	go func() {
		code, _, _ := s.ctl("sem", "wait", "B", "--as", "P1", "--timeout", "30s")
		waited <- code
	}()
	until(t, func() bool { _, out, _ := s.ctl("deadlock", "graph"); return strings.HasPrefix(out, "1 wait\n") })
	s.want(cli.Refused, "dfsctl: semaphore: waiting would be a deadlock: ", "sem", "wait", "A", "--as", "P2", "--refuse-deadlock")
	s.want(0, "nobody is deadlocked\n", "deadlock", "check")
	go func() {
		code, _, _ := s.ctl("sem", "wait", "A", "--as", "P2", "--timeout", "30s")
		waited <- code
	}()
	until(t, func() bool { _, out, _ := s.ctl("deadlock", "graph"); return strings.HasPrefix(out, "2 wait\n") })
	code, out, _ := s.ctl("deadlock", "check")
	if code != cli.Conflict || !strings.HasPrefix(out, "deadlocked: P1, P2\n") || !strings.Contains(out, "victim") {
		t.Errorf("%d %q", code, out)
	}
	if out := s.want(0, "digraph deadlock {", "deadlock", "graph", "--dot"); !strings.Contains(out, `"p:P1" [label="P1", color=red]`) {
		t.Error(out)
	}
	s.want(0, "", "sem", "signal", "B", "--as", "P2")
	if code := <-waited; code != 0 { // P1 has both
		t.Error(code)
	}
	s.want(0, "", "sem", "signal", "A", "--as", "P1")
	if code := <-waited; code != 0 {
		t.Error(code)
	}
}

func TestQueues(t *testing.T) {
	s := newSidecar(t)
	s.want(cli.NotFound, "", "queue", "send", "q", "m")
	s.want(0, "created dead\n", "queue", "create", "dead")
	s.want(0, "created q\n", "queue", "create", "q", "--tries", "2", "--dead", "dead", "--max", "3")
	s.want(cli.TimedOut, "", "queue", "receive", "q", "--timeout", "0")
	s.want(0, "sent as message ", "queue", "send", "q", "one", "--key", "k1")
	s.want(0, "was sent before, as message ", "queue", "send", "q", "one", "--key", "k1")
	s.want(0, "q has 1 messages ready, 0 in flight\n", "queue", "peek", "q")
	var m control.Message
	if err := json.Unmarshal([]byte(s.want(0, "", "queue", "receive", "q", "--json")), &m); err != nil || m.Value != "one" || m.Receipt == 0 || m.Tries != 1 {
		t.Fatalf("%v %+v", err, m)
	}
	receipt := func() string { b, _ := json.Marshal(m.Receipt); return string(b) }
	s.want(0, "extended\n", "queue", "extend", "q", receipt())
	s.want(0, "given back\n", "queue", "back", "q", receipt())
	s.want(cli.Conflict, "", "queue", "ack", "q", receipt())
	if code, out, _ := s.ctl("queue", "receive", "q", "--", "sh", "-c", "cat; exit 3"); code != 3 || out != "one" {
		t.Errorf("%d %q", code, out)
	}
	s.want(0, "one\n", "queue", "receive", "dead", "--ack") // the second delivery had failed
	for _, text := range []string{"a", "b", "c"} {
		s.want(0, "", "queue", "send", "q", text)
	}
	s.want(cli.Refused, "dfsctl: queue: q is full", "queue", "send", "q", "d")
	for _, text := range []string{"a", "b", "c"} {
		s.want(0, text+"\n", "queue", "receive", "q", "--ack")
	}
	got := make(chan string)
	go func() {
		_, out, errs := s.ctl("queue", "receive", "q", "--timeout", "20s", "--ack")
		got <- out + errs
	}()
	go func() {
		_, out, errs := s.ctl("queue", "receive", "q", "--subscribe", "--count", "2", "--timeout", "20s")
		got <- out + errs
	}()
	until(t, func() bool {
		_, out, _ := s.ctl("queue", "list", "--json")
		return strings.Contains(out, `"subscribers":1`)
	})
	s.want(0, "sent 1 copies\n", "queue", "broadcast", "q", "all")
	s.want(0, "sent 1 copies\n", "queue", "broadcast", "q", "again")
	if out := <-got; out != "all\nagain\n" {
		t.Errorf("%q", out)
	}
	s.want(0, "", "queue", "send", "q", "late")
	if out := <-got; out != "late\n" {
		t.Errorf("%q", out)
	}
	// What is not acknowledged in time is another's.
	s.want(0, "", "queue", "send", "q", "slow")
	s.want(0, "slow\n", "queue", "receive", "q", "--visible", "1s")
	s.want(cli.TimedOut, "", "queue", "receive", "q", "--timeout", "0")
	s.want(0, "slow\n", "queue", "receive", "q", "--timeout", "20s")
	s.want(cli.Conflict, "", "queue", "delete", "q")
	s.want(0, "deleted q\n", "queue", "delete", "q", "--force")
}

func TestBank(t *testing.T) {
	s := newSidecar(t)
	s.want(0, "the state is safe: 2 resources", "bank", "resource", "cpu=3", "memory=4K")
	s.want(cli.Refused, "", "bank", "register", "P0", "cpu=4")
	s.want(cli.NotFound, "", "bank", "register", "P0", "gpu=1")
	s.want(0, "registered P1\n", "bank", "register", "P1", "cpu=3", "memory=1K")
	s.want(0, "", "bank", "register", "P2", "cpu=3")
	s.want(cli.Conflict, "", "bank", "register", "P2", "cpu=1")
	s.want(0, "granted cpu=2 to P1\n", "bank", "request", "P1", "cpu=2")
	s.want(cli.Refused, "dfsctl: bank request: granting it to P2 would be unsafe", "bank", "request", "P2", "cpu=1")
	s.want(cli.Refused, "", "bank", "request", "P1", "cpu=2") // beyond its claim
	s.want(cli.TimedOut, "", "bank", "request", "P2", "cpu=2", "--timeout", "100ms")
	got := make(chan int)
	go func() {
		code, _, _ := s.ctl("bank", "request", "P2", "cpu=2", "--timeout", "20s")
		got <- code
	}()
	until(t, func() bool { _, out, _ := s.ctl("bank", "state"); return strings.Contains(out, "1 wait") })
	s.want(0, "released; granted to P2 what was waited for\n", "bank", "release", "P1", "cpu=2")
	if code := <-got; code != 0 {
		t.Error(code)
	}
	if out := s.want(0, "safe: ", "bank", "safe"); !strings.Contains(out, "P2") {
		t.Error(out)
	}
	s.want(0, "released\n", "bank", "release", "P2", "--all")
	s.want(cli.NotFound, "", "bank", "release", "P2", "--all")
}

func TestMemories(t *testing.T) {
	s := newSidecar(t)
	s.want(0, "created m of 100 units, best\n", "mem", "create", "m", "100", "--fit", "best")
	s.want(cli.Conflict, "", "mem", "create", "m", "100")
	s.want(cli.Usage, "", "mem", "create", "n", "100", "--fit", "loose")
	s.want(0, "a is at 0\n", "mem", "allocate", "m", "a", "30")
	s.want(0, "b is at 30\n", "mem", "allocate", "m", "b", "30")
	s.want(cli.Conflict, "", "mem", "allocate", "m", "b", "1")
	s.want(0, "freed 30 units\n", "mem", "free", "m", "a")
	s.want(cli.NotFound, "", "mem", "free", "m", "a")
	s.want(cli.Refused, "dfsctl: mem allocate: no hole of m takes 50 units", "mem", "allocate", "m", "c", "50")
	s.want(0, "70 of 100 units are free, in 2 holes, the largest of 40\n", "mem", "stats", "m")
	s.want(0, "moved 1 blocks\n", "mem", "compact", "m")
	s.want(0, "c is at 30\n", "mem", "allocate", "m", "c", "50")
	s.want(0, "m: 100 units, best\n", "mem", "show", "m")
	s.want(cli.Refused, "", "mem", "delete", "m")
	s.want(0, "deleted m\n", "mem", "delete", "m", "--yes")
	s.want(0, "", "plane", "resume")
}
