package integration

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"dfs/integration/harness"
)

// What is promised when a peer falls silent, and how much more the short runs allow, which share their machine.
const (
	leaderStall = 5 * time.Second
	otherStall  = time.Second
)

func allowed(promise time.Duration) time.Duration {
	if harness.Soak() {
		return promise
	}
	return 2 * promise
}

// stalls is the longest that each kind of operation took.
type stalls struct {
	mu    sync.Mutex
	worst map[string]time.Duration
	ops   int
}

// of runs one operation and notes how long it took.
func (s *stalls) of(kind string, op func() error) error {
	began := time.Now()
	err := op()
	took := time.Since(began)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.ops++
	s.worst[kind] = max(s.worst[kind], took)
	if err != nil {
		return fmt.Errorf("%s after %v: %w", kind, took, err)
	}
	return nil
}

func (s *stalls) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	var b strings.Builder
	fmt.Fprintf(&b, "%d operations, the longest", s.ops)
	for _, kind := range slices.Sorted(maps.Keys(s.worst)) {
		fmt.Fprintf(&b, " %s %v", kind, s.worst[kind].Round(time.Millisecond))
	}
	return b.String()
}

// load is people at work in some mounts: they copy files in, read them, and change names, each looking at what the
// others have done.
type load struct {
	t    *testing.T
	pace time.Duration // between steps; 10 ms at least
	tag  string        // what the names of its files begin with

	mu    sync.Mutex
	files map[string]int // by name, seed and size of what was closed
	next  int
}

func newLoad(t *testing.T) *load { return &load{t: t, files: map[string]int{}} }

func (l *load) name(n int) string { return fmt.Sprintf("%sfile-%d", l.tag, n) }

// size of the file with a number: mostly small, some of several windows.
func sizeOf(n int) int {
	switch n % 16 {
	case 3:
		return 1 << 20
	case 11:
		return 5<<20 + 13
	}
	return 1 + n*7919%60_000
}

// start begins work in the mounts of peers and returns how to end it, which tells how long operations took.
func (l *load) start(peers ...*harness.Peer) (end func() *stalls) {
	ctx, cancel := context.WithCancel(l.t.Context())
	s := &stalls{worst: map[string]time.Duration{}}
	var work sync.WaitGroup
	run := func(step func(i int) error) {
		work.Go(func() {
			pace := time.NewTicker(max(l.pace, 10*time.Millisecond)) // it is patience that is measured, not speed
			defer pace.Stop()
			for i := 0; ctx.Err() == nil; i++ {
				if err := step(i); err != nil {
					l.t.Error(err)
					return
				}
				select {
				case <-pace.C:
				case <-ctx.Done():
				}
			}
		})
	}
	for k, p := range peers {
		other := peers[(k+1)%len(peers)]
		run(func(int) error { return l.copyIn(s, p) })
		run(func(i int) error { return l.readOne(s, p, i) })
		run(func(i int) error { return rename(s, p, other, fmt.Sprintf("%sdir-%d-%d", l.tag, k, i%5)) })
	}
	return func() *stalls {
		cancel()
		work.Wait()
		return s
	}
}

func (l *load) copyIn(s *stalls, p *harness.Peer) error {
	l.mu.Lock()
	n := l.next
	l.next++
	l.mu.Unlock()
	name, data := l.name(n), content(uint64(n), sizeOf(n))
	var f *os.File
	err := s.of("create", func() (err error) {
		f, err = os.OpenFile(p.Path(name), os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o644)
		return err
	})
	if err != nil {
		return err
	}
	defer f.Close()
	for rest := data; len(rest) > 0; {
		part := rest[:min(len(rest), 256<<10)]
		rest = rest[len(part):]
		if err := s.of("write", func() error { _, err := f.Write(part); return err }); err != nil {
			return err
		}
	}
	if n%4 == 0 {
		if err := s.of("fsync", f.Sync); err != nil {
			return err
		}
	}
	if err := s.of("close", f.Close); err != nil {
		return err
	}
	l.mu.Lock()
	l.files[name] = n
	l.mu.Unlock()
	return nil
}

// readOne reads some file that was closed, on whatever mount, and one of the latest in every second step.
func (l *load) readOne(s *stalls, p *harness.Peer, i int) error {
	l.mu.Lock()
	n := -1
	if len(l.files) > 0 {
		back := rand.IntN(l.next)
		if i%2 == 0 {
			back = rand.IntN(min(l.next, 8))
		}
		n = l.next - 1 - back
		if _, closed := l.files[l.name(n)]; !closed {
			n = -1
		}
	}
	l.mu.Unlock()
	if n < 0 {
		return nil
	}
	return l.check(s, p, n)
}

func (l *load) check(s *stalls, p *harness.Peer, n int) error {
	path := p.Path(l.name(n))
	var f *os.File
	if err := s.of("open", func() (err error) { f, err = os.Open(path); return err }); err != nil {
		return err
	}
	defer f.Close()
	want := content(uint64(n), sizeOf(n))
	got := make([]byte, len(want)+1)
	have := 0
	for have < len(want) {
		var k int
		err := s.of("read", func() (err error) { k, err = f.Read(got[have:min(len(got), have+256<<10)]); return err })
		if err != nil {
			return fmt.Errorf("%s at %d of %d: %w", path, have, len(want), err)
		}
		have += k
	}
	if !bytes.Equal(got[:have], want) {
		return fmt.Errorf("%s differs", path)
	}
	return nil
}

// rename makes, renames and removes a directory in one mount and looks at it from another.
func rename(s *stalls, p, other *harness.Peer, name string) error {
	to := name + "-moved"
	look := func(name string, there bool) error {
		return s.of("stat", func() error {
			if _, err := os.Lstat(other.Path(name)); there != (err == nil) || !there && !errors.Is(err, fs.ErrNotExist) {
				return fmt.Errorf("%s: there %v, but stat says %v", other.Path(name), there, err)
			}
			return nil
		})
	}
	for _, step := range []func() error{
		func() error { return s.of("mkdir", func() error { return os.Mkdir(p.Path(name), 0o755) }) },
		func() error { return look(name, true) },
		func() error { return s.of("rename", func() error { return os.Rename(p.Path(name), p.Path(to)) }) },
		func() error { return look(name, false) },
		func() error { return look(to, true) },
		func() error { return s.of("remove", func() error { return os.Remove(p.Path(to)) }) },
		func() error { return look(to, false) },
		func() error { return s.of("list", func() error { _, err := os.ReadDir(p.Path()); return err }) },
	} {
		if err := step(); err != nil {
			return err
		}
	}
	return nil
}

// same checks every file that was closed in the mounts of all peers.
func (l *load) same(peers []*harness.Peer) {
	l.t.Helper()
	want := harness.Tree{}
	for name := range l.files {
		want[name] = ""
	}
	for _, p := range peers {
		entries, err := os.ReadDir(p.Path())
		if err != nil {
			l.t.Fatal(err)
		}
		got := harness.Tree{}
		for _, e := range entries {
			if strings.HasPrefix(e.Name(), l.tag) {
				got[e.Name()] = ""
			}
		}
		harness.Same(l.t, p.Mount, got, want)
		s := &stalls{worst: map[string]time.Duration{}}
		for _, n := range l.files {
			if err := l.check(s, p, n); err != nil {
				l.t.Error(err)
			}
		}
	}
}

// others returns all peers but p.
func others(c *harness.Cluster, p *harness.Peer) []*harness.Peer {
	return slices.DeleteFunc(slices.Clone(c.Peers()), func(q *harness.Peer) bool { return q == p })
}

// after lets time pass during which the test only watches.
func after(d time.Duration) { <-time.After(d) }

// The leader is killed, then frozen, then another peer, while people work in the other mounts. Nobody there sees an error or
// waits longer than is promised. Whoever was away finds back by itself, with everything that happened meanwhile; and a
// frozen one's mount gives no answer that is older than what others were told, neither while it is frozen (its kernel
// still has names) nor after it wakes.
func TestNobodyWaitsLongForAPeerThatFallsSilent(t *testing.T) {
	c := harness.Start(t, 3, harness.Options{})
	away := 5 * time.Second // beyond leases and elections
	if harness.Soak() {
		away = time.Minute
	}
	l := newLoad(t)
	phase := func(what string, victim *harness.Peer, promise time.Duration, fall, rise func(*harness.Peer)) {
		t.Helper()
		rest := others(c, victim)
		var m *memory
		if what != killed {
			m = newMemory(t, victim, rest[0], promise)
		}
		end := l.start(rest...)
		after(time.Second)
		if m != nil {
			m.learn()
		}
		fall(victim)
		if m != nil {
			m.change()
		}
		after(away)
		s := end()
		t.Logf("%s: %v", what, s)
		for kind, d := range s.worst {
			if d > allowed(promise) {
				t.Errorf("%s: one %s took %v", what, kind, d)
			}
		}
		rise(victim)
		if m != nil {
			m.end()
		}
		victim.WaitReady()
		c.WaitHealthy()
		l.same(c.Peers())
		if t.Failed() {
			t.FailNow()
		}
	}
	leader := func() *harness.Peer { return c.Leader(t, c.Peer(1)) }
	phase(killed, leader(), leaderStall, (*harness.Peer).Kill, (*harness.Peer).Restart)
	phase("the leader was frozen", leader(), leaderStall, (*harness.Peer).Freeze, (*harness.Peer).Thaw)
	phase("another was frozen", others(c, leader())[0], otherStall, (*harness.Peer).Freeze, (*harness.Peer).Thaw)
	if harness.Soak() {
		phase("only the leader's daemon was frozen", leader(), leaderStall, (*harness.Peer).FreezeDaemon, (*harness.Peer).Thaw)
		phase("only another's daemon was frozen", others(c, leader())[1], otherStall, (*harness.Peer).FreezeDaemon, (*harness.Peer).Thaw)
		phase("another was killed", others(c, leader())[0], otherStall, (*harness.Peer).Kill, (*harness.Peer).Restart)
	}
}

const killed = "the leader was killed"

// The same for kernels whose names cannot be expired at once, with nothing else going on.
func TestAFrozenMountAnswersNothingStale(t *testing.T) {
	test := func(t *testing.T, o harness.Options, rounds int) {
		c := harness.Start(t, 3, o)
		for round := range rounds {
			p := c.Peer(round%3 + 1)
			m := newMemory(t, p, others(c, p)[0], leaderStall)
			m.learn()
			p.FreezeDaemon()
			m.change()
			after(time.Second)
			p.Thaw()
			m.end()
			p.WaitReady()
			c.WaitHealthy()
		}
	}
	t.Run("old kernel", func(t *testing.T) { test(t, harness.Options{Env: oldKernel}, 1) })
	if harness.Soak() {
		t.Run("this kernel, often", func(t *testing.T) { test(t, harness.Options{}, 30) })
		t.Run("old kernel, often", func(t *testing.T) { test(t, harness.Options{Env: oldKernel}, 30) })
	}
}

// memory is what the kernel of a peer about to be frozen knows of some files, and what becomes of them.
type memory struct {
	t       *testing.T
	frozen  *harness.Peer
	writer  *harness.Peer
	promise time.Duration // how long others may wait for it
	dir     string
	stop    chan struct{}
	look    sync.WaitGroup
	held    *os.File // a new file in the mount to be frozen: nobody else's yet

	mu    sync.Mutex
	truth map[string]string // what each file was last said to be: its content, or gone
}

const (
	memories = 40
	gone     = "gone"
)

func newMemory(t *testing.T, frozen, writer *harness.Peer, promise time.Duration) *memory {
	t.Helper()
	m := &memory{t: t, frozen: frozen, writer: writer, promise: promise, stop: make(chan struct{}), truth: map[string]string{}}
	m.dir = fmt.Sprintf("memory-%d", time.Now().UnixNano())
	if err := os.Mkdir(writer.Path(m.dir), 0o755); err != nil {
		t.Fatal(err)
	}
	for i := range memories {
		m.tell(m.name(i), gone)
		if i%4 != 3 {
			m.put(m.name(i), "old")
			m.tell(m.name(i), "old")
		}
	}
	return m
}

func (m *memory) name(i int) string { return filepath.Join(m.dir, fmt.Sprintf("f%d", i)) }

func (m *memory) put(name, text string) {
	if err := os.WriteFile(m.writer.Path(name), []byte(text), 0o644); err != nil {
		m.t.Fatal(err)
	}
}

func (m *memory) tell(name, text string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.truth[name] = text
}

func (m *memory) told(name string) string {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.truth[name]
}

// learn lets the kernel learn the files, absent ones too, and then keeps asking it, from now on until the end: an answer
// to a question that began after something was told must show it.
func (m *memory) learn() {
	for range 2 {
		for i := range memories {
			if _, err := os.Stat(m.frozen.Path(m.name(i))); (err == nil) != (i%4 != 3) {
				m.t.Errorf("%s: %v", m.name(i), err)
			}
		}
	}
	var err error
	if m.held, err = os.Create(m.frozen.Path(m.dir, "held")); err != nil {
		m.t.Fatal(err)
	}
	if _, err := m.held.WriteString("held"); err != nil {
		m.t.Fatal(err)
	}
	for i := range memories {
		m.look.Go(func() { m.keepAsking(m.name(i)) })
	}
}

func (m *memory) keepAsking(name string) {
	pace := time.NewTicker(20 * time.Millisecond)
	defer pace.Stop()
	for {
		select {
		case <-m.stop:
			return
		case <-pace.C:
		}
		before := m.told(name)
		info, err := os.Stat(m.frozen.Path(name))
		if m.told(name) != before {
			continue // it changed meanwhile: either answer is right
		}
		switch {
		case err != nil && !errors.Is(err, fs.ErrNotExist):
			m.t.Errorf("stat of %s: %v", name, err)
		case (err != nil) != (before == gone):
			m.t.Errorf("%s was %q before the stat, which says %v", name, before, err)
		case err == nil && info.Size() != int64(len(before)):
			m.t.Errorf("%s was %q before the stat, which says %d bytes", name, before, info.Size())
		}
	}
}

// change changes every file from another mount, after it has looked at one that is the frozen mount's alone.
func (m *memory) change() {
	began := time.Now()
	_, err := os.Stat(m.writer.Path(m.dir, "held"))
	if took := time.Since(began); err != nil || took > allowed(m.promise) {
		m.t.Errorf("a stat of what the frozen mount had to itself took %v: %v", took, err)
	} else {
		m.t.Logf("a stat of what the frozen mount had to itself took %v", took.Round(time.Millisecond))
	}
	for i := range memories {
		name, text := m.name(i), "newer"
		switch i % 4 {
		case 0, 3: // rewritten, or made
			m.put(name, text)
		case 1: // removed
			text = gone
			if err := os.Remove(m.writer.Path(name)); err != nil {
				m.t.Fatal(err)
			}
		case 2: // replaced by another file
			m.put(name+".tmp", text)
			if err := os.Rename(m.writer.Path(name+".tmp"), m.writer.Path(name)); err != nil {
				m.t.Fatal(err)
			}
		}
		m.tell(name, text)
	}
}

// end reads everything in the mount that has just woken, and removes it.
func (m *memory) end() {
	m.t.Helper()
	for i := range memories {
		name := m.name(i)
		got, err := os.ReadFile(m.frozen.Path(name))
		if want := m.told(name); (want == gone) != errors.Is(err, fs.ErrNotExist) || err == nil && string(got) != want {
			m.t.Errorf("after waking %s reads %q, %v instead of %q", name, got, err, want)
		}
	}
	if err := m.held.Close(); err != nil {
		m.t.Error(err)
	}
	if got, err := os.ReadFile(m.writer.Path(m.dir, "held")); err != nil || string(got) != "held" {
		m.t.Errorf("what was written before the freeze reads %q, %v", got, err)
	}
	entries, err := os.ReadDir(m.frozen.Path(m.dir))
	if want := memories - memories/4 + 1; err != nil || len(entries) != want {
		m.t.Errorf("after waking %d names are listed instead of %d: %v", len(entries), want, err)
	}
	close(m.stop)
	m.look.Wait()
	if err := os.RemoveAll(m.frozen.Path(m.dir)); err != nil {
		m.t.Error(err)
	}
}
