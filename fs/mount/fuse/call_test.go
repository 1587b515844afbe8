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

func TestDyingIsReadFromStat(t *testing.T) {
	line := func(name string, flags, pending uint64) string {
		return fmt.Sprintf("77 (%s) D 1 77 77 0 -1 %d 1 2 3 4 5 6 7 8 20 0 1 0 9 10 11 12 13 14 15 16 17 %d 0 0 0 0", name, flags|0x400000, pending)
	}
	for _, c := range []struct {
		line string
		want bool
	}{
		{line("cp", 0, 0), false},
		{line("cp", 0x4, 0), true},
		{line("cp", 0, 1<<8), true},
		{line("cp", 0, 1<<1), false}, // SIGINT, for which the program has a handler
		{line(") D 1 (", 0x4, 0), true},
		{"77 (cp) D 1 2", false},
		{"", false},
	} {
		if got := dyingStat(c.line); got != c.want {
			t.Errorf("%q: %v", c.line, got)
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
