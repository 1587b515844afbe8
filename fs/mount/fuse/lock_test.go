//go:build linux

package fuse

import (
	"bufio"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"dfs/fs/fstest"
	"dfs/fs/meta"
)

// program is another process that locks files as it is told: a lock's owner is a process.
type program struct {
	t   *testing.T
	cmd *exec.Cmd
	in  io.WriteCloser
	out *bufio.Reader
}

// start starts a program whose working directory is dir.
func start(t *testing.T, dir string) *program {
	t.Helper()
	p := &program{t: t, cmd: exec.Command(os.Args[0])}
	p.cmd.Env = append(os.Environ(), "LOCK_PROGRAM="+dir)
	p.cmd.Stderr = os.Stderr
	var err error
	if p.in, err = p.cmd.StdinPipe(); err != nil {
		t.Fatal(err)
	}
	out, err := p.cmd.StdoutPipe()
	if err == nil {
		err = p.cmd.Start()
	}
	if err != nil {
		t.Fatal(err)
	}
	p.out = bufio.NewReader(out)
	t.Cleanup(p.end)
	return p
}

// end lets it exit by itself.
func (p *program) end() {
	p.in.Close()
	p.cmd.Wait()
}

// tell gives it a line to carry out; hear returns what came of it.
func (p *program) tell(line string, a ...any) {
	p.t.Helper()
	if _, err := fmt.Fprintf(p.in, line+"\n", a...); err != nil {
		p.t.Fatal(err)
	}
}

func (p *program) hear() string {
	p.t.Helper()
	s, err := p.out.ReadString('\n')
	if err != nil {
		p.t.Fatal(err)
	}
	return strings.TrimSpace(s)
}

// do carries out a line that must come to want.
func (p *program) do(want, line string, a ...any) {
	p.t.Helper()
	p.tell(line, a...)
	if got := p.hear(); got != want {
		p.t.Fatalf("%s: %s, want %s", fmt.Sprintf(line, a...), got, want)
	}
}

// lockProgram is what a program runs. Lines: open N FILE r|rw, close N, posix|ofd N r|w|u FROM LEN [wait], flock N r|w|u [wait],
// get N r|w FROM LEN, fork N.
func lockProgram(dir string) {
	if err := os.Chdir(dir); err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
	fds := map[string]int{}
	in := bufio.NewScanner(os.Stdin)
	for in.Scan() {
		fmt.Println(lockStep(fds, strings.Fields(in.Text())))
	}
}

var forked []*os.File

func lockStep(fds map[string]int, w []string) string {
	fd := fds[w[1]]
	wait := w[len(w)-1] == "wait"
	var err error
	switch w[0] {
	case "open":
		flags := map[string]int{"r": unix.O_RDONLY, "rw": unix.O_RDWR}[w[3]]
		fds[w[1]], err = unix.Open(w[2], flags|unix.O_CREAT|unix.O_CLOEXEC, 0o644)
	case "close":
		err = unix.Close(fd)
	case "fork": // a child that has the descriptor, too, until its input ends, with this program
		cmd := exec.Command("cat")
		forked = append(forked, os.NewFile(uintptr(fd), "f")) // or the collector would close it
		cmd.ExtraFiles = forked[len(forked)-1:]
		if _, err = cmd.StdinPipe(); err == nil {
			err = cmd.Start()
		}
	case "flock":
		how := map[string]int{"r": unix.LOCK_SH, "w": unix.LOCK_EX, "u": unix.LOCK_UN}[w[2]]
		if !wait {
			how |= unix.LOCK_NB
		}
		err = unix.Flock(fd, how)
	default:
		l := unix.Flock_t{Type: map[string]int16{"r": unix.F_RDLCK, "w": unix.F_WRLCK, "u": unix.F_UNLCK}[w[2]], Whence: io.SeekStart}
		fmt.Sscan(w[3], &l.Start)
		fmt.Sscan(w[4], &l.Len)
		cmd := map[string]int{"posix": unix.F_SETLK, "ofd": unix.F_OFD_SETLK, "get": unix.F_GETLK}[w[0]]
		if wait {
			cmd++ // F_SETLKW, F_OFD_SETLKW
		}
		if err = unix.FcntlFlock(uintptr(fd), cmd, &l); err == nil && w[0] == "get" && l.Type != unix.F_UNLCK {
			return fmt.Sprintf("%s %d %d %d", map[int16]string{unix.F_RDLCK: "r", unix.F_WRLCK: "w"}[l.Type], l.Start, l.Len, l.Pid)
		}
	}
	if err != nil {
		return unix.ErrnoName(err.(syscall.Errno))
	}
	return "ok"
}

// waits returns how many requests wait for a lock of name.
func waits(t *testing.T, d *fstest.Drive, name string) int {
	t.Helper()
	v, err := d.Meta.At(0)
	if err != nil {
		t.Fatal(err)
	}
	defer v.Close()
	st, err := v.Lookup(meta.Root, name)
	if err != nil {
		t.Fatal(err)
	}
	tab, err := v.Locks(st.Ino)
	if err != nil {
		t.Fatal(err)
	}
	return len(tab.Waits)
}

// queue tells p a line that waits, and returns when it is in the queue.
func (p *program) queue(d *fstest.Drive, name, line string) {
	p.t.Helper()
	n := waits(p.t, d, name)
	p.tell(line)
	for waits(p.t, d, name) == n {
		time.Sleep(time.Millisecond)
	}
}

func TestLocksOfPrograms(t *testing.T) {
	s, d := mountedWith(t, Options{}, func(d *fstest.Drive) { d.Meta.Machine().Follow(hears{d}) })
	three := func(t *testing.T, name string) (a, b, c *program) {
		a, b, c = start(t, s.Point()), start(t, s.Point()), start(t, s.Point())
		for _, p := range []*program{a, b, c} {
			p.do("ok", "open f %s rw", name)
		}
		return a, b, c
	}
	t.Run("posix", func(t *testing.T) {
		a, b, _ := three(t, "posix")
		a.do("ok", "posix f w 0 10")
		a.do("ok", "posix f r 4 2") // splits
		b.do("EAGAIN", "posix f w 0 1")
		b.do("ok", "posix f r 4 2")
		b.do("ok", "posix f w 10 0") // to the end of all
		a.do(fmt.Sprint("w 10 0 ", b.cmd.Process.Pid), "get f r 5 1000")
		b.do(fmt.Sprint("w 0 4 ", a.cmd.Process.Pid), "get f w 0 4")
		a.do("EAGAIN", "posix f w 4 1")
		b.do("ok", "posix f u 0 0")
		a.do("ok", "posix f w 4 2") // joins again
		b.do(fmt.Sprint("w 0 10 ", a.cmd.Process.Pid), "get f r 4 1")
		a.end() // exit(2) closes
		b.do("ok", "get f w 0 0")
	})
	t.Run("close", func(t *testing.T) {
		a, b, _ := three(t, "close")
		a.do("ok", "open g close r")
		a.do("ok", "posix f w 0 10")
		a.do("ok", "open h close r")
		a.do("ok", "close h") // any descriptor of the file
		b.do("ok", "posix f w 0 10")
		b.do("ok", "posix f u 0 0")
		a.do("ok", "posix g r 0 10") // a descriptor whose close is not told
		b.do("EAGAIN", "posix f w 0 10")
		a.do("ok", "close g")
		b.do("ok", "posix f w 0 10 wait")
	})
	t.Run("fork", func(t *testing.T) {
		a, b, _ := three(t, "fork")
		a.do("ok", "posix f w 0 10")
		a.do("ok", "fork f") // its child holds nothing: what it closes ends nothing
		b.do("EAGAIN", "posix f w 0 10")
		a.do("ok", "close f") // though the child has it open still
		b.do("ok", "posix f w 0 10")
	})
	t.Run("ofd", func(t *testing.T) {
		a, b, _ := three(t, "ofd")
		a.do("ok", "open g ofd rw")
		a.do("ok", "ofd f w 0 10")
		a.do("EAGAIN", "ofd g w 5 10") // of the same process
		b.do("EAGAIN", "posix f r 9 1")
		a.do("ok", "close g") // no descriptor of that open
		b.do("EAGAIN", "ofd f r 9 1")
		b.tell("ofd f r 9 1 wait")
		a.do("ok", "close f")
		if got := b.hear(); got != "ok" {
			t.Fatal(got)
		}
	})
	t.Run("flock", func(t *testing.T) {
		a, b, c := three(t, "flock")
		a.do("ok", "flock f r")
		b.do("ok", "flock f r")
		c.do("EAGAIN", "flock f w")
		c.do("ok", "posix f w 0 0") // the other kind
		c.queue(d, "flock", "flock f w wait")
		a.do("ok", "flock f u")
		b.end() // without a word
		if got := c.hear(); got != "ok" {
			t.Fatal(got)
		}
		a.do("EAGAIN", "flock f r")
		c.end()
		a.do("ok", "flock f w wait")
	})
	t.Run("wait", func(t *testing.T) {
		a, b, c := three(t, "wait")
		a.do("ok", "posix f w 0 10")
		b.queue(d, "wait", "posix f w 0 1 wait")
		c.queue(d, "wait", "posix f w 0 1 wait")
		for range 5 { // taken note of by Go's runtime, as a program with SA_RESTART would
			b.cmd.Process.Signal(unix.SIGURG)
		}
		c.cmd.Process.Kill()
		for waits(t, d, "wait") != 1 {
			time.Sleep(time.Millisecond)
		}
		a.do("ok", "posix f u 0 0")
		if got := b.hear(); got != "ok" {
			t.Fatal(got)
		}
	})
	t.Run("interrupt", func(t *testing.T) {
		a, _, _ := three(t, "interrupt")
		a.do("ok", "flock f w")
		began := time.Now()
		err := exec.Command("flock", "-w", "0.1", filepath.Join(s.Point(), "interrupt"), "true").Run() // its alarm ends the wait
		if exit, ok := err.(*exec.ExitError); !ok || exit.ExitCode() != 1 {
			t.Fatalf("%v after %v", err, time.Since(began))
		}
		if n := waits(t, d, "interrupt"); n != 0 {
			t.Fatalf("%d wait still", n)
		}
	})
	t.Run("deadlock", func(t *testing.T) {
		a, b, _ := three(t, "deadlock")
		a.do("ok", "posix f w 0 1")
		b.do("ok", "posix f w 1 1")
		a.queue(d, "deadlock", "posix f w 1 1 wait")
		b.do("EDEADLK", "posix f w 0 1 wait")
		b.do("ok", "posix f u 1 1")
		if got := a.hear(); got != "ok" {
			t.Fatal(got)
		}
	})
	t.Run("bounds", func(t *testing.T) {
		a, _, _ := three(t, "bounds")
		for i := range meta.LocksOfFile {
			a.do("ok", "posix f w %d 1", 2*i)
		}
		a.do("ENOLCK", "posix f w 100000 1")
		a.do("ok", "posix f u 0 0")
		a.do("ok", "posix f w 100000 1")
	})
}
