package main

import (
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"dfs/cluster/fault"
	"dfs/cmd/internal/cli"
	"dfs/sched/control"
)

// planeDo asks the sidecar verb and prints the document, as JSON or as text writes it.
func planeDo[D any](x *ctl, c *cobra.Command, verb string, ask any, text func(w io.Writer, doc D)) error {
	doc, err := planeAsk[D](c, verb, ask)
	if err != nil {
		return err
	}
	return x.answer(c, doc, func(w io.Writer) { text(w, doc) })
}

// planeAsk asks the sidecar that --data or the default selects.
func planeAsk[D any](c *cobra.Command, verb string, ask any) (doc D, err error) {
	data, err := cli.ResolveData(c.Flags(), os.LookupEnv)
	if err != nil {
		return doc, err
	}
	err = control.NewClient(data).Ask(c.Context(), verb, ask, &doc)
	return doc, planeHint(err)
}

// planeHint puts a next step behind errors of the cluster's own.
func planeHint(err error) error {
	if err == nil || fault.NextStep(err) != "" {
		return err
	}
	switch fault.KindOf(err) {
	case fault.Unreachable, fault.CutOff, fault.Closed:
		return cli.Hint(err, "dfsctl status")
	case fault.Timeout:
		return cli.Hint(err, "dfsctl status, then look whether it has happened, and try again")
	case fault.TooBig:
		return cli.Hint(err, "put it into a file on the drive, and its path here")
	}
	return err
}

// duration is a flag in the form of ParseDuration; "" is 0.
func duration(text string) (time.Duration, error) {
	if text == "" {
		return 0, nil
	}
	return cli.ParseDuration(text)
}

// planeNames completes the names that verb lists: names picks them from its document.
func planeNames[D any](verb string, names func(D) []string) func(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
	return func(c *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
		if len(args) > 0 {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		doc, err := planeAsk[D](c, verb, struct{}{})
		if err != nil {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		return names(doc), cobra.ShellCompDirectiveNoFileComp
	}
}

// input is an argument's bytes, or standard input's for "-".
func input(c *cobra.Command, arg string, limit int64) ([]byte, error) {
	if arg != "-" {
		return []byte(arg), nil
	}
	b, err := io.ReadAll(io.LimitReader(c.InOrStdin(), limit+1))
	return b, fault.Because("standard input", fault.Other, err)
}

// raw prints bytes as they are, and a line's end where there is none.
func raw(w io.Writer, b []byte) {
	w.Write(b)
	if len(b) == 0 || b[len(b)-1] != '\n' {
		fmt.Fprintln(w)
	}
}

// amounts reads NAME=N arguments; sizes may be written 4G.
func amounts(args []string) (map[string]int64, error) {
	m := map[string]int64{}
	for _, a := range args {
		name, number, ok := strings.Cut(a, "=")
		n, err := cli.ParseSize(number)
		if _, twice := m[name]; !ok || name == "" || err != nil || twice {
			return nil, fault.New("resources", fault.Invalid, "%q: write NAME=NUMBER, each name once, such as cpu=2 memory=4G", a)
		}
		m[name] = n
	}
	return m, nil
}

func (x *ctl) planeResume() *cobra.Command {
	c := &cobra.Command{Use: "resume", Short: "let the control plane's state go on after a bug has stopped it", Args: cobra.NoArgs}
	c.RunE = func(c *cobra.Command, _ []string) error {
		return planeDo(x, c, "plane/resume", struct{}{}, func(w io.Writer, _ control.Done) { fmt.Fprintln(w, "the control plane goes on") })
	}
	return cli.Group(&cobra.Command{Use: "plane", Short: "the control plane itself"}, c)
}
