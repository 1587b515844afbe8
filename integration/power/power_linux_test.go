package power

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"testing"
	"time"

	"dfs/integration/harness"
)

// The environment that makes this program the one whose power is cut.
const (
	workDir  = "DFS_POWER_DIR"
	workAs   = "DFS_POWER_ROUND"
	readOnly = "DFS_POWER_READ"
)

func TestMain(m *testing.M) {
	dir := os.Getenv(workDir)
	if dir == "" {
		os.Exit(m.Run())
	}
	round, err := strconv.ParseUint(os.Getenv(workAs), 10, 64)
	if err == nil {
		err = work(dir, round, os.Getenv(readOnly) != "")
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "FAILED:", err)
		os.Exit(1)
	}
	os.Exit(0)
}

const (
	shortCuts = 25 // on each file system
	longCuts  = 500
	patience  = 2 * time.Minute // for one process to begin
)

func cuts() int {
	if harness.Soak() {
		return longCuts
	}
	return shortCuts
}

func TestPowerCutsOnExt4(t *testing.T) { t.Parallel(); powerCuts(t, "ext4") }
func TestPowerCutsOnXFS(t *testing.T)  { t.Parallel(); powerCuts(t, "xfs") }

func powerCuts(t *testing.T, fs string) {
	d := harness.NewLoopDisk(t, fs, 2<<30)
	seed := uint64(time.Now().UnixNano())
	if s, err := strconv.ParseUint(os.Getenv("DFS_POWER_SEED"), 10, 64); err == nil {
		seed = s
	}
	t.Logf("DFS_POWER_SEED=%d", seed)
	rng := rand.New(rand.NewPCG(seed, 1))
	a := newAccount()
	for round := range cuts() {
		p := start(t, d.Dir, uint64(round+1)+seed<<16&0x7fff0000, false)
		if !p.listen(t, a, nil) {
			t.Fatalf("round %d: what the cut left cannot be opened:\n%s", round, &p.stderr)
		}
		left := 1 + rng.IntN(1+rng.IntN(1200)) // lines until the power fails
		p.listen(t, a, func() bool { left--; return left <= 0 })
		d.Cut(t)
		p.kill()
		p.listen(t, a, nil)
		d.Replug(t)
	}
	p := start(t, d.Dir, 1<<31, true)
	if !p.listen(t, a, nil) {
		t.Fatalf("at the end:\n%s", &p.stderr)
	}
	p.kill()
	d.Unplug(t)
	t.Logf("%d cuts, %d promises, %d volatile blocks lost and said so", cuts(), a.promises, a.volatile)
	if a.promises < 20*cuts() {
		t.Errorf("only %d promises: the load is too small to prove anything", a.promises)
	}
}

// process is one life of the storage.
type process struct {
	cmd    *exec.Cmd
	lines  chan string
	stderr bytes.Buffer
	ended  chan struct{}
}

func start(t *testing.T, dir string, round uint64, read bool) *process {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	t.Cleanup(cancel)
	p := &process{cmd: exec.CommandContext(ctx, os.Args[0]), lines: make(chan string, 1024), ended: make(chan struct{})}
	p.cmd.Env = append(os.Environ(), workDir+"="+filepath.Join(dir, "peer"), workAs+"="+strconv.FormatUint(round, 10), "GOTRACEBACK=single")
	if read {
		p.cmd.Env = append(p.cmd.Env, readOnly+"=1")
	}
	p.cmd.Stderr = &p.stderr
	out, err := p.cmd.StdoutPipe()
	if err == nil {
		err = p.cmd.Start()
	}
	if err != nil {
		t.Fatal(err)
	}
	go func() { // ends with the process's output
		defer close(p.ended)
		defer close(p.lines)
		for s := bufio.NewScanner(out); s.Scan(); {
			p.lines <- s.Text()
		}
	}()
	return p
}

// kill ends the process as a power cut does; what it has said can still be heard.
func (p *process) kill() { p.cmd.Process.Kill() }

// listen takes what the process says into the account: until it is ready to work, until enough is true, or to its end.
// It reports whether it became ready.
func (p *process) listen(t *testing.T, a *account, enough func() bool) bool {
	t.Helper()
	if enough == nil && p.cmd.ProcessState == nil && a.listening != p {
		a.listening = p
		a.begin()
	}
	for line := range p.lines {
		ready, err := a.hear(line)
		if err != nil {
			t.Fatalf("%v\n%s", err, &p.stderr)
		}
		if ready || enough != nil && enough() {
			return ready
		}
	}
	<-p.ended
	p.cmd.Wait()
	return false
}
