package main

import (
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"

	"dfs/cluster/fault"
	"dfs/cmd/internal/cli"
	"dfs/osmodel/alloc"
	"dfs/osmodel/draw"
	"dfs/sched/control"
)

const memWidth = 72 // columns of a drawn memory

func (x *ctl) mem() *cobra.Command {
	return cli.Group(&cobra.Command{
		Use:   "mem",
		Short: "simulated memories that several clients allocate from",
		Long: `mem has memories to learn with: addresses only, with first, best, worst or next fit, buddy or tlsf. All peers share them.
"dfsctl sim mem" plays traces without a cluster.`,
	}, x.memCreate(), x.memAllocate(), x.memFree(), x.memShow(), x.memStats(), x.memCompact(), x.memList(), x.memDelete())
}

var completeMem = planeNames("mem/list", func(d control.Arenas) (names []string) {
	for _, a := range d.Memories {
		names = append(names, a.Name)
	}
	return names
})

func noMem(err error) error {
	if err == nil || fault.NextStep(err) != "" {
		return err
	}
	switch fault.KindOf(err) {
	case fault.NotExist, fault.Exist, fault.Unsupported, fault.TooBig, fault.Quota:
		return cli.Hint(err, "dfsctl mem list, dfsctl mem show NAME")
	}
	return err
}

func (x *ctl) memCreate() *cobra.Command {
	c := &cobra.Command{Use: "create NAME SIZE", Short: "make a memory of SIZE units", Args: cobra.ExactArgs(2)}
	fit := c.Flags().String("fit", "first", "first, best, worst, next, buddy or tlsf")
	c.RegisterFlagCompletionFunc("fit", func(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
		var names []string
		for _, n := range alloc.Names {
			names = append(names, string(n))
		}
		return names, cobra.ShellCompDirectiveNoFileComp
	})
	c.RunE = func(c *cobra.Command, args []string) error {
		size, err := cli.ParseSize(args[1])
		if err != nil {
			return err
		}
		doc, err := planeAsk[control.Done](c, "mem/create", control.ArenaAsk{Name: args[0], Size: size, Fit: *fit})
		if err != nil {
			return noMem(err)
		}
		return x.answer(c, doc, func(w io.Writer) { fmt.Fprintf(w, "created %s of %d units, %s\n", args[0], size, *fit) })
	}
	return c
}

func (x *ctl) memAllocate() *cobra.Command {
	c := &cobra.Command{Use: "allocate NAME BLOCK SIZE", Short: "take SIZE units under the name BLOCK; exit code 4 if no hole is large enough", Args: cobra.ExactArgs(3), ValidArgsFunction: completeMem}
	c.RunE = func(c *cobra.Command, args []string) error {
		size, err := cli.ParseSize(args[2])
		if err != nil {
			return err
		}
		doc, err := planeAsk[control.Allocated](c, "mem/allocate", control.ArenaAsk{Name: args[0], Block: args[1], Size: size})
		if err != nil {
			return noMem(err)
		}
		return x.answer(c, doc, func(w io.Writer) { fmt.Fprintf(w, "%s is at %d\n", args[1], doc.Address) })
	}
	return c
}

func (x *ctl) memFree() *cobra.Command {
	c := &cobra.Command{Use: "free NAME BLOCK", Short: "give a block back", Args: cobra.ExactArgs(2), ValidArgsFunction: completeMem}
	c.RunE = func(c *cobra.Command, args []string) error {
		doc, err := planeAsk[control.Allocated](c, "mem/free", control.ArenaAsk{Name: args[0], Block: args[1]})
		if err != nil {
			return noMem(err)
		}
		return x.answer(c, doc, func(w io.Writer) { fmt.Fprintf(w, "freed %d units\n", doc.Size) })
	}
	return c
}

func (x *ctl) memCompact() *cobra.Command {
	c := &cobra.Command{Use: "compact NAME", Short: "slide all blocks to the low end", Args: cobra.ExactArgs(1), ValidArgsFunction: completeMem}
	c.RunE = func(c *cobra.Command, args []string) error {
		doc, err := planeAsk[control.Allocated](c, "mem/compact", control.ArenaAsk{Name: args[0]})
		if err != nil {
			return noMem(err)
		}
		return x.answer(c, doc, func(w io.Writer) { fmt.Fprintf(w, "moved %d blocks\n", doc.Moved) })
	}
	return c
}

// memory is show and stats: the same document in two ways.
func (x *ctl) memory(use, short string, text func(io.Writer, control.ArenaInfo)) *cobra.Command {
	c := &cobra.Command{Use: use + " NAME", Short: short, Args: cobra.ExactArgs(1), ValidArgsFunction: completeMem}
	c.RunE = func(c *cobra.Command, args []string) error {
		doc, err := planeAsk[control.ArenaInfo](c, "mem/show", control.ArenaAsk{Name: args[0]})
		if err != nil {
			return noMem(err)
		}
		return x.answer(c, doc, func(w io.Writer) { text(w, doc) })
	}
	return c
}

func (x *ctl) memShow() *cobra.Command {
	return x.memory("show", "draw a memory and its blocks", func(w io.Writer, a control.ArenaInfo) {
		fmt.Fprintf(w, "%s: %d units, %s\n", a.Name, a.Size, a.Fit)
		var picture strings.Builder
		var bars []draw.Bar
		for _, b := range a.Blocks {
			if b.Name != "" {
				bars = append(bars, draw.Bar{Label: b.Name, Start: b.Address, End: b.Address + b.Size})
			} else {
				bars = append(bars, draw.Bar{Label: ".", Start: b.Address, End: b.Address + b.Size, Fill: true})
			}
		}
		if err := draw.Bars(&picture, bars, memWidth); err == nil {
			io.WriteString(w, picture.String())
		}
		fmt.Fprintln(w, "ADDRESS\tSIZE\tASKED FOR\tBLOCK")
		for _, b := range a.Blocks {
			fmt.Fprintf(w, "%d\t%d\t%d\t%s\n", b.Address, b.Size, b.Requested, dash(b.Name))
		}
	})
}

func (x *ctl) memStats() *cobra.Command {
	return x.memory("stats", "its fragmentation", func(w io.Writer, a control.ArenaInfo) {
		f := a.Fragmentation
		fmt.Fprintf(w, "%d of %d units are free, in %d holes, the largest of %d\n", f.Free, a.Size, f.Holes, f.LargestHole)
		fmt.Fprintf(w, "external fragmentation\t%.1f%%\n", 100*f.External)
		fmt.Fprintf(w, "internal fragmentation\t%.1f%%\n", 100*f.Internal)
		fmt.Fprintf(w, "requests that failed\t%d\n", a.Failed)
	})
}

func (x *ctl) memList() *cobra.Command {
	c := &cobra.Command{Use: "list", Short: "all memories", Args: cobra.NoArgs}
	c.RunE = func(c *cobra.Command, _ []string) error {
		return planeDo(x, c, "mem/list", struct{}{}, func(w io.Writer, d control.Arenas) {
			fmt.Fprintln(w, "MEMORY\tFIT\tSIZE\tFREE\tHOLES")
			for _, a := range d.Memories {
				fmt.Fprintf(w, "%s\t%s\t%d\t%d\t%d\n", a.Name, a.Fit, a.Size, a.Fragmentation.Free, a.Fragmentation.Holes)
			}
		})
	}
	return c
}

func (x *ctl) memDelete() *cobra.Command {
	c := &cobra.Command{Use: "delete NAME", Short: "remove a memory with everything in it (--yes)", Args: cobra.ExactArgs(1), ValidArgsFunction: completeMem}
	yes := c.Flags().Bool("yes", false, "really")
	c.RunE = func(c *cobra.Command, args []string) error {
		if !*yes {
			return cli.Hint(fault.New("mem delete", fault.Refused, "%s goes with everything in it", args[0]), "dfsctl mem delete %s --yes", args[0])
		}
		doc, err := planeAsk[control.Done](c, "mem/delete", control.ArenaAsk{Name: args[0]})
		if err != nil {
			return noMem(err)
		}
		return x.answer(c, doc, func(w io.Writer) { fmt.Fprintf(w, "deleted %s\n", args[0]) })
	}
	return c
}
