package integration

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"dfs/cluster/admin"
	"dfs/integration/harness"
)

// split is a cluster on an ethernet of its own, with what was written into it and acknowledged.
type split struct {
	*harness.Cluster
	t     *testing.T
	files map[string][]byte
}

func newSplit(t *testing.T, n int, args ...string) *split {
	c := harness.Start(t, n, harness.Options{Net: true, Args: args})
	return &split{Cluster: c, t: t, files: map[string][]byte{}}
}

// leader returns the number of the peer that leads.
func (s *split) leader() int {
	s.t.Helper()
	end := time.Now().Add(20 * time.Second)
	for time.Now().Before(end) {
		for i, p := range s.Peers() {
			if st := p.Status(); st.Cluster.Leader == st.Self.ID {
				return i + 1
			}
		}
	}
	s.t.Fatal("nobody leads")
	return 0
}

// others returns the numbers of all peers but i.
func (s *split) others(i int) (out []int) {
	for k := range s.Peers() {
		if k+1 != i {
			out = append(out, k+1)
		}
	}
	return out
}

// write writes a file through peer i and notes it if that was acknowledged.
func (s *split) write(i int, name string, data []byte) (took time.Duration, err error) {
	began := time.Now()
	err = os.WriteFile(s.Peer(i).Path(name), data, 0o644)
	if err == nil {
		s.files[name] = data
	} else {
		delete(s.files, name) // it may be there or not
	}
	return time.Since(began), err
}

// mustWrite is write that has to succeed within a time; it is given twice that, since the machine may be busy.
func (s *split) mustWrite(i int, name string, within time.Duration) {
	s.t.Helper()
	data := content(uint64(len(s.files)+i), 10_000+len(s.files)*77)
	if took, err := s.write(i, name, data); err != nil || took > 2*within {
		s.t.Errorf("write on mount %d: %v after %v, promised within %v", i, err, took, within)
	}
}

// healed mends the net, and checks that all is well then without a hand: healthy, the same everywhere, nothing lost.
func (s *split) healed() {
	s.t.Helper()
	s.Heal()
	s.WaitHealthy()
	for i, p := range s.Peers() {
		s.mustWrite(i+1, fmt.Sprintf("after-%d", i+1), 5*time.Second)
		for name, want := range s.files {
			if got, err := os.ReadFile(p.Path(name)); err != nil || !bytes.Equal(got, want) {
				s.t.Errorf("after healing mount %d reads %d of %d bytes of %s, %v", i+1, len(got), len(want), name, err)
			}
		}
	}
	first := harness.ReadTree(s.t, s.Peer(1).Mount)
	for _, p := range s.Peers()[1:] {
		harness.Same(s.t, p.Mount, harness.ReadTree(s.t, p.Mount), first)
	}
}

// A minority waits and then fails, whoever it is; the others go on. What counts as a minority is who cannot be heard or
// cannot hear, one way is enough.
func TestAMinorityFails(t *testing.T) {
	const after = 3 * time.Second
	s := newSplit(t, 3, "--cut-off-after", after.String())
	follower := func() int { return s.others(s.leader())[0] }
	oneWay := func(from, to []int) {
		for _, a := range from {
			for _, b := range to {
				s.CutOneWay(a, b)
			}
		}
	}
	for n, c := range []struct {
		name string
		who  func() int
		cut  func(i int)
	}{
		{"a follower", follower, func(i int) { s.Isolate(i) }},
		{"the leader", s.leader, func(i int) { s.Isolate(i) }},
		{"the leader is not heard", s.leader, func(i int) { oneWay([]int{i}, s.others(i)) }},
		{"the leader hears nobody", s.leader, func(i int) { oneWay(s.others(i), []int{i}) }},
		{"a follower is not heard", follower, func(i int) { oneWay([]int{i}, s.others(i)) }},
		{"a follower hears nobody", follower, func(i int) { oneWay(s.others(i), []int{i}) }},
	} {
		if n >= 4 && !harness.Soak() {
			break
		}
		i := c.who()
		t.Logf("%s: peer %d", c.name, i)
		s.mustWrite(i, fmt.Sprintf("before-%d", n), 5*time.Second)
		c.cut(i)
		failed := make(chan struct{})
		go func() {
			defer close(failed)
			began := time.Now()
			err := os.WriteFile(s.Peer(i).Path(fmt.Sprintf("alone-%d", n)), []byte("x"), 0o644)
			if took := time.Since(began); !errors.Is(err, syscall.EIO) || took < after/2 || took > 2*(after+3*time.Second) {
				t.Errorf("%s: a write of the minority says %v after %v", c.name, err, took)
			}
			if _, err := os.ReadFile(s.Peer(i).Path(fmt.Sprintf("before-%d", n))); !errors.Is(err, syscall.EIO) {
				t.Errorf("%s: a read of the minority says %v", c.name, err)
			}
		}()
		for _, k := range s.others(i) {
			s.mustWrite(k, fmt.Sprintf("meanwhile-%d-%d", n, k), 5*time.Second)
		}
		<-failed
		if st := s.Peer(i).Status(); st.Cluster.Health != admin.Unavailable || !strings.Contains(st.Self.Reason, "2 of the 3 voters are needed; operations fail") {
			t.Errorf("%s: status %q, %q", c.name, st.Cluster.Health, st.Self.Reason)
		}
		s.healed()
	}
}

// With `wait` operations of a minority wait for as long as it takes, unless whoever waits is interrupted.
func TestAMinorityWaits(t *testing.T) {
	s := newSplit(t, 3, "--when-cut-off", "wait", "--cut-off-after", "1s")
	src := filepath.Join(t.TempDir(), "src")
	data := content(7, 3<<20)
	if err := os.WriteFile(src, data, 0o644); err != nil {
		t.Fatal(err)
	}
	for _, dir := range []string{"a", "b"} { // in one directory the kernel would have one wait for the other, deaf
		if err := os.Mkdir(s.Peer(1).Path(dir), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	cp := func(name string) (*exec.Cmd, chan error) {
		cmd := exec.Command("cp", src, s.Peer(3).Path(name))
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		ended := make(chan error, 1)
		go func() { ended <- cmd.Wait() }()
		return cmd, ended
	}
	s.Isolate(3)
	_, patient := cp("a/patient")
	killed, interrupted := cp("b/interrupted")
	settle := time.After(5 * time.Second)
	select {
	case err := <-patient:
		t.Fatalf("a copy did not wait: %v", err)
	case err := <-interrupted:
		t.Fatalf("a copy did not wait: %v", err)
	case <-settle:
	}
	if st := s.Peer(3).Status(); !strings.HasSuffix(st.Self.Reason, "operations wait") {
		t.Errorf("status says %q", st.Self.Reason)
	}
	killed.Process.Signal(syscall.SIGINT)
	select {
	case <-interrupted:
		if st := killed.ProcessState.Sys().(syscall.WaitStatus); !st.Signaled() {
			t.Errorf("the interrupted copy: %v", killed.ProcessState)
		}
	case <-time.After(5 * time.Second):
		t.Error("a copy that waits takes no notice of Ctrl-C")
	}
	s.mustWrite(1, "meanwhile", 5*time.Second)
	s.Heal()
	if err := <-patient; err != nil {
		t.Errorf("the patient copy: %v", err)
	}
	s.files["a/patient"] = data
	s.healed()
}

// With `read` a minority shows the last state it knew, marked as read-only, and keeps none of it when it is back.
func TestAMinorityReads(t *testing.T) {
	s := newSplit(t, 3, "--when-cut-off", "read", "--cut-off-after", "1s")
	alone := s.Peer(3)
	if err := os.Mkdir(s.Peer(1).Path("dir"), 0o755); err != nil {
		t.Fatal(err)
	}
	old, new := content(1, 300_000), content(2, 200_000)
	if out, code := s.Peer(1).Ctl("layout", "set", s.Peer(1).Path("dir"), "policy=local-first"); code != 0 { // one replica is with the writer
		t.Fatal(out)
	}
	if _, err := s.write(3, "dir/f", old); err != nil {
		t.Fatal(err)
	}
	s.mustWrite(3, "dir/gone", 5*time.Second)
	writer, err := os.OpenFile(alone.Path("dir/f"), os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	reader, err := os.Open(alone.Path("dir/f"))
	if err != nil {
		t.Fatal(err)
	}
	defer reader.Close()
	s.Isolate(3)
	readOnly := func() bool {
		var st unix.Statfs_t
		if err := unix.Statfs(alone.Mount, &st); err != nil {
			t.Fatal(err)
		}
		return st.Flags&unix.ST_RDONLY != 0
	}
	refused := func(what string, err error) {
		t.Helper()
		if !errors.Is(err, syscall.EROFS) {
			t.Errorf("%s: %v", what, err)
		}
	}
	began := time.Now()
	_, err = s.write(3, "dir/new", old)
	refused("create", err)
	if took := time.Since(began); took > 8*time.Second {
		t.Errorf("create was refused after %v", took)
	}
	_, err = writer.Write([]byte("x"))
	refused("write to an open file", err)
	writer.Close() // it was the reason why the mount is not marked yet
	refused("remove", os.Remove(alone.Path("dir/gone")))
	refused("chmod", os.Chmod(alone.Path("dir/f"), 0o600))
	refused("rename", os.Rename(alone.Path("dir/f"), alone.Path("dir/g")))
	await(t, "marked as read-only", readOnly)
	refused("mkdir", os.Mkdir(alone.Path("dir/d"), 0o755))

	// Others go on; nothing of it is seen here.
	if _, err := s.write(1, "dir/f", new); err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(s.Peer(2).Path("dir/gone")); err != nil {
		t.Fatal(err)
	}
	delete(s.files, "dir/gone")
	for range 2 {
		if got, err := os.ReadFile(alone.Path("dir/f")); err != nil || !bytes.Equal(got, old) {
			t.Errorf("cut off, it reads %d bytes, %v", len(got), err)
		}
		if list, err := os.ReadDir(alone.Path("dir")); err != nil || len(list) != 2 {
			t.Errorf("cut off, it lists %v, %v", list, err)
		}
	}
	st := alone.Status()
	if st.Cluster.Health != admin.Unavailable || st.Self.Ready || !strings.Contains(st.Self.Reason, "the drive is read-only and shows what this peer last knew, at ") {
		t.Errorf("status %q, ready %v, %q", st.Cluster.Health, st.Self.Ready, st.Self.Reason)
	}

	// Back with the others it shows nothing old.
	s.Heal()
	alone.WaitReady()
	if got, err := os.ReadFile(alone.Path("dir/f")); err != nil || !bytes.Equal(got, new) {
		t.Errorf("back again, it reads %d bytes, %v", len(got), err)
	}
	again := make([]byte, len(old))
	if n, _ := reader.ReadAt(again, 0); !bytes.Equal(again[:n], new) {
		t.Errorf("back again, what was open reads %d bytes that are old", n)
	}
	if list, err := os.ReadDir(alone.Path("dir")); err != nil || len(list) != 1 {
		t.Errorf("back again, it lists %v, %v", list, err)
	}
	if readOnly() {
		t.Error("back again, it is marked as read-only still")
	}
	s.healed()
}

// await waits until something is so.
func await(t *testing.T, what string, is func() bool) {
	t.Helper()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	end := time.After(20 * time.Second)
	for !is() {
		select {
		case <-tick.C:
		case <-end:
			t.Errorf("never %s", what)
			return
		}
	}
}

// Two peers: one votes, the other learns. The voter goes on alone; the learner says what it cannot do, and why.
func TestTwoPeers(t *testing.T) {
	s := newSplit(t, 2, "--cut-off-after", "2s")
	s.Isolate(2)
	s.mustWrite(1, "alone", 5*time.Second)
	if st := s.Peer(1).Status(); st.Cluster.Health != admin.Degraded || !st.Self.Ready {
		t.Errorf("the voter alone: %q (%s)", st.Cluster.Health, st.Cluster.Reason)
	}
	if _, err := s.write(2, "cut", []byte("x")); !errors.Is(err, syscall.EIO) {
		t.Errorf("the learner alone: %v", err)
	}
	s.healed()

	s.Peer(1).Kill()
	if _, err := s.write(2, "orphaned", []byte("x")); !errors.Is(err, syscall.EIO) {
		t.Errorf("the learner without the voter: %v", err)
	}
	const words = "peer-1 has the only vote and does not answer: until it is back this peer can neither change nor show anything; " +
		"a third peer would remove this limit; operations fail"
	out, code := s.Peer(2).Ctl("status")
	if code != 6 || !strings.Contains(out, " is unavailable: "+words+"\n") {
		t.Errorf("status says with exit code %d:\n%s", code, out)
	}
	doctor, _ := exec.Command(harness.Program("dfsd"), "doctor", "--data", s.Peer(2).Data).CombinedOutput()
	if !strings.Contains(string(doctor), words) {
		t.Errorf("doctor says\n%s", doctor)
	}
	log, err := os.ReadFile(s.Peer(2).Log)
	if err != nil || !strings.Contains(string(log), "peer-1 has the only vote and does not answer") {
		t.Errorf("the log does not say why, %v", err)
	}
	s.Peer(1).Restart()
	s.healed()
	s.Peer(2).Kill()
	s.mustWrite(1, "without the learner", 5*time.Second)
	s.Peer(2).Restart()
	s.healed()
}
