package main

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"os/exec"
	"runtime"
	"time"

	"dfs/cluster/fault"
)

// Bounds of restarting.
const (
	backoffMin  = 200 * time.Millisecond
	backoffMax  = 5 * time.Second
	steadyAfter = time.Minute             // a process that ran this long failed for a new reason
	killAfter   = 9500 * time.Millisecond // between telling a process to end and killing it
)

// process is one that `dfsd up` keeps running.
type process struct {
	name  string
	path  string
	args  []string
	stdin func() []byte // what it reads first; nil nothing
	out   io.Writer     // its standard output and error

	// final reports whether an end with this exit code is the end; otherwise it is started again.
	final func(code int) bool
}

// run keeps p running until ctx ends (0), or until it ends for good (its exit code).
func (p process) run(ctx context.Context, log *slog.Logger) (int, error) {
	backoff := backoffMin
	for {
		started := time.Now()
		code, err := p.once(ctx)
		if ctx.Err() != nil {
			return 0, nil
		}
		if err != nil || p.final(code) {
			return code, err
		}
		if time.Since(started) > steadyAfter {
			backoff = backoffMin
		}
		log.Error("ended; starting it again", "process", p.name, "code", code, "in", backoff)
		select {
		case <-ctx.Done():
			return 0, nil
		case <-time.After(backoff):
		}
		backoff = min(2*backoff, backoffMax)
	}
}

// once runs p to its end. When ctx ends it is told to end, and killed if it does not.
//
// Its standard input stays open for as long as this process lives; on Linux the kernel kills it when the thread that
// started it ends, so that thread stays here until then.
func (p process) once(ctx context.Context) (code int, err error) {
	done := make(chan struct{})
	go func() {
		defer close(done)
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		cmd := exec.CommandContext(ctx, p.path, p.args...)
		cmd.Stdout, cmd.Stderr = p.out, p.out
		var in io.WriteCloser
		if in, err = cmd.StdinPipe(); err != nil {
			return
		}
		cmd.Cancel = func() error {
			in.Close()
			return tellToEnd(cmd.Process)
		}
		cmd.WaitDelay = killAfter
		cmd.SysProcAttr = dieWithParent()
		if err = cmd.Start(); err != nil {
			return
		}
		if p.stdin != nil {
			in.Write(p.stdin()) // an error shows as the process's end
		}
		err = cmd.Wait()
	}()
	<-done
	var exit *exec.ExitError
	switch {
	case errors.As(err, &exit):
		return exit.ExitCode(), nil
	case errors.Is(err, exec.ErrWaitDelay), ctx.Err() != nil:
		return 0, nil
	case err != nil:
		return 1, fault.Because("start "+p.name, fault.Other, err)
	}
	return 0, nil
}
