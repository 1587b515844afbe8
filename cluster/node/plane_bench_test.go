package node

import (
	"fmt"
	"path/filepath"
	"sync/atomic"
	"testing"
	"time"

	"dfs/sched/plane"
	"dfs/sched/plane/link"
)

// Operations a second of the control plane on three peers of one machine, each client on the next peer's socket.
func BenchmarkPlane(b *testing.B) {
	dir := b.TempDir()
	first := up(b, filepath.Join(dir, "a"))
	all := []*live{first}
	for _, name := range []string{"b", "c"} {
		all = append(all, up(b, filepath.Join(dir, name), first.token()))
	}
	first.until("three vote", func() bool { return first.voters() == 3 })
	var logs []link.Log
	var sessions []uint64
	for _, l := range all {
		logs = append(logs, l.plane())
		sessions = append(sessions, l.planeOp(&plane.Open{TTL: int64(time.Hour)}).ID)
	}
	first.planeOp(&plane.CreateSemaphore{Name: "s", Permits: 1000})
	run := func(name string, clients int, op func(n, i int) error) {
		b.Run(fmt.Sprintf("%s/clients=%d", name, clients), func(b *testing.B) {
			b.ReportAllocs()
			b.SetParallelism(max(clients/2, 1)) // of two processors
			var next atomic.Int64
			b.RunParallel(func(pb *testing.PB) {
				n := int(next.Add(1))
				for i := 0; pb.Next(); i++ {
					if err := op(n, i); err != nil {
						b.Error(err)
					}
				}
			})
			b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "ops/s")
		})
	}
	for _, clients := range []int{2, 64} {
		run("set", clients, func(n, i int) error {
			_, err := logs[n%3].Propose(b.Context(), setKey(fmt.Sprint("k", n, i%100), "value"))
			return err
		})
		run("get", clients, func(n, i int) error {
			_, _, err := logs[n%3].Ask(b.Context(), plane.Ask{What: plane.AskList, Name: "k", Limit: 1}, true)
			return err
		})
		run("semaphore", clients, func(n, i int) error { // a wait and a signal
			ask := uint64(n)<<32 | uint64(i)
			r, err := logs[n%3].Propose(b.Context(), &plane.Wait{Name: "s", Session: sessions[n%3], Ask: ask, Permits: 1})
			if err != nil {
				return err
			}
			_, err = logs[n%3].Propose(b.Context(), &plane.Signal{Name: "s", Token: r.ID})
			return err
		})
	}
}
