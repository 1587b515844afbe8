// Command tally runs the tests of the tree and counts them: tests, not packages. Failures are printed in full,
// skips by name, and the last line is
//
//	N passed, N failed, N skipped
//
// With -check the static checks run first, with -fuzz every fuzz target runs for that long; each counts as a test.
// It exits with 1 if anything failed. With CI=true a test skipped for want of /dev/fuse or libfuse has failed.
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"slices"
	"syscall"
	"time"
)

// options are the command line.
type options struct {
	check    bool
	race     bool
	run      string
	fuzz     time.Duration
	timeout  time.Duration
	ci       bool
	packages []string
}

func main() {
	var o options
	flag.BoolVar(&o.check, "check", false, "run gofmt, vet (Linux and Windows) and staticcheck first")
	flag.BoolVar(&o.race, "race", false, "with the race detector")
	flag.StringVar(&o.run, "run", "", "only tests that match")
	flag.DurationVar(&o.fuzz, "fuzz", 0, "then run every fuzz target for this long")
	flag.DurationVar(&o.timeout, "timeout", 20*time.Minute, "of one package's tests")
	flag.Parse()
	o.ci = os.Getenv("CI") == "true"
	o.packages = flag.Args()
	if len(o.packages) == 0 {
		o.packages = []string{"./..."}
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	os.Exit(run(ctx, o))
}

func run(ctx context.Context, o options) int {
	t := newTotals(os.Stdout, o.ci)
	if o.check {
		check(ctx, t, o)
	}
	for _, packages := range split(ctx, o.packages) {
		test(ctx, t, o, packages)
		testLibfuse(ctx, t, o, packages)
	}
	if o.fuzz > 0 {
		fuzz(ctx, t, o)
	}
	if ctx.Err() != nil {
		t.fail("interrupted", "")
	}
	return t.print()
}

// totals is the count. Its methods print what people need to see at once.
type totals struct {
	out             *os.File
	ci              bool
	passed, failed  int
	skips, failures []string
}

func newTotals(out *os.File, ci bool) *totals { return &totals{out: out, ci: ci} }

func (t *totals) pass() { t.passed++ }

func (t *totals) fail(name, output string) {
	t.failed++
	t.failures = append(t.failures, name)
	fmt.Fprintf(t.out, "FAIL %s\n%s", name, output)
}

func (t *totals) skip(name, output string) {
	if t.ci && needsFUSE(output) {
		t.fail(name+": skipped for want of FUSE, which CI must have", output)
		return
	}
	t.skips = append(t.skips, name+reason(output))
}

// print ends the report and returns the exit code.
func (t *totals) print() int {
	slices.Sort(t.skips)
	for _, s := range t.skips {
		fmt.Fprintf(t.out, "skipped %s\n", s)
	}
	for _, f := range t.failures {
		fmt.Fprintf(t.out, "failed  %s\n", f)
	}
	fmt.Fprintf(t.out, "%d passed, %d failed, %d skipped\n", t.passed, t.failed, len(t.skips))
	if t.failed > 0 {
		return 1
	}
	return 0
}
