package proc

import (
	"fmt"
	"io"
	"strings"
)

// WriteTree draws the living and the zombies as a tree, one line each:
//
//	1 init (a) RUNNING
//	├─ 2 make RUNNING
//	│  └─ 3 cc READY
//	└─ 4 sh WAITING stopped
func (t *Table) WriteTree(w io.Writer) error {
	var b strings.Builder
	var draw func(p *Process, first, rest string)
	draw = func(p *Process, first, rest string) {
		fmt.Fprintf(&b, "%s%d %s", first, p.PID, p.Name)
		if parent := t.procs[p.Parent]; parent == nil || parent.Node != p.Node {
			fmt.Fprintf(&b, " (%s)", p.Node)
		}
		fmt.Fprintf(&b, " %s", p.State)
		if p.Stopped {
			b.WriteString(" stopped")
		}
		b.WriteByte('\n')
		for i, id := range p.Children {
			if i == len(p.Children)-1 {
				draw(t.procs[id], rest+"└─ ", rest+"   ")
			} else {
				draw(t.procs[id], rest+"├─ ", rest+"│  ")
			}
		}
	}
	for _, id := range t.pids() {
		if p := t.procs[id]; p.Parent == 0 && p.State != Terminated {
			draw(p, "", "")
		}
	}
	_, err := io.WriteString(w, b.String())
	return err
}
