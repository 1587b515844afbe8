//go:build linux

package fuse

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/hanwen/go-fuse/v2/fuse"
)

func TestDyingIsReadFromStatus(t *testing.T) {
	const lives = "Name:\tcp\nState:\tD (disk sleep)\nPPid:\t77\nKthread:\t0\nVmSize:\t 12 kB\nSigPnd:\t%s\nShdPnd:\t%s\n"
	const none, kill, interrupt = "0000000000000000", "0000000000000100", "0000000000000002"
	for _, c := range []struct {
		text string
		want bool
	}{
		{fmt.Sprintf(lives, none, none), false},
		{fmt.Sprintf(lives, kill, none), true},
		{fmt.Sprintf(lives, none, kill), true},
		{fmt.Sprintf(lives, interrupt, interrupt), false}, // the program has a handler
		{"Name:\tcp\nPPid:\t77\nSigPnd:\t" + none + "\n", true},
		{"Name:\tnfsd\nPPid:\t2\nSigPnd:\t" + none + "\n", false},
		{"Name:\tnfsd\nPPid:\t77\nKthread:\t1\nSigPnd:\t" + none + "\n", false},
		{"", false},
	} {
		if got := dyingStatus(c.text); got != c.want {
			t.Errorf("%q: %v", c.text, got)
		}
	}
	if dying(uint32(os.Getpid())) || dying(0) || dying(1<<31) {
		t.Error("somebody is dying who is not, or not there")
	}
}

// What a request derives from its context ends with it, and nothing is left behind when it was answered.
func TestACallEnds(t *testing.T) {
	r := &raw{}
	c := r.call(&fuse.InHeader{Caller: fuse.Caller{Pid: 1}})
	if c.Err() != nil || len(r.calls.all()) != 0 {
		t.Error("a request that nobody waits in is on record")
	}
	derived, cancel := context.WithTimeout(c, time.Hour)
	defer cancel()
	if len(r.calls.all()) != 1 {
		t.Error("a request that waits is not on record")
	}
	c.stop()
	<-derived.Done()
	if c.Err() != context.Canceled {
		t.Error(c.Err())
	}
	c.end()
	if len(r.calls.all()) != 0 {
		t.Error("an answered request is still on record")
	}
}

// Ctrl-C ends a program whose request waits for ever; a signal that a program handles does not make its call fail.
func TestCtrlC(t *testing.T) {
	s, d := mounted(t, Options{})
	asked, answer := make(chan struct{}, 1), make(chan struct{})
	release := sync.OnceFunc(func() { close(answer) })
	defer release()
	d.Blocks.OnWrite = func([]byte) error {
		select {
		case asked <- struct{}{}:
		default:
		}
		<-answer
		return nil
	}
	// Its write waits when it closes the file.
	start := func(script string) (*exec.Cmd, chan error) {
		cmd := exec.Command("sh", "-c", script, "sh", filepath.Join(s.Point(), "f"))
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		ended := make(chan error, 1)
		go func() { ended <- cmd.Wait() }()
		return cmd, ended
	}
	killed, ended := start(`exec cp /proc/self/stat "$1"`)
	<-asked
	killed.Process.Signal(syscall.SIGINT)
	<-ended
	if st := killed.ProcessState.Sys().(syscall.WaitStatus); !st.Signaled() {
		t.Errorf("interrupted: %v", killed.ProcessState)
	}
	waits, ended := start(`trap : INT; echo hello >"$1"x`)
	<-asked
	waits.Process.Signal(syscall.SIGINT)
	release()
	if err := <-ended; err != nil {
		t.Errorf("with a handler: %v", err)
	}
	if got, err := os.ReadFile(filepath.Join(s.Point(), "fx")); err != nil || string(got) != "hello\n" {
		t.Errorf("%q, %v", got, err)
	}
}
