package vfs_test

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"

	"dfs/cluster/fault"
	"dfs/fs/fstest"
	"dfs/fs/meta"
	"dfs/fs/vfs"
)

// While cut off, every change is refused at once, reads go on, and what was written before is kept until it can be
// flushed.
func TestCutOffRefusesChanges(t *testing.T) {
	var cut error
	d := fstest.NewDrive(t, vfs.Options{CutOff: func() error { return cut }})
	ino, h := create(t, d.FS, "f")
	put(t, d.FS, h, 0, "old")
	must(t, d.FS.Flush(bg, h))
	put(t, d.FS, h, 0, "new")

	cut = fault.ReadOnly
	changes := map[string]error{}
	_, changes["write"] = d.FS.Write(bg, h, 0, []byte("x"), false)
	_, changes["open to write"] = d.FS.Open(bg, ino, update)
	_, changes["truncate"] = d.FS.Setattr(bg, ino, meta.SetAttr{Mask: meta.SetSize})
	_, changes["chmod"] = d.FS.Setattr(bg, ino, meta.SetAttr{Mask: meta.SetMode, Mode: 0o600})
	changes["rename"] = d.FS.Rename(bg, meta.Root, "f", meta.Root, "g", 0)
	for what, err := range changes {
		if !errors.Is(err, fault.ReadOnly) {
			t.Errorf("%s: %v", what, err)
		}
	}
	if got := content(t, d.FS, ino); got != "new" {
		t.Errorf("read %q", got)
	}
	if s, err := d.FS.Statfs(bg); err != nil || s.Free != 0 {
		t.Errorf("%d bytes free, %v", s.Free, err)
	}
	cut = nil
	must(t, d.FS.Flush(bg, h))
	if got := content(t, d.FS, ino); got != "new" {
		t.Errorf("in the end %q", got)
	}
}

// While cut off, a file that another mount has to itself is shown as it was last committed.
func TestCutOffShowsFilesOfOthers(t *testing.T) {
	var cut error
	d := fstest.NewDrive(t, vfs.Options{})
	ino, h := create(t, d.FS, "f")
	put(t, d.FS, h, 0, "kept here")
	asked := 0
	other := vfs.New(d.Meta, d.Blocks, vfs.Alone{Store: d.Meta}, vfs.Options{
		Session: d.Meta.Session() + 1,
		CutOff:  func() error { return cut },
		Recall: func(context.Context, uint64, meta.Ino) error {
			asked++
			cut = fault.ReadOnly // while it asks
			return fault.Unreachable
		},
	})
	a, err := other.Getattr(bg, ino)
	if err != nil || a.Inode.Size != 0 || a.Until != 0 || asked != 1 {
		t.Fatalf("%+v, %v after %d questions", a, err, asked)
	}
}

// Whoever waits for a flush may give up; the flush itself goes on.
func TestAFlushGoesOnWithoutItsCaller(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := fstest.NewDrive(t, vfs.Options{})
		ctx, stop := context.WithCancel(bg)
		ended := make(chan error, 1)
		go func() { ended <- d.FS.Run(ctx) }()
		synctest.Wait()
		ino, h := create(t, d.FS, "f")
		put(t, d.FS, h, 0, "bytes")
		caller, giveUp := context.WithCancel(bg)
		goOn := make(chan struct{})
		d.Blocks.OnWrite = func([]byte) error {
			giveUp()
			<-goOn
			return nil
		}
		if err := d.FS.Flush(caller, h); !errors.Is(err, fault.Canceled) {
			t.Errorf("flush: %v", err)
		}
		close(goOn)
		must(t, d.FS.Flush(bg, h))
		if n := d.FS.Dirty(); n != 0 {
			t.Errorf("%d bytes are still charged", n)
		}
		stop()
		must(t, <-ended)
		if got := content(t, d.FS, ino); got != "bytes" {
			t.Errorf("%q", got)
		}
	})
}
