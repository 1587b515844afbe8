// Package cli is what the three programs share on their outside: how they read settings, print answers and errors,
// and which exit code an error becomes.
//
// A setting comes from, in this order: the flag, the DFS_* variable, dfsd.toml in the data directory, dfsd.toml in
// the user's configuration directory, what an earlier start in the same data directory was told (flags.json), the
// default.
package cli

import (
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"dfs/cluster/fault"
)

// Exit codes.
const (
	OK       = 0
	Failed   = 1
	Usage    = 2
	NotFound = 3
	Refused  = 4
	TimedOut = 5
	Degraded = 6
	Conflict = 7
)

// codes is the one place where kinds become exit codes. Kinds that are not here are Failed.
var codes = map[fault.Kind]int{
	fault.Invalid:    Usage,
	fault.NotExist:   NotFound,
	fault.Permission: Refused,
	fault.Refused:    Refused,
	fault.ReadOnly:   Refused,
	fault.Quota:      Refused,
	fault.Timeout:    TimedOut,
	fault.Conflict:   Conflict,
	fault.Exist:      Conflict,
	fault.Busy:       Conflict,
	fault.Stale:      Conflict,
	fault.NotEmpty:   Conflict,

	// What was named is of the wrong sort, or can be nothing's name.
	fault.NotDir:      Usage,
	fault.IsDir:       Usage,
	fault.NameTooLong: Usage,
}

// Code is an error that is only an exit code: everything has been said already.
type Code int

func (c Code) Error() string { return fmt.Sprintf("exit code %d", int(c)) }

// ExitCode returns the exit code of err.
func ExitCode(err error) int {
	var c Code
	switch {
	case err == nil:
		return OK
	case errors.As(err, &c):
		return int(c)
	}
	if code, ok := codes[fault.KindOf(err)]; ok {
		return code
	}
	return Failed
}

// Hint puts one next step behind an error: a command to try. Hint of nil is nil.
func Hint(err error, format string, args ...any) error { return fault.Advise(err, format, args...) }

// PrintError prints err for people: what is wrong first, one next step last. A Code prints nothing.
func PrintError(w io.Writer, program string, err error) {
	var c Code
	if err == nil || errors.As(err, &c) {
		return
	}
	fmt.Fprintf(w, "%s: %v\n", program, err)
	next := fault.NextStep(err)
	if next == "" {
		next = nextStep(program, err)
	}
	fmt.Fprintf(w, "next: %s\n", next)
}

// nextStep is for errors that bring none of their own.
func nextStep(program string, err error) string {
	switch fault.KindOf(err) {
	case fault.Invalid:
		return program + " --help"
	case fault.NotExist, fault.NotDir, fault.IsDir, fault.NameTooLong:
		return "check what you named"
	case fault.CutOff, fault.Unreachable, fault.NotLeader:
		return "dfsctl status"
	case fault.Timeout:
		return "dfsctl status, then try again"
	case fault.Corrupt, fault.Damaged:
		return "dfsctl where PATH"
	case fault.NoSpace:
		return "dfsctl peer list"
	case fault.ReadOnly:
		if program == "dfsd" {
			return "look after the disk (dmesg), then dfsd up; or remove its directory and join anew"
		}
	}
	return "dfsd doctor"
}

// Main runs root and returns the exit code. Errors of cobra's own (unknown command, unknown flag) are usage errors.
func Main(ctx context.Context, root *cobra.Command, stderr io.Writer) int {
	root.SilenceErrors, root.SilenceUsage = true, true
	root.SetFlagErrorFunc(func(c *cobra.Command, err error) error {
		return Hint(usage(err), "%s --help", c.CommandPath())
	})
	started := false
	mark(root, &started)
	ran, err := root.ExecuteContextC(ctx)
	if err != nil && !started && fault.KindOf(err) == fault.Other {
		var c Code
		if !errors.As(err, &c) {
			err = Hint(usage(err), "%s --help", root.Name())
		}
	}
	if fault.KindOf(err) == fault.Invalid && fault.NextStep(err) == "" {
		if ran.Hidden { // nobody calls it by hand
			ran = root
		}
		err = Hint(err, "%s --help", ran.CommandPath())
	}
	PrintError(stderr, root.Name(), err)
	return ExitCode(err)
}

// usage keeps the words of err and makes it a usage error.
func usage(err error) error { return &usageError{err} }

type usageError struct{ error }

func (u *usageError) Is(target error) bool { return target == fault.Invalid }

func (u *usageError) Unwrap() error { return fault.Invalid }

// mark notes when a command's own code begins: what fails before that is usage.
func mark(c *cobra.Command, started *bool) {
	if run := c.RunE; run != nil {
		c.RunE = func(cmd *cobra.Command, args []string) error {
			*started = true
			return run(cmd, args)
		}
	}
	for _, sub := range c.Commands() {
		mark(sub, started)
	}
}

// Group makes c a command that only has subcommands: called with anything else it is a usage error.
func Group(c *cobra.Command, subs ...*cobra.Command) *cobra.Command {
	c.RunE = func(c *cobra.Command, args []string) error {
		if len(args) == 0 {
			return Hint(fault.New(c.CommandPath(), fault.Invalid, "a verb is missing"), "%s --help", c.CommandPath())
		}
		return Hint(fault.New(c.CommandPath(), fault.Invalid, "unknown command %q", args[0]), "%s --help", c.CommandPath())
	}
	c.Args = cobra.ArbitraryArgs
	c.AddCommand(subs...)
	return c
}
