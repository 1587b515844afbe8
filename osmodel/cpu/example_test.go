package cpu_test

import (
	"fmt"
	"os"
	"strings"

	"dfs/osmodel/cpu"
	"dfs/osmodel/cpu/discipline"
)

func ExampleSimulate() {
	processes, err := cpu.ReadTrace(strings.NewReader("P1 0 8\nP2 1 4\nP3 2 9\nP4 3 5\n"))
	if err != nil {
		fmt.Println(err)
		return
	}
	r, err := cpu.Simulate(processes, cpu.Options{Options: discipline.Options{Name: discipline.SRTF}})
	if err != nil {
		fmt.Println(err)
		return
	}
	_ = r.WriteGantt(os.Stdout, 60)
	fmt.Println("mean waiting", r.Mean.Waiting)
	// Output:
	// | P1 |  P2   |   P4    |      P1      |        P3        |
	// 0    1       5         10             17                 26
	// mean waiting 6.5
}
