package integration

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"sync"
	"syscall"
	"testing"
	"time"

	"dfs/integration/harness"
)

// A peer is silent for so long that the others end its session, and let go of what it held. When it wakes it goes on by
// itself: the same process, the same mount, and its programs, which saw nothing but a pause.
func TestAPeerThatWasAwayForLongGoesOn(t *testing.T) {
	c := harness.Start(t, 3, harness.Options{Env: []string{"DFS_SESSION_EXPIRY=3s"}})
	p := c.Peer(2)
	if c.Leader(t, p) == p {
		p = c.Peer(3)
	}
	other := c.Peer(1)
	daemon := p.Daemon()
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	must(os.MkdirAll(p.Path("home/work"), 0o755))
	here, err := os.Open(p.Path("home")) // somebody's working directory
	must(err)
	defer here.Close()
	mode := func(peer *harness.Peer, name string, want os.FileMode) {
		t.Helper()
		if info, err := os.Stat(peer.Path(name)); err != nil || info.Mode().Perm() != want {
			t.Errorf("%s: %v, %v instead of %v", peer.Path(name), info, err, want)
		}
	}

	draft, err := os.Create(p.Path("draft")) // written, not closed: it is this mount's alone
	must(err)
	defer draft.Close()
	_, err = draft.WriteString("before")
	must(err)
	must(draft.Sync())
	_, err = draft.WriteString(" and what was not flushed")
	must(err)
	doomed, err := os.Create(p.Path("doomed"))
	must(err)
	defer doomed.Close()
	_, err = doomed.WriteString("doomed")
	must(err)
	must(doomed.Sync())
	must(os.WriteFile(p.Path("shared"), []byte("old"), 0o644))

	// Programs in its mount are at work when it falls silent, and when it wakes.
	var work sync.WaitGroup
	stop := make(chan struct{})
	made := make([]int, 4)
	for k := range made {
		work.Go(func() {
			for i := 0; ; i++ {
				select {
				case <-stop:
					return
				default:
				}
				name := p.Path("home", "work", fmt.Sprintf("%d-%d", k, i))
				if err := os.WriteFile(name, content(uint64(i), 1+i*911%40_000), 0o644); err != nil {
					t.Errorf("a program in the mount that slept: %v", err)
					return
				}
				made[k] = i + 1
			}
		})
	}
	after(300 * time.Millisecond)
	p.Freeze()
	after(4 * time.Second)
	must(os.WriteFile(other.Path("shared"), []byte("newer"), 0o644))
	must(os.Remove(other.Path("doomed")))
	if got, err := os.ReadFile(other.Path("draft")); err != nil || !bytes.HasPrefix([]byte("before and what was not flushed"), got) || len(got) < 6 {
		t.Errorf("the draft reads %q, %v while its writer sleeps", got, err)
	}
	after(time.Second) // and what nobody holds is reaped
	p.Thaw()
	if got, err := os.ReadFile(p.Path("shared")); err != nil || string(got) != "newer" {
		t.Errorf("after waking it reads %q, %v", got, err)
	}
	if _, err := os.Stat(p.Path("doomed")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a removed file: %v", err)
	}
	after(time.Second)
	close(stop)
	work.Wait()

	must(draft.Chmod(0o640)) // no longer its alone: everybody sees it at once
	mode(other, "draft", 0o640)
	_, err = draft.WriteString(", and after")
	must(err)
	must(draft.Close())
	if got, err := os.ReadFile(other.Path("draft")); err != nil || string(got) != "before and what was not flushed, and after" {
		t.Errorf("the draft reads %q, %v", got, err)
	}
	if fd, err := syscall.Openat(int(here.Fd()), "work", syscall.O_DIRECTORY|syscall.O_CLOEXEC, 0); err != nil {
		t.Errorf("the working directory is lost: %v", err)
	} else {
		syscall.Close(fd)
	}
	n := 0
	for k := range made {
		for i := range made[k] {
			n++
			name := fmt.Sprintf("%d-%d", k, i)
			if got, err := os.ReadFile(other.Path("home", "work", name)); err != nil || !bytes.Equal(got, content(uint64(i), 1+i*911%40_000)) {
				t.Errorf("%s reads %d bytes, %v", name, len(got), err)
			}
		}
	}
	t.Logf("%d files were written around the pause", n)
	p.WaitReady()
	c.WaitHealthy()
	if p.Daemon() != daemon {
		t.Error("the daemon was started anew")
	}
	if log, err := os.ReadFile(p.Log); err != nil || !bytes.Contains(log, []byte("another begins")) {
		t.Errorf("its session was not ended, so this showed nothing: %v", err)
	}
}
