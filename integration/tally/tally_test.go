package main

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

func collect(t *testing.T, ci bool, stream string) (*totals, string) {
	t.Helper()
	out, err := os.Create(filepath.Join(t.TempDir(), "out"))
	if err != nil {
		t.Fatal(err)
	}
	defer out.Close()
	n := newTotals(out, ci)
	if err := newCollector(n).read(strings.NewReader(stream)); err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(out.Name())
	if err != nil {
		t.Fatal(err)
	}
	return n, string(text)
}

func TestLeavesAreCounted(t *testing.T) {
	n, text := collect(t, false, `
{"Action":"run","Package":"p","Test":"TestA"}
{"Action":"run","Package":"p","Test":"TestA/x"}
{"Action":"pass","Package":"p","Test":"TestA/x"}
{"Action":"run","Package":"p","Test":"TestA/y"}
{"Action":"output","Package":"p","Test":"TestA/y","Output":"the reason\n"}
{"Action":"fail","Package":"p","Test":"TestA/y"}
{"Action":"fail","Package":"p","Test":"TestA"}
{"Action":"run","Package":"p","Test":"TestB"}
{"Action":"pass","Package":"p","Test":"TestB"}
{"Action":"run","Package":"p","Test":"TestC"}
{"Action":"output","Package":"p","Test":"TestC","Output":"    c_test.go:7: no disk\n"}
{"Action":"skip","Package":"p","Test":"TestC"}
{"Action":"fail","Package":"p"}
`)
	if n.passed != 2 || n.failed != 1 || !slices.Equal(n.skips, []string{"p.TestC (no disk)"}) {
		t.Errorf("passed %d, failed %d, skips %q", n.passed, n.failed, n.skips)
	}
	if !strings.Contains(text, "FAIL p.TestA/y\nthe reason\n") {
		t.Errorf("printed %q", text)
	}
}

func TestPackageThatDoesNotBuild(t *testing.T) {
	n, text := collect(t, false, `
{"ImportPath":"p [p.test]","Action":"build-output","Output":"p.go:1: syntax\n"}
{"ImportPath":"p [p.test]","Action":"build-fail"}
{"Action":"fail","Package":"p","FailedBuild":"p [p.test]"}
`)
	if n.failed != 1 || !strings.Contains(text, "p.go:1: syntax") {
		t.Errorf("failed %d, printed %q", n.failed, text)
	}
}

func TestPackageThatPanics(t *testing.T) {
	n, text := collect(t, false, `
{"Action":"run","Package":"p","Test":"TestA"}
{"Action":"output","Package":"p","Test":"TestA","Output":"half\n"}
{"Action":"output","Package":"p","Output":"panic: boom\n"}
{"Action":"fail","Package":"p"}
`)
	if n.failed != 1 || !strings.Contains(text, "panic: boom") || !strings.Contains(text, "half") {
		t.Errorf("failed %d, printed %q", n.failed, text)
	}
}

func TestSkipForFUSEFailsInCI(t *testing.T) {
	stream := `
{"Action":"output","Package":"p","Test":"TestM","Output":"    m_test.go:7: no /dev/fuse\n"}
{"Action":"skip","Package":"p","Test":"TestM"}
`
	if n, _ := collect(t, true, stream); n.failed != 1 || len(n.skips) != 0 {
		t.Errorf("in CI: failed %d, skips %q", n.failed, n.skips)
	}
	if n, _ := collect(t, false, stream); n.failed != 0 || len(n.skips) != 1 {
		t.Errorf("elsewhere: failed %d, skips %q", n.failed, n.skips)
	}
}

// Without libfuse the Windows front is not tested, which says how to mend it, and is a failure in CI.
func TestSkipForLibfuseFailsInCI(t *testing.T) {
	for _, ci := range []bool{false, true} {
		out, err := os.Create(filepath.Join(t.TempDir(), "out"))
		if err != nil {
			t.Fatal(err)
		}
		n := newTotals(out, ci)
		n.skip(windowsFront+" through libfuse", "needs libfuse 3 and a compiler: apt-get install libfuse3-dev gcc\n")
		if ci != (n.failed == 1) || ci == (len(n.skips) == 1) {
			t.Errorf("CI %v: %d failed, skips %q", ci, n.failed, n.skips)
		}
		if !ci && !strings.Contains(n.skips[0], "apt-get install libfuse3-dev") {
			t.Errorf("%q does not say how to mend it", n.skips[0])
		}
		out.Close()
	}
}

func TestLastLine(t *testing.T) {
	out, err := os.Create(filepath.Join(t.TempDir(), "out"))
	if err != nil {
		t.Fatal(err)
	}
	defer out.Close()
	n := newTotals(out, false)
	n.pass()
	n.fail("x", "")
	n.skip("y", "")
	if code := n.print(); code != 1 {
		t.Errorf("exit code %d", code)
	}
	text, _ := os.ReadFile(out.Name())
	if !strings.HasSuffix(string(text), "\n1 passed, 1 failed, 1 skipped\n") {
		t.Errorf("ends with %q", text)
	}
}

func TestFuzzTargetsAreFound(t *testing.T) {
	got := parseList([]byte(`{"Action":"output","Package":"p","Output":"FuzzA\n"}
{"Action":"output","Package":"p","Output":"ok  \tp\t0.1s\n"}
{"Action":"output","Package":"q","Output":"FuzzB\n"}
`))
	if want := []key{{"p", "FuzzA"}, {"q", "FuzzB"}}; !slices.Equal(got, want) {
		t.Errorf("got %v", got)
	}
}

func TestFuzzRunThatOnlyReachedItsEnd(t *testing.T) {
	const end = "FAIL\nexit status 1\nFAIL\tdfs/some/where\t5.656s\n"
	for name, c := range map[string]struct {
		out  string
		want bool
	}{
		"its deadline": {"fuzz: elapsed: 6s, execs: 221949\n--- FAIL: FuzzMounts (5.64s)\n    context deadline exceeded\n" + end, true},
		"a finding": {"--- FAIL: FuzzMounts (0.64s)\n    --- FAIL: FuzzMounts (0.00s)\n        mounts_test.go:7: wrong\n\n" +
			"    Failing input written to testdata/fuzz/FuzzMounts/1f\n" + end, false},
		"a finding whose text is the deadline": {"--- FAIL: FuzzMounts (0.64s)\n    context deadline exceeded\n\n" +
			"    Failing input written to testdata/fuzz/FuzzMounts/1f\n" + end, false},
		"a worker that hung":    {"--- FAIL: FuzzMounts (9.64s)\n    fuzzing process hung or terminated unexpectedly: exit status 2\n" + end, false},
		"does not build":        {"# dfs/some/where\nx.go:1:1: wrong\nFAIL\tdfs/some/where [build failed]\nFAIL\n", false},
		"nothing was said":      {"", false},
		"the tests' own limits": {"panic: test timed out after 10m0s\n" + end, false},
	} {
		if got := onlyTimeIsUp([]byte(c.out)); got != c.want {
			t.Errorf("%s: got %v", name, got)
		}
	}
}
