package main

import (
	"fmt"
	"io"
	"maps"
	"os"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"dfs/cluster/fault"
	"dfs/cmd/internal/cli"
	"dfs/sched/control"
)

func (x *ctl) bank() *cobra.Command {
	return cli.Group(&cobra.Command{
		Use:   "bank",
		Short: "resources shared by Banker's algorithm",
		Long: `bank keeps what there is of each resource (cpu, memory, or any name). A process registers the most it will ever hold, then requests
step by step. What is not there is waited for; what would be unsafe is refused, so that nobody can come to be deadlocked.`,
	}, x.bankState(), x.bankResource(), x.bankRegister(), x.bankRequest(), x.bankRelease(), x.bankSafe())
}

var completeBanker = planeNames("bank/state", func(d control.BankState) (names []string) {
	for _, p := range d.Processes {
		names = append(names, p.Process)
	}
	return names
})

func noBank(err error) error {
	if err == nil || fault.NextStep(err) != "" {
		return err
	}
	switch fault.KindOf(err) {
	case fault.NotExist, fault.Exist, fault.Refused, fault.Conflict, fault.Stale:
		return cli.Hint(err, "dfsctl bank state")
	}
	return err
}

func (x *ctl) bankState() *cobra.Command {
	c := &cobra.Command{Use: "state", Short: "resources, claims, and who waits", Args: cobra.NoArgs}
	c.RunE = func(c *cobra.Command, _ []string) error {
		return planeDo(x, c, "bank/state", control.BankAsk{}, bankText)
	}
	return c
}

func bankText(w io.Writer, d control.BankState) {
	state := "the state is safe"
	if !d.Safe {
		state = "the state is not safe"
	}
	fmt.Fprintf(w, "%s: %d resources, %d processes, %d wait\n", state, len(d.Resources), len(d.Processes), len(d.Waiting))
	if len(d.Resources) > 0 {
		fmt.Fprintln(w, "RESOURCE\tTOTAL\tAVAILABLE")
	}
	for _, r := range d.Resources {
		fmt.Fprintf(w, "%s\t%d\t%d\n", r.Name, r.Total, r.Available)
	}
	if len(d.Processes) > 0 {
		fmt.Fprintln(w, "PROCESS\tCLAIM\tHOLDS\tWAITS FOR")
	}
	for _, p := range d.Processes {
		waits := "-"
		for _, v := range d.Waiting {
			if v.Process == p.Process {
				waits = amountsText(v.Want)
			}
		}
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\n", p.Process, amountsText(p.Claim), amountsText(p.Allocated), waits)
	}
}

func amountsText(m map[string]int64) string {
	var parts []string
	for _, name := range slices.Sorted(maps.Keys(m)) {
		if m[name] != 0 {
			parts = append(parts, fmt.Sprintf("%s=%d", name, m[name]))
		}
	}
	return dash(strings.Join(parts, " "))
}

func (x *ctl) bankResource() *cobra.Command {
	c := &cobra.Command{Use: "resource NAME=TOTAL...", Short: "say how much there is", Example: "  dfsctl bank resource cpu=8 memory=16G", Args: cobra.MinimumNArgs(1)}
	c.RunE = func(c *cobra.Command, args []string) error {
		m, err := amounts(args)
		if err != nil {
			return err
		}
		doc, err := planeAsk[control.BankState](c, "bank/resource", control.BankAsk{Amounts: m})
		if err != nil {
			return noBank(err)
		}
		return x.answer(c, doc, func(w io.Writer) { bankText(w, doc) })
	}
	return c
}

func (x *ctl) bankRegister() *cobra.Command {
	c := &cobra.Command{
		Use:   "register PROCESS NAME=MOST...",
		Short: "claim the most a process will ever hold",
		Long: `register admits a process under a name of its own. It is one until "bank release PROCESS --all", or with --pid or --caller until
that process of this machine ends, which gives everything back.`,
		Args: cobra.MinimumNArgs(2),
	}
	pid := c.Flags().Int("pid", 0, "it ends with this process")
	caller := c.Flags().Bool("caller", false, "it ends with the process that called dfsctl")
	c.RunE = func(c *cobra.Command, args []string) error {
		m, err := amounts(args[1:])
		if err != nil {
			return err
		}
		ask := control.BankAsk{Process: args[0], Amounts: m}
		if *caller {
			*pid = os.Getppid()
		}
		if *pid != 0 {
			ask.Hold = &control.Hold{PID: *pid, Owner: args[0]}
		}
		doc, err := planeAsk[control.BankDone](c, "bank/register", ask)
		if err != nil {
			return noBank(err)
		}
		return x.answer(c, doc, func(w io.Writer) { fmt.Fprintf(w, "registered %s\n", args[0]) })
	}
	return c
}

func (x *ctl) bankRequest() *cobra.Command {
	c := &cobra.Command{
		Use:   "request PROCESS NAME=N...",
		Short: "ask for more, and wait for what is not there; exit code 4 if it would be unsafe",
		Args:  cobra.MinimumNArgs(2), ValidArgsFunction: completeBanker,
	}
	timeout := c.Flags().String("timeout", "", "how long to wait (default: for ever)")
	try := c.Flags().Bool("try", false, "do not wait")
	c.RunE = func(c *cobra.Command, args []string) error {
		m, err := amounts(args[1:])
		if err != nil {
			return err
		}
		d, err := duration(*timeout)
		if err != nil {
			return err
		}
		doc, err := planeAsk[control.BankDone](c, "bank/request", control.BankAsk{Process: args[0], Amounts: m, Try: *try, Timeout: d})
		if err != nil {
			return noBank(err)
		}
		return x.answer(c, doc, func(w io.Writer) { fmt.Fprintf(w, "granted %s to %s\n", amountsText(m), args[0]) })
	}
	return c
}

func (x *ctl) bankRelease() *cobra.Command {
	c := &cobra.Command{Use: "release PROCESS NAME=N... | PROCESS --all", Short: "give back", Args: cobra.MinimumNArgs(1), ValidArgsFunction: completeBanker}
	all := c.Flags().Bool("all", false, "everything, and the registration")
	c.RunE = func(c *cobra.Command, args []string) error {
		m, err := amounts(args[1:])
		if err != nil {
			return err
		}
		if *all == (len(m) > 0) {
			return fault.New("bank release", fault.Invalid, "say what, or --all")
		}
		doc, err := planeAsk[control.BankDone](c, "bank/release", control.BankAsk{Process: args[0], Amounts: m, All: *all})
		if err != nil {
			return noBank(err)
		}
		return x.answer(c, doc, func(w io.Writer) {
			fmt.Fprint(w, "released")
			if len(doc.Granted) > 0 {
				fmt.Fprintf(w, "; granted to %s what was waited for", strings.Join(doc.Granted, ", "))
			}
			fmt.Fprintln(w)
		})
	}
	return c
}

func (x *ctl) bankSafe() *cobra.Command {
	c := &cobra.Command{Use: "safe", Short: "an order in which all can finish; exit code 7 if there is none", Args: cobra.NoArgs}
	c.RunE = func(c *cobra.Command, _ []string) error {
		doc, err := planeAsk[control.BankState](c, "bank/state", control.BankAsk{})
		if err != nil {
			return err
		}
		out := struct {
			Schema       int      `json:"schema"`
			Safe         bool     `json:"safe"`
			SafeSequence []string `json:"safe_sequence"`
		}{control.Schema, doc.Safe, doc.SafeSequence}
		err = x.answer(c, out, func(w io.Writer) {
			if doc.Safe {
				fmt.Fprintf(w, "safe: %s\n", dash(strings.Join(doc.SafeSequence, ", ")))
			} else {
				fmt.Fprintln(w, "not safe")
			}
		})
		if err == nil && !doc.Safe {
			return cli.Code(cli.Conflict)
		}
		return err
	}
	return c
}
