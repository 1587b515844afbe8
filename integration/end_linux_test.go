package integration

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"dfs/integration/harness"
)

// SIGTERM while files are being written: exit code 0 within ten seconds, unmounted, and what close had accepted is there.
func TestTermWhileBusy(t *testing.T) {
	c := harness.Start(t, 3, harness.Options{})
	busy, other := c.Peer(1), c.Peer(2)
	drive := device(t, busy.Mount)
	var mu sync.Mutex
	closed := map[string][]byte{}
	enough := make(chan struct{})
	var writer sync.WaitGroup
	writer.Go(func() {
		for i := 0; ; i++ {
			name, data := fmt.Sprintf("f%d", i), content(uint64(i), 1+i*997%50_000)
			if err := writeOn(drive, busy.Path(name), data); err != nil {
				return // unmounted
			}
			mu.Lock()
			closed[name] = data
			mu.Unlock()
			if i == 50 {
				close(enough)
			}
		}
	})
	<-enough
	code, took := busy.Terminate()
	writer.Wait()
	if code != 0 || took > 10*time.Second {
		t.Errorf("exit code %d after %v", code, took)
	}
	if left := harness.Mounts(busy.Mount); len(left) > 0 {
		t.Errorf("still mounted: %v", left)
	}
	lost := 0
	for name, want := range closed {
		if got, err := os.ReadFile(other.Path(name)); err != nil || !bytes.Equal(got, want) {
			if lost++; lost <= 5 {
				t.Errorf("%s: %d of %d bytes, %v", name, len(got), len(want), err)
			}
		}
	}
	if lost > 0 {
		t.Errorf("%d of %d files lost", lost, len(closed))
	}
	// The mount point is an ordinary directory again; the writer may have made one file in it.
	os.RemoveAll(busy.Mount)
	busy.Restart()
	c.WaitHealthy()
}

// device returns the number of the file system that path is on.
func device(t *testing.T, path string) uint64 {
	t.Helper()
	var st unix.Stat_t
	if err := unix.Stat(path, &st); err != nil {
		t.Fatal(err)
	}
	return st.Dev
}

// writeOn writes a new file and closes it, unless path does not lie on the device any more.
func writeOn(dev uint64, path string, data []byte) error {
	f, err := os.Create(path)
	if err != nil {
		return err
	}
	var st unix.Stat_t
	if err := unix.Fstat(int(f.Fd()), &st); err != nil || st.Dev != dev {
		f.Close()
		return fmt.Errorf("another device: %v", err)
	}
	if _, err := f.Write(data); err != nil {
		f.Close()
		return err
	}
	return f.Close()
}

// Also without a quorum a peer ends in time.
func TestTermWithoutAQuorum(t *testing.T) {
	c := harness.Start(t, 3, harness.Options{})
	c.Peer(2).Kill()
	c.Peer(3).Kill()
	if code, took := c.Peer(1).Terminate(); code != 0 || took > 10*time.Second {
		t.Errorf("exit code %d after %v", code, took)
	}
	if left := harness.Mounts(c.Peer(1).Mount); len(left) > 0 {
		t.Errorf("still mounted: %v", left)
	}
	c.RestartAll()
}

// A killed daemon leaves a dead mount, which does not go on answering what its kernel knew. The next start clears it away.
func TestStaleMountIsCleared(t *testing.T) {
	c := harness.Start(t, 1, harness.Options{})
	p := c.Peer(1)
	if err := os.WriteFile(p.Path("kept"), []byte("x"), 0o644); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(p.Path("kept")); err != nil {
		t.Fatal(err)
	}
	p.Kill()
	if left := harness.Mounts(p.Mount); len(left) != 1 {
		t.Fatalf("a killed daemon leaves %v", left)
	}
	began := time.Now()
	for err := error(nil); !errors.Is(err, syscall.ENOTCONN); _, err = os.Stat(p.Path("kept")) {
		if took := time.Since(began); took > 2*time.Second { // a lease and then some; a kernel keeps names for ten seconds
			t.Fatalf("%v after its daemon was killed the mount still says: %v", took, err)
		}
	}
	p.Restart()
	if left := harness.Mounts(p.Mount); len(left) != 1 {
		t.Errorf("mounted %v", left)
	}
	if got, err := os.ReadFile(p.Path("kept")); err != nil || string(got) != "x" {
		t.Errorf("%q, %v", got, err)
	}
}

// Only the daemon crashes: `up` starts it again, and the mount works again.
func TestCrashedDaemonComesBack(t *testing.T) {
	c := harness.Start(t, 3, harness.Options{})
	p := c.Peer(2)
	if err := os.WriteFile(p.Path("kept"), []byte("x"), 0o644); err != nil {
		t.Fatal(err)
	}
	first := p.Daemon()
	if err := syscall.Kill(first, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for p.Daemon() == first || p.Daemon() == 0 {
		select {
		case <-tick.C:
		case <-t.Context().Done():
			t.Fatal("no other daemon")
		}
	}
	p.WaitReady()
	if got, err := os.ReadFile(p.Path("kept")); err != nil || string(got) != "x" {
		t.Errorf("%q, %v", got, err)
	}
	c.WaitHealthy()
}

// Ctrl-C on `dfsd dev` leaves no process and no mount, whatever happened to its peers.
func TestDevLeavesNothing(t *testing.T) {
	harness.NeedFUSE(t)
	dir := filepath.Join(t.TempDir(), "run")
	dev := exec.Command(harness.Program("dfsd"), "dev", "--peers", "3", "--dir", dir)
	out := &lines{found: make(chan struct{}), want: "Ctrl-C"}
	dev.Stdout, dev.Stderr = out, out
	if err := dev.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- dev.Wait() }()
	t.Cleanup(func() {
		dev.Process.Kill()
		for _, pid := range harness.Processes(dir) {
			syscall.Kill(pid, syscall.SIGKILL)
		}
		for _, m := range harness.Mounts(dir) {
			unix.Unmount(m, unix.MNT_DETACH)
		}
		if t.Failed() {
			t.Log(out.String())
		}
	})
	select {
	case <-out.found:
	case err := <-ended:
		t.Fatalf("it ended: %v\n%s", err, out.String())
	}
	mnt := func(i int, elem ...string) string {
		return filepath.Join(append([]string{dir, fmt.Sprint(i), "mnt"}, elem...)...)
	}
	if err := os.WriteFile(mnt(1, "a"), []byte("x"), 0o644); err != nil {
		t.Fatal(err)
	}
	if got, err := os.ReadFile(mnt(3, "a")); err != nil || string(got) != "x" {
		t.Fatalf("%q, %v", got, err)
	}
	// Peer 2 is killed as a whole, and its dead mount stays.
	data := filepath.Join(dir, "2", "data")
	for _, pid := range harness.Processes(data) {
		syscall.Kill(pid, syscall.SIGKILL)
	}
	if err := os.WriteFile(mnt(3, "b"), []byte("y"), 0o644); err != nil {
		t.Errorf("with a peer away: %v", err)
	}
	dev.Process.Signal(syscall.SIGINT)
	if err := <-ended; err != nil {
		t.Errorf("dev: %v", err)
	}
	if left := harness.Processes(dir); len(left) > 0 {
		t.Errorf("processes left: %v", left)
	}
	if left := harness.Mounts(dir); len(left) > 0 {
		t.Errorf("mounts left: %v", left)
	}
}

// lines takes output and says when it holds what is wanted.
type lines struct {
	mu    sync.Mutex
	text  strings.Builder
	want  string
	found chan struct{}
	done  bool
}

func (l *lines) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.text.Write(p)
	if !l.done && strings.Contains(l.text.String(), l.want) {
		l.done = true
		close(l.found)
	}
	return len(p), nil
}

func (l *lines) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}
