package power

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"os"
	"strings"
	"time"

	"dfs/cluster/fault"
	"dfs/fs/meta"
	"dfs/fs/vfs"
)

const (
	blockBytes = 512
	workers    = 3
	filesEach  = 4
	blocksMax  = 600 // of a file
	runMax     = 48  // blocks written at once
)

// block fills p with what a file holds at a block in a version. Every block says whose it is, so that no other can pass
// for it.
func block(p []byte, file string, version, at uint64) {
	clear(p)
	copy(p, file)
	binary.LittleEndian.PutUint64(p[32:], version)
	binary.LittleEndian.PutUint64(p[40:], at)
	rng := rand.NewPCG(version, at)
	for i := 48; i < blockBytes; i += 8 {
		binary.LittleEndian.PutUint64(p[i:], rng.Uint64())
	}
}

// versionOf returns which version of a file's block p is: 0 zeros. An error says what it is instead.
func versionOf(p []byte, file string, at uint64) (uint64, error) {
	if bytes.Equal(p, make([]byte, blockBytes)) {
		return 0, nil
	}
	version := binary.LittleEndian.Uint64(p[32:])
	want := make([]byte, blockBytes)
	if block(want, file, version, at); !bytes.Equal(p, want) {
		return 0, fmt.Errorf("bytes that say %q, version %d, block %d", strings.TrimRight(string(p[:32]), "\x00"), version, binary.LittleEndian.Uint64(p[40:]))
	}
	return version, nil
}

// work is the life of one process: open, say what is there, and go on until killed.
func work(dir string, round uint64, readOnly bool) error {
	ctx := context.Background()
	log := slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelWarn}))
	l := &lines{tell: func(s string) { os.Stdout.WriteString(s + "\n") }}
	s, err := openStack(ctx, dir, log)
	if err != nil {
		return err
	}
	_, damaged, err := s.verify(ctx)
	if err != nil {
		return fmt.Errorf("verify: %w", err)
	}
	for w := range workers {
		for f := range filesEach {
			if err := s.describe(ctx, l, fileName(w, f)); err != nil {
				return err
			}
		}
	}
	l.say("damaged %d", damaged)
	l.say("ready")
	if readOnly {
		return nil
	}
	go s.chores(ctx)
	for w := range workers {
		go func() {
			k := worker{s: s, l: l, n: w, rng: rand.New(rand.NewPCG(round, uint64(w))), version: round << 32}
			err := k.run(ctx)
			l.say("stopped %q", err.Error()) // the disk is gone
		}()
	}
	select {}
}

func fileName(w, f int) string { return fmt.Sprintf("w%d-f%d", w, f) }

// describe says what a file holds, in runs of blocks.
func (s *stack) describe(ctx context.Context, l *lines, name string) error {
	e, err := s.fs.Lookup(ctx, meta.Root, name, nil)
	if err != nil {
		return fmt.Errorf("lookup %s: %w", name, err)
	}
	if e.Inode.Ino == 0 {
		l.say("absent %s", name)
		return nil
	}
	o, err := s.fs.Open(ctx, e.Inode.Ino, vfs.Mode{Read: true})
	if err != nil {
		return fmt.Errorf("open %s: %w", name, err)
	}
	defer s.fs.Release(o.Handle)
	blocks := uint64(e.Inode.Size) / blockBytes
	l.say("present %s %d", name, blocks)
	p := make([]byte, blockBytes)
	last, first := "", uint64(0)
	for at := uint64(0); at <= blocks; at++ {
		what := "end"
		if at < blocks {
			n, err := s.fs.Read(ctx, o.Handle, int64(at)*blockBytes, p)
			switch k := fault.KindOf(err); {
			case err != nil && (k == fault.NotExist || k == fault.Damaged || k == fault.Corrupt || k == fault.Unreachable):
				what = "eio"
			case err != nil || n != blockBytes:
				return fmt.Errorf("read %s block %d: %d bytes, %w", name, at, n, err)
			default:
				version, err := versionOf(p, name, at)
				if what = fmt.Sprint(version); err != nil {
					what = "bad " + err.Error()
				}
			}
		}
		if what != last {
			if last != "" {
				l.say("holds %s %d %d %s", name, first, at-first, last)
			}
			last, first = what, at
		}
	}
	return nil
}

// worker owns some files. It says what it is about to do before it does it, and what it was promised after.
type worker struct {
	s       *stack
	l       *lines
	n       int
	rng     *rand.Rand
	version uint64
}

func (k *worker) run(ctx context.Context) error {
	for {
		name := fileName(k.n, k.rng.IntN(filesEach))
		var err error
		switch d := k.rng.IntN(12); {
		case d < 9:
			err = k.change(ctx, name)
		case d < 11:
			err = k.replace(ctx, name)
		default:
			err = k.remove(ctx, name)
		}
		if err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
		if k.rng.IntN(4) == 0 {
			rest(ctx, time.Duration(k.rng.IntN(20))*time.Millisecond)
		}
	}
}

// open opens a file to write, making it where it is not.
func (k *worker) open(ctx context.Context, name string) (vfs.Handle, error) {
	e, err := k.s.fs.Lookup(ctx, meta.Root, name, nil)
	if err != nil {
		return 0, err
	}
	if e.Inode.Ino != 0 {
		o, err := k.s.fs.Open(ctx, e.Inode.Ino, vfs.Mode{Read: true, Write: true})
		return o.Handle, err
	}
	k.l.say("create? %s", name)
	_, o, err := k.s.fs.Create(ctx, vfs.Caller{}, meta.Root, name, 0o644, vfs.Mode{Read: true, Write: true}, nil)
	if err == nil {
		k.l.say("created %s", name)
	}
	return o.Handle, err
}

// change writes some runs of blocks, and syncs some of that.
func (k *worker) change(ctx context.Context, name string) error {
	h, err := k.open(ctx, name)
	if err != nil {
		return err
	}
	defer k.s.fs.Release(h)
	for range 1 + k.rng.IntN(4) {
		first, n := uint64(k.rng.IntN(blocksMax-runMax)), uint64(1+k.rng.IntN(runMax))
		if err := k.write(ctx, h, name, name, first, n); err != nil {
			return err
		}
		if k.rng.IntN(3) == 0 {
			if err := k.s.fs.Fsync(ctx, h); err != nil {
				return err
			}
			k.l.say("synced %s", name)
		}
	}
	return k.s.fs.Flush(ctx, h)
}

// write writes blocks of a file, which will be known as another.
func (k *worker) write(ctx context.Context, h vfs.Handle, name, known string, first, n uint64) error {
	k.version++
	p := make([]byte, n*blockBytes)
	for i := range n {
		block(p[i*blockBytes:(i+1)*blockBytes], known, k.version, first+i)
	}
	k.l.say("write? %s %d %d %d", name, first, n, k.version)
	_, err := k.s.fs.Write(ctx, h, int64(first)*blockBytes, p, false)
	return err
}

// replace writes a new file and renames it over the old one, without any fsync.
func (k *worker) replace(ctx context.Context, name string) error {
	e, err := k.s.fs.Lookup(ctx, meta.Root, name, nil)
	if err != nil || e.Inode.Ino == 0 {
		return err // only a rename over something is a promise
	}
	tmp := name + ".new"
	if err := k.s.fs.Unlink(ctx, meta.Root, tmp); err != nil && !errors.Is(err, fault.NotExist) {
		return err
	}
	_, o, err := k.s.fs.Create(ctx, vfs.Caller{}, meta.Root, tmp, 0o644, vfs.Mode{Read: true, Write: true}, nil)
	if err != nil {
		return err
	}
	n := uint64(1 + k.rng.IntN(100))
	err = k.write(ctx, o.Handle, tmp, name, 0, n)
	if err == nil {
		err = k.s.fs.Flush(ctx, o.Handle)
	}
	k.s.fs.Release(o.Handle)
	if err != nil {
		return err
	}
	k.l.say("rename? %s %d %d", name, n, k.version)
	if err := k.s.fs.Rename(ctx, meta.Root, tmp, meta.Root, name, 0); err != nil {
		return err
	}
	k.l.say("renamed %s", name)
	return nil
}

func (k *worker) remove(ctx context.Context, name string) error {
	e, err := k.s.fs.Lookup(ctx, meta.Root, name, nil)
	if err != nil || e.Inode.Ino == 0 {
		return err
	}
	k.l.say("remove? %s", name)
	if err := k.s.fs.Unlink(ctx, meta.Root, name); err != nil {
		return err
	}
	k.l.say("removed %s", name)
	return nil
}
