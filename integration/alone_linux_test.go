package integration

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"dfs/integration/harness"
)

// worker changes a directory of the drive step by step, and a local one likewise, which says how the drive's must look.
type worker struct {
	r           *rand.Rand
	drive, here string
	names       []string // of files, relative
	dirs        []string
	made        int
	newest      string // name that the last step makes, if it makes one
}

func newWorker(t *testing.T, seed uint64, drive string) *worker {
	w := &worker{r: rand.New(rand.NewPCG(seed, 33)), drive: drive, here: t.TempDir(), dirs: []string{"."}}
	if err := os.Mkdir(drive, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(w.here, 0o755); err != nil {
		t.Fatal(err)
	}
	return w
}

// step returns the next change, to be made in any one directory.
func (w *worker) step() func(dir string) error {
	w.made++
	fresh := filepath.Join(w.dirs[w.r.IntN(len(w.dirs))], fmt.Sprintf("n%d", w.made))
	data := make([]byte, w.r.IntN(20_000))
	for i := range data {
		data[i] = byte(w.r.Uint32())
	}
	w.newest = fresh
	kind := w.r.IntN(10)
	if len(w.names) == 0 {
		kind = 0
	}
	at := w.r.IntN(max(len(w.names), 1))
	name := ""
	if len(w.names) > 0 {
		name = w.names[at]
	}
	switch kind {
	default:
		w.names = append(w.names, fresh)
		return func(dir string) error { return os.WriteFile(filepath.Join(dir, fresh), data, 0o644) }
	case 4:
		w.dirs = append(w.dirs, fresh)
		return func(dir string) error { return os.Mkdir(filepath.Join(dir, fresh), 0o755) }
	case 5:
		return func(dir string) error {
			f, err := os.OpenFile(filepath.Join(dir, name), os.O_WRONLY|os.O_APPEND, 0)
			if err != nil {
				return err
			}
			_, err = f.Write(data)
			return errors.Join(err, f.Close())
		}
	case 6:
		w.names[at] = fresh
		return func(dir string) error { return os.Rename(filepath.Join(dir, name), filepath.Join(dir, fresh)) }
	case 7:
		w.names = append(w.names[:at:at], w.names[at+1:]...)
		return func(dir string) error { return os.Remove(filepath.Join(dir, name)) }
	case 8:
		w.names = append(w.names, fresh)
		return func(dir string) error { return os.Link(filepath.Join(dir, name), filepath.Join(dir, fresh)) }
	case 9:
		size := int64(w.r.IntN(30_000))
		return func(dir string) error {
			return errors.Join(os.Truncate(filepath.Join(dir, name), size), os.Chmod(filepath.Join(dir, name), 0o600))
		}
	}
}

// work makes steps until n are made or the drive fails, which is an error unless broken. The step that failed was not made here.
func (w *worker) work(t *testing.T, n int, broken bool) (undecided func(string) error) {
	t.Helper()
	for range n {
		step := w.step()
		if err := step(w.drive); err != nil {
			if !broken {
				t.Fatalf("step %d: %v", w.made, err)
			}
			return step
		}
		if err := step(w.here); err != nil {
			t.Fatal(err)
		}
	}
	return nil
}

// A mount that works alone in a directory it made has done everything when another looks, whatever it did last, and both go on from
// there.
func TestWhoLooksSeesWhatAMountDidAlone(t *testing.T) {
	c := harness.Start(t, 3, harness.Options{})
	rounds := 10
	if harness.Soak() {
		rounds = 400
	}
	for round := range rounds {
		name := fmt.Sprintf("d%d", round)
		w := newWorker(t, uint64(round), c.Peer(1+round%3).Path(name))
		for leg := range 3 { // what is looked at first is a directory of its own, then one that was asked for
			w.work(t, 1+w.r.IntN(60), false)
			looks := c.Peer(1 + (round+1+leg)%3).Path(name)
			harness.Same(t, fmt.Sprintf("round %d, leg %d", round, leg), harness.ReadTree(t, looks), harness.ReadTree(t, w.here))
			if leg == 1 {
				w.drive = looks // and the next steps are another mount's
			}
		}
	}
}

// A daemon that is killed while its mount works alone has lost nothing of what programs were told, wherever it is killed.
func TestKilledWhileAlone(t *testing.T) {
	c := harness.Start(t, 3, harness.Options{})
	rounds := 4
	if harness.Soak() {
		rounds = 60
	}
	p := c.Peer(2)
	for round := range rounds {
		name := fmt.Sprintf("d%d", round)
		w := newWorker(t, uint64(1000+round), p.Path(name))
		w.work(t, w.r.IntN(200), false)
		dying := make(chan struct{})
		go func() {
			defer close(dying)
			p.Kill()
		}()
		undecided := w.work(t, 1_000_000, true)
		<-dying
		p.Restart()
		got := harness.ReadTree(t, p.Path(name))
		if fmt.Sprint(got) != fmt.Sprint(harness.ReadTree(t, w.here)) { // nobody was told that the last step was done, and it was
			if strings.HasPrefix(got[w.newest], "0 bytes ") { // the first half of it
				undecided = func(dir string) error { return os.WriteFile(filepath.Join(dir, w.newest), nil, 0o644) }
			}
			if err := undecided(w.here); err != nil {
				t.Fatal(err)
			}
		}
		harness.Same(t, fmt.Sprintf("round %d, after %d steps", round, w.made), got, harness.ReadTree(t, w.here))
		harness.Same(t, fmt.Sprintf("round %d, another mount", round), harness.ReadTree(t, c.Peer(1).Path(name)), got)
	}
	c.WaitHealthy()
}

// What a daemon had to itself, however much, is everybody's again after it was killed and started anew at once, before anybody missed it.
func TestNothingStaysADeadDaemonsOwn(t *testing.T) {
	c := harness.Start(t, 3, harness.Options{})
	p := c.Peer(2)
	const files = 3000
	dir := p.Path("many")
	if err := os.Mkdir(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	for i := range files {
		if err := os.WriteFile(filepath.Join(dir, fmt.Sprint(i)), nil, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	p.Kill()
	p.Restart()
	for _, q := range []*harness.Peer{p, c.Peer(1)} {
		for i := 0; i < files; i += 50 {
			if err := os.WriteFile(q.Path("many", fmt.Sprint(i)), []byte("text"), 0o644); err != nil {
				t.Fatal(err)
			}
		}
	}
	c.WaitHealthy()
}
