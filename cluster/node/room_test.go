package node

import (
	"errors"
	"fmt"
	"syscall"
	"testing"

	"dfs/cluster"
	"dfs/cluster/fault"
	"dfs/fs/meta"
)

// Names are refused as soon as the drive could not go on without voters whose disks are nearly full, and not before.
func TestCramped(t *testing.T) {
	const ample, tight, unknown = 1 << 30, growReserve - 1, 0
	for _, c := range []struct {
		free []int64
		want bool
	}{
		{nil, false}, {[]int64{ample}, false}, {[]int64{tight}, true}, {[]int64{unknown}, false},
		{[]int64{ample, ample, tight}, false}, {[]int64{ample, tight, tight}, true}, {[]int64{ample, unknown, tight}, false},
		{[]int64{tight, tight, ample, ample, ample}, false}, {[]int64{tight, tight, tight, ample, ample}, true},
	} {
		var voters []cluster.PeerID
		free := map[cluster.PeerID]int64{}
		for i, f := range c.free {
			id := cluster.PeerID{byte(i + 1)}
			voters = append(voters, id)
			free[id] = f
		}
		if got := cramped(voters, func(id cluster.PeerID) int64 { return free[id] }); got != c.want {
			t.Errorf("%v: %v", c.free, got)
		}
	}
}

// What is left of nearly full disks is for deletes, and for commits of bytes that are placed already.
func TestNamesAreRefusedFirst(t *testing.T) {
	var s store
	ops := []struct {
		op   meta.Op
		grow bool
	}{
		{meta.Create{}, true}, {meta.Link{}, true}, {meta.SetXattr{}, true}, {meta.RemoveXattr{}, false}, {meta.Unlink{}, false}, {meta.Commit{}, false}, {meta.Rename{}, false}, {meta.Reap{}, false},
	}
	for _, o := range ops {
		if err := s.grows(o.op); err != nil {
			t.Errorf("%T with room: %v", o.op, err)
		}
	}
	s.cramped.Store(true)
	for _, o := range ops {
		if err := s.grows(o.op); errors.Is(err, fault.NoSpace) != o.grow || !o.grow && err != nil {
			t.Errorf("%T without room: %v", o.op, err)
		}
	}
}

// A disk that fails ends the peer for good; one that is full does not.
func TestDiskFailed(t *testing.T) {
	n := &Node{cfg: Config{Data: "/data"}}
	for _, c := range []struct {
		err  error
		want fault.Kind
	}{
		{nil, fault.Other},
		{fmt.Errorf("log: %w", syscall.EIO), fault.ReadOnly},
		{fault.Wrap("log", syscall.EROFS), fault.ReadOnly},
		{fault.Because("log", fault.NoSpace, syscall.ENOSPC), fault.NoSpace},
		{fault.New("state", fault.ReadOnly, "tables cannot be written"), fault.ReadOnly},
		{fault.New("start", fault.Busy, "port in use"), fault.Busy},
	} {
		if got := n.diskFailed(c.err); fault.KindOf(got) != c.want || (got == nil) != (c.err == nil) {
			t.Errorf("%v became %v", c.err, got)
		}
	}
	if got := cause(fault.Wrap("a", fault.Because("b", fault.ReadOnly, syscall.EIO))); got != "input/output error" {
		t.Errorf("the cause is %q", got)
	}
}
