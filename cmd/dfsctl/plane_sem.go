package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"dfs/cluster/fault"
	"dfs/cmd/internal/cli"
	"dfs/sched/control"
)

func (x *ctl) sem() *cobra.Command {
	return cli.Group(&cobra.Command{
		Use:   "sem",
		Short: "semaphores that the whole cluster shares",
		Long: `sem has counting and binary semaphores. Who waits is served in the order of coming, on whatever peer.

A grant belongs to a process of this machine and is given back when that ends: with "sem wait NAME -- COMMAND" to dfsctl
while COMMAND runs, else to the process that called dfsctl, or with --hold to nobody, for that long. Scripts say --pid $$: what called
dfsctl there may be a subshell, a pipeline or a wrapper that ends at once. If this machine fails, its grants are given back after 15 s. A process that was stopped may wake up after that: so every grant has a
token, which only grows, for whoever is asked to do something under it ("kv set --fence NAME:TOKEN").`,
	}, x.semCreate(), x.semWait(), x.semSignal(), x.semInfo(), x.semList(), x.semDelete())
}

func semNames(doc control.Semaphores) (names []string) {
	for _, s := range doc.Semaphores {
		names = append(names, s.Name)
	}
	return names
}

var completeSem = planeNames("sem/list", semNames)

func (x *ctl) semCreate() *cobra.Command {
	c := &cobra.Command{Use: "create NAME", Short: "make a semaphore", Args: cobra.ExactArgs(1)}
	permits := c.Flags().Uint64("permits", 1, "how many may hold it at once")
	binary := c.Flags().Bool("binary", false, "never more than one permit")
	c.RunE = func(c *cobra.Command, args []string) error {
		ask := control.SemaphoreAsk{Name: args[0], Permits: *permits, Binary: *binary}
		return planeDo(x, c, "sem/create", ask, func(w io.Writer, d control.Done) {
			if d.Again {
				fmt.Fprintf(w, "%s was there\n", args[0])
				return
			}
			fmt.Fprintf(w, "created %s with %d permits\n", args[0], *permits)
		})
	}
	return c
}

// holding are the flags that say whose something is.
type holding struct {
	ttl, owner *string
	pid        *int
}

func addHolding(c *cobra.Command) holding {
	return holding{
		c.Flags().String("hold", "", "it is nobody's, and given back after so long"),
		c.Flags().String("as", "", "the process's name in \"dfsctl deadlock\" (default: this machine's name and the pid)"),
		c.Flags().Int("pid", 0, "it belongs to this process (default: the one that called dfsctl)"),
	}
}

// hold returns whose it is; command says that it is dfsctl's own, which runs one.
func (h holding) hold(command bool) (hold control.Hold, err error) {
	hold = control.Hold{Owner: *h.owner, PID: *h.pid}
	if hold.TTL, err = duration(*h.ttl); err != nil {
		return hold, err
	}
	switch {
	case hold.TTL > 0 && (hold.PID != 0 || command):
		return hold, fault.New("hold", fault.Invalid, "either for a time (--hold), or while a process lives")
	case hold.TTL > 0 || hold.PID != 0:
	case command:
		hold.PID = os.Getpid()
	default:
		hold.PID = os.Getppid()
	}
	return hold, nil
}

func (x *ctl) semWait() *cobra.Command {
	c := &cobra.Command{
		Use:   "wait NAME [-- COMMAND...]",
		Short: "wait for a permit, and hold it",
		Long: `wait returns once it has a permit, and prints its token; exit code 5 when --timeout has passed, 4 where --try or
--refuse-deadlock refuse to wait. With a COMMAND it runs that, with the token in DFS_TOKEN, gives the permit back, and ends with
COMMAND's exit code.`,
		Example: `  dfsctl sem wait printer -- lpr report.ps
  token=$(dfsctl sem wait printer --pid $$); lpr report.ps; dfsctl sem signal printer --token $token`,
		Args: commandAfter(1), ValidArgsFunction: completeSem,
	}
	ask := control.SemaphoreAsk{}
	timeout := c.Flags().String("timeout", "", "how long to wait (default: for ever)")
	c.Flags().Uint64Var(&ask.Permits, "permits", 1, "so many at once")
	c.Flags().BoolVar(&ask.Try, "try", false, "do not wait")
	c.Flags().BoolVar(&ask.Avoid, "refuse-deadlock", false, "do not wait where that would be a deadlock")
	h := addHolding(c)
	c.RunE = func(c *cobra.Command, args []string) error {
		var err error
		ask.Name = args[0]
		command := args[1:]
		if ask.Hold, err = h.hold(len(command) > 0); err != nil {
			return err
		}
		if ask.Timeout, err = duration(*timeout); err != nil {
			return err
		}
		g, err := planeAsk[control.Grant](c, "sem/wait", ask)
		if err != nil {
			return noSem(err)
		}
		if len(command) == 0 {
			return x.answer(c, g, func(w io.Writer) { fmt.Fprintln(w, g.Token) })
		}
		err = runCommand(c, command, nil, fmt.Sprintf("DFS_TOKEN=%d", g.Token))
		_, serr := planeAskAfter[control.SemaphoreInfo](c, "sem/signal", control.SemaphoreAsk{Name: ask.Name, Token: g.Token})
		if serr != nil && err == nil {
			err = serr
		}
		return err
	}
	return c
}

// commandAfter wants n arguments, and lets a command follow behind --.
func commandAfter(n int) cobra.PositionalArgs {
	return func(c *cobra.Command, args []string) error {
		if dash := c.ArgsLenAtDash(); dash >= 0 {
			if dash != n || len(args) == n {
				return fmt.Errorf("want %d arguments, then -- and a command", n)
			}
			return nil
		}
		return cobra.ExactArgs(n)(c, args)
	}
}

// runCommand runs a command with one more variable and returns its exit code as an error.
func runCommand(c *cobra.Command, command []string, stdin io.Reader, env ...string) error {
	cmd := exec.CommandContext(c.Context(), command[0], command[1:]...)
	cmd.Cancel = func() error { return cmd.Process.Signal(os.Interrupt) }
	cmd.WaitDelay = 5 * time.Second
	if stdin == nil {
		stdin = c.InOrStdin()
	}
	cmd.Stdin, cmd.Stdout, cmd.Stderr = stdin, c.OutOrStdout(), c.ErrOrStderr()
	cmd.Env = append(os.Environ(), env...)
	dieWith(cmd)
	err := cmd.Run()
	var exit *exec.ExitError
	switch {
	case errors.As(err, &exit) && exit.ExitCode() > 0:
		return cli.Code(exit.ExitCode())
	case errors.Is(err, exec.ErrNotFound) || errors.Is(err, os.ErrNotExist):
		return fault.New("run", fault.NotExist, "%s", command[0])
	}
	return fault.Because("run "+command[0], fault.Other, err)
}

// planeAskAfter is planeAsk for what must be said though Ctrl-C has ended the command's context.
func planeAskAfter[D any](c *cobra.Command, verb string, ask any) (doc D, err error) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(c.Context()), 10*time.Second)
	defer cancel()
	before := c.Context()
	c.SetContext(ctx)
	defer c.SetContext(before)
	return planeAsk[D](c, verb, ask)
}

func noSem(err error) error {
	if fault.KindOf(err) == fault.NotExist && fault.NextStep(err) == "" {
		return cli.Hint(err, "dfsctl sem create NAME, or dfsctl sem list")
	}
	if fault.KindOf(err) == fault.Refused && fault.NextStep(err) == "" {
		return cli.Hint(err, "dfsctl sem info NAME")
	}
	return err
}

func (x *ctl) semSignal() *cobra.Command {
	c := &cobra.Command{
		Use:   "signal NAME",
		Short: "give a permit back",
		Long: `signal gives back the grant with --token, or the newest one of the process that called dfsctl; exit code 7 if that grant is
over. --add adds a permit that nobody held: what a producer does.`,
		Args: cobra.ExactArgs(1), ValidArgsFunction: completeSem,
	}
	ask := control.SemaphoreAsk{}
	c.Flags().Uint64Var(&ask.Token, "token", 0, "the grant's")
	c.Flags().BoolVar(&ask.Add, "add", false, "add a permit")
	c.Flags().Uint64Var(&ask.Permits, "permits", 1, "with --add: so many")
	c.Flags().StringVar(&ask.Hold.Owner, "as", "", "the process's name")
	c.Flags().IntVar(&ask.Hold.PID, "pid", 0, "the process (default: the one that called dfsctl)")
	c.RunE = func(c *cobra.Command, args []string) error {
		ask.Name = args[0]
		if ask.Hold.PID == 0 {
			ask.Hold.PID = os.Getppid()
		}
		if ask.Add && ask.Token != 0 {
			return fault.New("sem signal", fault.Invalid, "either --token or --add")
		}
		doc, err := planeAsk[control.SemaphoreInfo](c, "sem/signal", ask)
		if fault.KindOf(err) == fault.Stale {
			err = cli.Hint(err, "dfsctl sem info %s", args[0])
		}
		if err != nil {
			return noSem(err)
		}
		return x.answer(c, doc, func(w io.Writer) { fmt.Fprintf(w, "%s has %d of %d permits free\n", doc.Name, doc.Free, doc.Permits) })
	}
	return c
}

func (x *ctl) semInfo() *cobra.Command {
	c := &cobra.Command{Use: "info NAME", Short: "who holds it and who waits", Args: cobra.ExactArgs(1), ValidArgsFunction: completeSem}
	c.RunE = func(c *cobra.Command, args []string) error {
		return planeDo(x, c, "sem/info", control.SemaphoreAsk{Name: args[0]}, func(w io.Writer, s control.SemaphoreInfo) {
			fmt.Fprintf(w, "%s has %d of %d permits free; %d hold it, %d wait\n", s.Name, s.Free, s.Permits, len(s.Holders), len(s.Waiters))
			if len(s.Holders)+len(s.Waiters) > 0 {
				fmt.Fprintln(w, "PROCESS\tSTATE\tPERMITS\tTOKEN")
			}
			for _, h := range s.Holders {
				fmt.Fprintf(w, "%s\tholds\t%d\t%d\n", h.Process, h.Permits, h.Token)
			}
			for _, h := range s.Waiters {
				fmt.Fprintf(w, "%s\twaits\t%d\t-\n", h.Process, h.Permits)
			}
		})
	}
	return c
}

func (x *ctl) semList() *cobra.Command {
	c := &cobra.Command{Use: "list", Short: "all semaphores", Args: cobra.NoArgs}
	c.RunE = func(c *cobra.Command, _ []string) error {
		return planeDo(x, c, "sem/list", struct{}{}, func(w io.Writer, d control.Semaphores) {
			fmt.Fprintln(w, "SEMAPHORE\tPERMITS\tFREE\tHOLD\tWAIT")
			for _, s := range d.Semaphores {
				fmt.Fprintf(w, "%s\t%d\t%d\t%d\t%d\n", s.Name, s.Permits, s.Free, len(s.Holders), len(s.Waiters))
			}
		})
	}
	return c
}

func (x *ctl) semDelete() *cobra.Command {
	c := &cobra.Command{Use: "delete NAME", Short: "remove a semaphore; exit code 7 while it is held or waited for", Args: cobra.ExactArgs(1), ValidArgsFunction: completeSem}
	force := c.Flags().Bool("force", false, "also then: who waits fails, who holds holds nothing")
	c.RunE = func(c *cobra.Command, args []string) error {
		doc, err := planeAsk[control.Done](c, "sem/delete", control.SemaphoreAsk{Name: args[0], Force: *force})
		if fault.KindOf(err) == fault.Conflict {
			err = cli.Hint(err, "dfsctl sem info %s, or --force", args[0])
		}
		if err != nil {
			return noSem(err)
		}
		return x.answer(c, doc, func(w io.Writer) { fmt.Fprintf(w, "deleted %s\n", args[0]) })
	}
	return c
}

func (x *ctl) deadlock() *cobra.Command {
	check := &cobra.Command{Use: "check", Short: "who is deadlocked, and whom to end; exit code 7 if anybody is", Args: cobra.NoArgs}
	check.RunE = func(c *cobra.Command, _ []string) error {
		doc, err := planeAsk[control.Deadlock](c, "deadlock/check", struct{}{})
		if err != nil {
			return err
		}
		err = x.answer(c, doc, func(w io.Writer) {
			if len(doc.Deadlocked) == 0 {
				fmt.Fprintln(w, "nobody is deadlocked")
				return
			}
			fmt.Fprintf(w, "deadlocked: %s\n", strings.Join(doc.Deadlocked, ", "))
			for _, cycle := range doc.Cycles {
				fmt.Fprintf(w, "cycle\t%s\n", strings.Join(append(cycle, cycle[0]), " waits for "))
			}
			if len(doc.BlockedBehind) > 0 {
				fmt.Fprintf(w, "blocked behind them\t%s\n", strings.Join(doc.BlockedBehind, ", "))
			}
			fmt.Fprintf(w, "victim\t%s\n", strings.Join(doc.Victims, ", then "))
		})
		if err == nil && len(doc.Deadlocked) > 0 {
			return cli.Code(cli.Conflict)
		}
		return err
	}
	graph := &cobra.Command{Use: "graph", Short: "who waits for whom", Args: cobra.NoArgs}
	dot := graph.Flags().Bool("dot", false, "in Graphviz's language, for dot -Tsvg")
	graph.RunE = func(c *cobra.Command, _ []string) error {
		doc, err := planeAsk[control.Graph](c, "deadlock/graph", struct{}{})
		if err != nil {
			return err
		}
		if *dot && !x.json {
			_, err := io.WriteString(c.OutOrStdout(), doc.DOT)
			return err
		}
		return x.answer(c, doc, func(w io.Writer) {
			fmt.Fprintf(w, "%d wait\n", len(doc.Edges))
			for _, e := range doc.Edges {
				fmt.Fprintf(w, "%s\twaits for\t%s\tover %s\n", e.From, e.To, e.Over)
			}
		})
	}
	return cli.Group(&cobra.Command{
		Use:   "deadlock",
		Short: "who waits for whom, over semaphores, the bank and file locks",
		Long: `deadlock looks at one graph of everybody who holds or waits for permits of semaphores, resources of the bank and locks on files of
the drive, at one moment of the log. Queues are not in it: whoever waits for a message waits for anybody, and for nobody in particular.`,
	}, check, graph)
}
