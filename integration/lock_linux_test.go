package integration

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"dfs/cluster/admin"
	"dfs/integration/harness"
)

// Locks that programs take on one mount hold on all others: nothing is lost that is read and written under one, SQLite
// works on a database from every mount at once, and a lock whose holder's daemon is killed goes to who waits for it.
func TestLocksAcrossMounts(t *testing.T) {
	c := harness.Start(t, 3, harness.Options{})
	var mounts []string
	for _, p := range c.Peers() {
		mounts = append(mounts, p.Mount)
	}
	t.Run("counter", func(t *testing.T) { countUnderLocks(t, mounts) })
	t.Run("sqlite", func(t *testing.T) { shareADatabase(t, mounts) })
	t.Run("killed", func(t *testing.T) { killTheHolder(t, c.Peer(2), c.Peer(3)) })
}

// countUnderLocks has a program on each mount add to one number, and looks whether all was added.
func countUnderLocks(t *testing.T, mounts []string) {
	rounds := 40
	if harness.Soak() {
		rounds = 2000
	}
	if err := os.WriteFile(mounts[0]+"/counter", []byte("0"), 0o644); err != nil {
		t.Fatal(err)
	}
	began := time.Now()
	var work sync.WaitGroup
	for _, m := range mounts {
		work.Go(func() {
			if err := count(m+"/counter", rounds); err != nil {
				t.Errorf("%s: %v", m, err)
			}
		})
	}
	work.Wait()
	t.Logf("%d additions in %v", rounds*len(mounts), time.Since(began))
	alone(t, mounts[1]+"/counter")
	for _, m := range mounts {
		if b, err := os.ReadFile(m + "/counter"); err != nil || string(b) != strconv.Itoa(rounds*len(mounts)) {
			t.Errorf("%s: %q, %v, want %d", m, b, err, rounds*len(mounts))
		}
	}
}

// alone says how long a lock and its unlock take that nobody else wants.
func alone(t *testing.T, path string) {
	fd, err := unix.Open(path, unix.O_RDWR|unix.O_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(fd)
	const times = 100
	began := time.Now()
	for range times {
		if err := errors.Join(setLock(fd, unix.F_WRLCK), setLock(fd, unix.F_UNLCK)); err != nil {
			t.Fatal(err)
		}
	}
	t.Logf("a lock and its unlock take %v", time.Since(began)/times)
}

// count adds 1 to the number in a file, so many times, each time under a lock and without closing it.
func count(path string, times int) error {
	fd, err := unix.Open(path, unix.O_RDWR|unix.O_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	for range times {
		if err := setLock(fd, unix.F_WRLCK); err != nil {
			return fmt.Errorf("lock: %w", err)
		}
		b := make([]byte, 20)
		n, err := unix.Pread(fd, b, 0)
		if err != nil {
			return err
		}
		k, err := strconv.Atoi(string(b[:n]))
		if err != nil {
			return err
		}
		if _, err := unix.Pwrite(fd, strconv.AppendInt(nil, int64(k)+1, 10), 0); err != nil {
			return err
		}
		if err := setLock(fd, unix.F_UNLCK); err != nil {
			return fmt.Errorf("unlock: %w", err)
		}
	}
	return nil
}

func setLock(fd int, typ int16) error {
	return unix.FcntlFlock(uintptr(fd), unix.F_SETLKW, &unix.Flock_t{Type: typ})
}

// shareADatabase has SQLite add rows to one database from every mount at once, with its rollback journal.
func shareADatabase(t *testing.T, mounts []string) {
	if _, err := exec.LookPath("sqlite3"); err != nil {
		if os.Getenv("CI") == "true" {
			t.Fatal("sqlite3 is missing: apt-get install sqlite3")
		}
		t.Skip("sqlite3 is missing: apt-get install sqlite3")
	}
	rows := 10
	if harness.Soak() {
		rows = 1000
	}
	ask := func(mount, text string) string {
		cmd := exec.Command("sqlite3", "-bail", mount+"/shared.db")
		cmd.Stdin = strings.NewReader(".timeout 60000\n" + text)
		out, err := cmd.CombinedOutput()
		if err != nil {
			t.Errorf("sqlite3 on %s: %v: %s", mount, err, out)
		}
		return string(out)
	}
	ask(mounts[0], "create table t(who integer, n integer, unique(who, n));")
	var work sync.WaitGroup
	for i, m := range mounts {
		work.Go(func() {
			var text strings.Builder
			for n := range rows {
				fmt.Fprintf(&text, "insert into t values(%d, %d);\n", i, n)
			}
			if out := ask(m, text.String()); out != "" {
				t.Errorf("sqlite3 on %s: %s", m, out)
			}
		})
	}
	work.Wait()
	for _, m := range mounts {
		want := fmt.Sprintf("ok\n%d\n", rows*len(mounts))
		if got := ask(m, "pragma integrity_check; select count(*) from t;"); got != want {
			t.Errorf("%s: %q, want %q", m, got, want)
		}
	}
}

// killTheHolder kills the daemon of a peer on whose mount a lock is held, and looks whether another gets it that waits.
func killTheHolder(t *testing.T, holder, waiter *harness.Peer) {
	if err := os.WriteFile(waiter.Path("precious"), nil, 0o644); err != nil {
		t.Fatal(err)
	}
	held, err := unix.Open(holder.Path("precious"), unix.O_RDWR|unix.O_CLOEXEC, 0)
	if err == nil {
		err = setLock(held, unix.F_WRLCK)
	}
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(held)
	fd, err := unix.Open(waiter.Path("precious"), unix.O_RDWR|unix.O_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(fd)
	if err := unix.FcntlFlock(uintptr(fd), unix.F_SETLK, &unix.Flock_t{Type: unix.F_WRLCK}); err != unix.EAGAIN {
		t.Fatalf("a lock that is held: %v", err)
	}
	got := make(chan error, 1)
	go func() { got <- setLock(fd, unix.F_WRLCK) }()
	for waiting(t, waiter, "/precious") != 1 {
		after(10 * time.Millisecond)
	}
	began := time.Now()
	if err := syscall.Kill(holder.Daemon(), syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	if err := <-got; err != nil {
		t.Fatal(err)
	}
	t.Logf("the lock of a killed daemon was free after %v", time.Since(began))
	holder.WaitReady()
}

// waiting returns how many wait for a lock of a file, as dfsctl lists them.
func waiting(t *testing.T, p *harness.Peer, path string) int {
	t.Helper()
	doc, err := p.Admin.Locks(context.Background(), path)
	if err != nil || len(doc.Files) != 1 || len(doc.Files[0].Held) != 1 || doc.Files[0].Held[0].Mode != admin.LockExcl {
		t.Fatalf("%+v, %v", doc, err)
	}
	return len(doc.Files[0].Waiting)
}
