package cli

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"strconv"
	"strings"
	"time"

	"dfs/cluster/fault"
)

// Lock is held by one process at a time and let go when that process ends, however it ends. The file names the
// holder's process id.
type Lock struct{ f *os.File }

// Take locks path, making the file where there is none. fault.Busy names the holder.
func Take(path string) (*Lock, error) {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, fault.Because("lock", fault.Permission, err)
	}
	if err := lockFile(f); err != nil {
		f.Close()
		return nil, fault.New("lock", fault.Busy, "%s is held by process %d", path, holder(path))
	}
	if err := f.Truncate(0); err == nil {
		_, err = f.WriteAt([]byte(strconv.Itoa(os.Getpid())+"\n"), 0)
		if err != nil {
			f.Close()
			return nil, fault.Because("lock", fault.Other, err)
		}
	}
	return &Lock{f}, nil
}

// TakeWithin is Take for those who know that the holder is about to end: it tries again until ctx ends.
func TakeWithin(ctx context.Context, path string) (*Lock, error) {
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		l, err := Take(path)
		if err == nil || !errors.Is(err, fault.Busy) {
			return l, err
		}
		select {
		case <-ctx.Done():
			return nil, err
		case <-tick.C:
		}
	}
}

// Release lets go. The file stays.
func (l *Lock) Release() { l.f.Close() }

// Holder returns the process that holds the lock at path, or 0 if nobody does.
func Holder(path string) int {
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if errors.Is(err, fs.ErrNotExist) {
		return 0
	}
	if err != nil {
		return holder(path)
	}
	defer f.Close()
	if lockFile(f) == nil {
		return 0 // closing lets go again
	}
	return holder(path)
}

func holder(path string) int {
	text, err := os.ReadFile(path)
	if err != nil {
		return 0
	}
	pid, err := strconv.Atoi(strings.TrimSpace(string(text)))
	if err != nil {
		return 0
	}
	return pid
}
