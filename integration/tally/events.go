package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"time"
)

// event is one line of `go test -json`.
type event struct {
	Action      string
	Package     string
	ImportPath  string // of build output
	Test        string
	Output      string
	FailedBuild string
}

// key names one test of one package; the package itself has no test.
type key struct{ pkg, test string }

func (k key) String() string {
	if k.test == "" {
		return k.pkg
	}
	return k.pkg + "." + k.test
}

// collector turns a stream of events into counts. Only leaves are counted: a test with subtests is its subtests,
// unless it failed on its own.
type collector struct {
	t      *totals
	output map[key]*bytes.Buffer
	parent map[key]bool // has subtests
	broken map[key]bool // a test below it failed
	builds map[string]*bytes.Buffer
}

func newCollector(t *totals) *collector {
	return &collector{t: t, output: map[key]*bytes.Buffer{}, parent: map[key]bool{}, broken: map[key]bool{},
		builds: map[string]*bytes.Buffer{}}
}

func (c *collector) read(r io.Reader) error {
	lines := bufio.NewReaderSize(r, 1<<20)
	for {
		line, err := lines.ReadBytes('\n')
		if len(line) > 0 {
			var e event
			if json.Unmarshal(line, &e) == nil && e.Action != "" {
				c.take(e)
			} else {
				fmt.Fprintf(c.t.out, "%s", line)
			}
		}
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
	}
}

func (c *collector) take(e event) {
	k := key{e.Package, e.Test}
	switch e.Action {
	case "run":
		for up := parentOf(k); up.test != ""; up = parentOf(up) {
			c.parent[up] = true
		}
	case "output":
		buffer(c.output, k).WriteString(e.Output)
	case "build-output":
		buffer(c.builds, e.ImportPath).WriteString(e.Output)
	case "pass", "fail", "skip":
		c.end(k, e)
	}
}

func (c *collector) end(k key, e event) {
	out := buffer(c.output, k).String()
	delete(c.output, k)
	if k.test == "" {
		c.endPackage(k, e, out)
		return
	}
	switch {
	case e.Action == "fail" && !c.broken[k]:
		c.t.fail(k.String(), out)
		for up := parentOf(k); ; up = parentOf(up) {
			c.broken[up] = true
			if up.test == "" {
				break
			}
		}
	case e.Action == "fail" || c.parent[k]:
	case e.Action == "skip":
		c.t.skip(k.String(), out)
	default:
		c.t.pass()
	}
}

// endPackage counts a package that failed without a failed test: it did not build, panicked or ran out of time.
// Tests that had not ended show what they had printed.
func (c *collector) endPackage(k key, e event, out string) {
	if e.Action == "fail" && !c.broken[k] {
		if b := c.builds[e.FailedBuild]; b != nil {
			out = b.String() + out
		}
		for other, b := range c.output {
			if other.pkg == k.pkg {
				out += b.String()
			}
		}
		c.t.fail(k.String(), out)
	}
	for other := range c.output {
		if other.pkg == k.pkg {
			delete(c.output, other)
		}
	}
}

func parentOf(k key) key {
	i := strings.LastIndexByte(k.test, '/')
	return key{k.pkg, k.test[:max(i, 0)]}
}

func buffer[K comparable](m map[K]*bytes.Buffer, k K) *bytes.Buffer {
	b := m[k]
	if b == nil {
		b = new(bytes.Buffer)
		m[k] = b
	}
	return b
}

// needsFUSE reports whether a test was skipped for want of what CI must have.
func needsFUSE(output string) bool {
	return strings.Contains(output, "/dev/fuse") || strings.Contains(output, "libfuse3-dev")
}

// reason returns what a skipped test said, as " (why)".
func reason(output string) string {
	for line := range strings.Lines(output) {
		line = strings.TrimSpace(line)
		if line == "" || strings.HasPrefix(line, "===") || strings.HasPrefix(line, "---") {
			continue
		}
		if _, why, ok := strings.Cut(line, ".go:"); ok {
			if _, text, ok := strings.Cut(why, ": "); ok {
				line = text
			}
		}
		return " (" + line + ")"
	}
	return ""
}

// heavy is the package that runs whole clusters: alone, so that it and the others have the machine to themselves.
const heavy = "dfs/integration"

// split returns the packages that the patterns name in the order of their runs.
func split(ctx context.Context, patterns []string) [][]string {
	out, err := command(ctx, "go", append([]string{"list"}, patterns...)...).Output()
	if err != nil {
		return [][]string{patterns} // go test will say what is wrong
	}
	light, last := []string{}, []string{}
	for _, p := range strings.Fields(string(out)) {
		if p == heavy {
			last = append(last, p)
		} else {
			light = append(light, p)
		}
	}
	var runs [][]string
	for _, run := range [][]string{light, last} {
		if len(run) > 0 {
			runs = append(runs, run)
		}
	}
	return runs
}

// test runs the tests of some packages, with more in the environment.
func test(ctx context.Context, t *totals, o options, packages []string, env ...string) {
	args := []string{"test", "-json", "-vet=off", "-timeout", o.timeout.String()}
	if o.race {
		args = append(args, "-race")
	}
	if o.run != "" {
		args = append(args, "-run", o.run)
	}
	cmd := command(ctx, "go", append(args, packages...)...)
	cmd.Stderr = os.Stderr
	cmd.Env = append(os.Environ(), env...)
	out, err := cmd.StdoutPipe()
	if err == nil {
		err = cmd.Start()
	}
	if err != nil {
		t.fail("go test", err.Error()+"\n")
		return
	}
	c := newCollector(t)
	failed := t.failed
	readErr := c.read(out)
	err = cmd.Wait()
	if readErr != nil {
		t.fail("go test", readErr.Error()+"\n")
	} else if err != nil && t.failed == failed {
		t.fail("go test", err.Error()+"\n") // it failed, and no event said why
	}
}

// command is ended with an interrupt, so that tests can clean up, and killed 15 seconds later.
func command(ctx context.Context, name string, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Cancel = func() error { return cmd.Process.Signal(os.Interrupt) }
	cmd.WaitDelay = 15 * time.Second
	return cmd
}
