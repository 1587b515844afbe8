package fstest

import (
	"bufio"
	"cmp"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// The cases are played on a directory by a child process, so that whoever serves it may be the test itself: a process that maps
// files of its own mount, or starts a program from there, waits for itself. The child is this test's program once more; it is asked
// for one case after the other on its standard input and answers on its standard output.

const childVar = "FSTEST_CHILD"

// Child plays cases if this process was started for that, and does not return then. TestMain of a package that calls RunDir or
// RunRandom calls it first.
func Child() {
	root, random := os.Getenv(childVar), os.Getenv(randomVar)
	var err error
	switch {
	case root != "":
		err = serveCases(root, os.Stdin, os.Stdout)
	case random != "":
		err = randomChild(random)
	default:
		return
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	os.Exit(0)
}

// verdict is what the child says of a case.
type verdict struct{ Failed string }

func serveCases(root string, in io.Reader, out io.Writer) error {
	runtime.LockOSThread()
	debug.SetPanicOnFault(true)
	os.Unsetenv(childVar)
	all, err := Scripts()
	if err != nil {
		return err
	}
	asked, answer := json.NewDecoder(in), json.NewEncoder(out)
	for {
		var i int
		if err := asked.Decode(&i); err == io.EOF {
			return nil
		} else if err != nil {
			return err
		}
		var v verdict
		if err := playIn(filepath.Join(root, fmt.Sprint("case", i)), all[i]); err != nil {
			v.Failed = err.Error()
		}
		if err := answer.Encode(v); err != nil {
			return err
		}
	}
}

// playIn plays s in a new directory, which anybody may search and its owner may write.
func playIn(dir string, s Script) error {
	unix.Umask(0)
	if err := os.Mkdir(dir, 0o755); err != nil {
		return err
	}
	if err := os.Chdir(dir); err != nil {
		return err
	}
	p := &player{as: credentials, more: kernelVerbs}
	p.calls = kernel{p}
	defer func() {
		for _, m := range p.maps {
			_ = unix.Munmap(m)
		}
		_ = os.Chdir("/") // whoever serves this may want to unmount it
	}()
	return p.play(s)
}

// RunDir plays the conformance cases in root, a directory of the file system that place names; whoever calls it calls Child in TestMain. Cases
// with an exception for place are skipped, those for which one of except gives a reason too, and so are, for others than root, those that
// need another user.
func RunDir(t *testing.T, place, root string, except ...func(name string) (why string)) {
	c := &child{root: root}
	defer c.end()
	for i, s := range scripts(t) {
		t.Run(s.Name, func(t *testing.T) {
			why := s.skips(place)
			for _, other := range except {
				why = cmp.Or(why, other(s.Name))
			}
			switch {
			case why != "":
				t.Skip(why)
			case s.needsRoot() && os.Getuid() != 0:
				t.Skip("needs root, to be somebody else")
			}
			if err := c.play(t, i); err != nil {
				t.Fatal(err)
			}
		})
	}
}

// caseWait bounds one case.
func caseWait() time.Duration {
	if long() {
		return time.Hour
	}
	return time.Minute
}

// child is the process that plays.
type child struct {
	root  string
	cmd   *exec.Cmd // nil while there is none
	ask   io.WriteCloser
	lines chan string
}

// play has case i played.
func (c *child) play(t *testing.T, i int) error {
	if c.cmd == nil {
		if err := c.start(); err != nil {
			return err
		}
	}
	if _, err := fmt.Fprintln(c.ask, i); err != nil {
		c.end()
		return err
	}
	wait := time.NewTimer(caseWait())
	defer wait.Stop()
	select {
	case line, there := <-c.lines:
		var v verdict
		if !there {
			c.end()
			return fmt.Errorf("the process that played it died")
		}
		if err := json.Unmarshal([]byte(line), &v); err != nil {
			return err
		}
		if v.Failed != "" {
			return fmt.Errorf("%s", v.Failed)
		}
		return nil
	case <-wait.C:
		c.cmd.Process.Kill()
		c.end()
		return fmt.Errorf("not done after %v", caseWait())
	}
}

func (c *child) start() error {
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), childVar+"="+c.root)
	cmd.Stderr = os.Stderr
	ask, err := cmd.StdinPipe()
	if err != nil {
		return err
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		return err
	}
	if err := cmd.Start(); err != nil {
		return err
	}
	lines := make(chan string)
	go func() { // until the child has closed its output, which end waits for
		defer close(lines)
		for in := bufio.NewScanner(out); in.Scan(); {
			lines <- in.Text()
		}
	}()
	c.cmd, c.ask, c.lines = cmd, ask, lines
	return nil
}

// end ends the child; another is started when there is need.
func (c *child) end() {
	if c.cmd == nil {
		return
	}
	c.ask.Close()
	for range c.lines {
	}
	_ = c.cmd.Wait()
	c.cmd = nil
}
