package main

import (
	"context"
	"os"
	"os/exec"
	"slices"
)

// The front for Windows is tested on Linux in a build of its own: with cgo, through libfuse 3.
const (
	windowsFront = "dfs/fs/mount/winfsp"
	libfuseTag   = "fuse3"
	libfuseTests = "^TestLibfuse"
)

var libfuseEnv = []string{"CGO_ENABLED=1"}

// wantLibfuse says what is missing for that build; "" nothing. cgofuse looks for the header exactly there.
func wantLibfuse() string {
	_, noCompiler := exec.LookPath("gcc")
	_, noHeader := os.Stat("/usr/include/fuse3/fuse.h")
	if noCompiler != nil || noHeader != nil {
		return "needs libfuse 3 and a compiler: apt-get install libfuse3-dev gcc\n"
	}
	return ""
}

// testLibfuse runs the tests of that build, if the package is among those to be tested and nothing else was asked for by name.
func testLibfuse(ctx context.Context, t *totals, o options, packages []string) {
	if o.run != "" || !slices.Contains(packages, windowsFront) {
		return
	}
	if missing := wantLibfuse(); missing != "" {
		t.skip(windowsFront+" through libfuse", missing)
		return
	}
	o.run = libfuseTests
	test(ctx, t, o, []string{"-tags", libfuseTag, windowsFront}, libfuseEnv...)
}
