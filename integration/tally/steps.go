package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"runtime"
	"strings"
)

// step is one static check. It passes when the command succeeds and, if silent, prints nothing.
type step struct {
	name   string
	env    []string
	silent bool
	wants  func() string // what is missing for it; nil needs nothing
	args   []string
}

var steps = []step{
	{name: "gofmt", silent: true, args: []string{"gofmt", "-l", "."}},
	{name: "vet linux", args: []string{"go", "vet", "./..."}},
	{name: "vet windows", env: []string{"GOOS=windows", "CGO_ENABLED=0"}, args: []string{"go", "vet", "./..."}},
	{name: "vet libfuse", env: libfuseEnv, wants: wantLibfuse, args: []string{"go", "vet", "-tags", libfuseTag, windowsFront}},
	{name: "staticcheck", args: []string{"go", "tool", "staticcheck", "./..."}},
	{name: "staticcheck libfuse", env: libfuseEnv, wants: wantLibfuse, args: []string{"go", "tool", "staticcheck", "-tags", libfuseTag, windowsFront}},
}

func check(ctx context.Context, t *totals, _ options) {
	for _, s := range steps {
		if s.wants != nil {
			if missing := s.wants(); missing != "" {
				t.skip(s.name, missing)
				continue
			}
		}
		cmd := command(ctx, s.args[0], s.args[1:]...)
		cmd.Env = append(os.Environ(), s.env...)
		out, err := cmd.CombinedOutput()
		if err != nil || s.silent && len(bytes.TrimSpace(out)) > 0 {
			t.fail(s.name, fmt.Sprintf("%s%v\n", out, errText(err)))
			continue
		}
		fmt.Fprintf(t.out, "ok   %s\n", s.name)
		t.pass()
	}
}

func errText(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}

// fuzz runs every fuzz target for o.fuzz, on one processor each: as many at once as there are.
func fuzz(ctx context.Context, t *totals, o options) {
	targets, err := fuzzTargets(ctx, o.packages)
	if err != nil {
		t.fail("fuzz targets", err.Error()+"\n")
		return
	}
	results := make([]chan error, len(targets))
	outs := make([][]byte, len(targets))
	slots := make(chan struct{}, runtime.NumCPU())
	for i, k := range targets {
		results[i] = make(chan error, 1)
		go func() {
			slots <- struct{}{}
			defer func() { <-slots }()
			cmd := command(ctx, "go", "test", "-vet=off", "-run", "^$", "-fuzz", "^"+k.test+"$",
				"-fuzztime", o.fuzz.String(), "-parallel", "1", "-timeout", "10m", k.pkg)
			var err error
			outs[i], err = cmd.CombinedOutput()
			results[i] <- err
		}()
	}
	for i, k := range targets {
		if err := <-results[i]; err != nil && !onlyTimeIsUp(outs[i]) {
			t.fail("fuzz "+k.String(), string(outs[i]))
			continue
		}
		fmt.Fprintf(t.out, "ok   fuzz %s %s\n", k, o.fuzz)
		t.pass()
	}
}

// onlyTimeIsUp says that a failed fuzz run found nothing and merely reached the end of its time: the coordinator of Go's
// fuzzing compares its context's error with that of a child that may not have been cancelled yet, and then reports
// its own deadline as the failure (golang/go#75804). A finding names the input that was written, a panic or an error of
// the target; this has that one line and nothing else.
func onlyTimeIsUp(out []byte) bool {
	_, verdict, failed := bytes.Cut(out, []byte("--- FAIL: Fuzz"))
	lines := strings.Split(strings.TrimSpace(string(verdict)), "\n")
	return failed && len(lines) == 5 && strings.TrimSpace(lines[1]) == context.DeadlineExceeded.Error() &&
		lines[2] == "FAIL" && strings.HasPrefix(lines[3], "exit status 1") && strings.HasPrefix(lines[4], "FAIL\t")
}

// fuzzTargets finds them all; packages that do not build have none here and fail as tests.
func fuzzTargets(ctx context.Context, packages []string) ([]key, error) {
	args := append([]string{"test", "-json", "-vet=off", "-run", "^$", "-list", "^Fuzz"}, packages...)
	out, err := command(ctx, "go", args...).Output()
	targets := parseList(out)
	if len(targets) == 0 && err != nil {
		return nil, fmt.Errorf("go test -list: %w", err)
	}
	return targets, nil
}

func parseList(out []byte) []key {
	var targets []key
	lines := bufio.NewScanner(bytes.NewReader(out))
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		var e event
		if json.Unmarshal(lines.Bytes(), &e) != nil || e.Action != "output" {
			continue
		}
		if name := strings.TrimSpace(e.Output); strings.HasPrefix(name, "Fuzz") && !strings.ContainsAny(name, " \t") {
			targets = append(targets, key{e.Package, name})
		}
	}
	return targets
}
