package wal

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"syscall"
	"testing"

	"dfs/blockstore/disk"
	"dfs/cluster/fault"
)

// script saves batches of five entries, replaces some, compacts and resets, until something fails. It returns what was
// promised: the entries, and the term of the last vote.
func script(l *Log) (promised []Entry, term uint64, err error) {
	for i := uint64(1); i < 200; i += 5 {
		term++
		es := entries(i, i+5, term)
		hard := Hard{Term: term, Vote: 1, Commit: i}
		b := Batch{Entries: es, Hard: &hard}
		if i%35 == 1 && i > 1 { // a leader that had never heard of the last two
			b.Entries = entries(i-2, i+5, term)
			promised = promised[:len(promised)-2]
		}
		if err := l.Save(b); err != nil {
			return promised, term - 1, err
		}
		promised = append(promised, b.Entries...)
		if i%50 == 1 && i > 1 {
			if err := l.Compact(i-20, Conf{i - 20, []byte("conf")}); err != nil {
				return promised, term, err
			}
		}
	}
	return promised, term, nil
}

// holds checks that a log opened later has all that was promised.
func holds(l *Log, promised []Entry, term uint64) error {
	if l.Hard().Term < term {
		return fmt.Errorf("the vote of term %d is forgotten: %v", term, l.Hard())
	}
	if len(promised) == 0 {
		return nil
	}
	last := promised[len(promised)-1].Index
	if l.Last() < last || l.First() > last+1 {
		return fmt.Errorf("promised up to %d, there is %d to %d", last, l.First(), l.Last())
	}
	for _, e := range promised {
		if e.Index < l.First() {
			continue
		}
		got, err := l.Entries(e.Index, e.Index+1, 1<<20)
		if err != nil || !same(got, []Entry{e}) {
			return fmt.Errorf("entry %d: %v, %v", e.Index, got, err)
		}
	}
	return nil
}

// TestEveryCallFails fails each call of a history in turn, reads and openings too: with an I/O error, with a full disk,
// with writes that are cut short and syncs that forget. The log takes nothing more and says why, for ever. After the
// process has ended it opens again and holds what it promised, and so it does after the power was cut on top.
func TestEveryCallFails(t *testing.T) {
	for _, errno := range []syscall.Errno{syscall.EIO, syscall.ENOSPC} {
		swept := 0
		for n := 1; ; n++ {
			done, err := failAt(n, errno)
			if err != nil {
				t.Fatalf("%v at call %d: %v", errno, n, err)
			}
			if done {
				break
			}
			swept = n
		}
		if swept < 150 {
			t.Errorf("only %d calls were failed", swept)
		}
	}
}

// failAt fails call n. Done says that there were fewer.
func failAt(n int, errno syscall.Errno) (done bool, err error) {
	m := disk.NewMemory()
	calls := 0
	d := disk.Faulty(m, func(disk.Op, string) error {
		if calls++; calls == n {
			return errno
		}
		return nil
	})
	o := Options{SegmentBytes: 1 << 10, CacheBytes: 1 << 9}
	l, err := Open(d, "me", o)
	var promised []Entry
	var term uint64
	if err == nil {
		promised, term, err = script(l)
		if err != nil {
			if errno == syscall.ENOSPC && fault.KindOf(err) != fault.NoSpace {
				return false, fmt.Errorf("a full disk is called %w", err)
			}
			if again := l.Save(Batch{Entries: entries(500, 501, 9)}); !errors.Is(again, errno) {
				return false, fmt.Errorf("after a failed save: %v", again)
			}
		} else if err := l.Close(); calls < n {
			return true, err
		}
	}
	if !errors.Is(err, errno) && err != nil {
		return false, err
	}
	for again := range 3 { // and whatever was made of it is safe, too
		m.Cut(nil)
		if again == 2 {
			m.Cut(rand.New(rand.NewPCG(uint64(n), 7)))
		}
		l, err := Open(d, "me", o)
		if err != nil {
			return false, fmt.Errorf("opened again: %w", err)
		}
		if err := holds(l, promised, term); err != nil {
			return false, err
		}
		next := Batch{Entries: entries(l.Last()+1, l.Last()+4, term+1), Hard: &Hard{Term: term + 1}}
		if err := l.Save(next); err != nil {
			return false, err
		}
		promised, term = append(promised, next.Entries...), term+1
	}
	return false, nil
}
