package integration

import (
	"os"
	"testing"
	"time"

	"dfs/integration/harness"
)

func TestExplore(t *testing.T) {
	at := time.Now()
	c := harness.Start(t, 3, harness.Options{Net: true, Args: []string{"--cut-off-after", "4s"}})
	t.Log("started", time.Since(at))
	step := func(what string, fn func() error) {
		at := time.Now()
		err := fn()
		t.Logf("%-30s %v %v", what, time.Since(at), err)
	}
	write := func(p int, name string) func() error {
		return func() error { return os.WriteFile(c.Peer(p).Path(name), []byte(name), 0o644) }
	}
	c.Isolate(3)
	step("write 1", write(1, "a"))
	step("write 3", write(3, "b"))
	step("write 3", write(3, "b"))
	t.Log(c.Peer(3).Ctl("status"))
	t.Log(c.Peer(1).Ctl("status"))
	c.Heal()
	step("healthy", func() error { c.WaitHealthy(); return nil })
	step("write 3", write(3, "b"))
	c.Isolate(1)
	step("write 2", write(2, "c"))
	step("write 3", write(3, "d"))
	step("write 1", write(1, "e"))
	c.Heal()
	step("healthy", func() error { c.WaitHealthy(); return nil })
	step("write 1", write(1, "e"))
}
