package integration

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"dfs/integration/harness"
)

const mib = 1 << 20

// crowd is a cluster whose peers each have a small disk of their own, which others fill.
type crowd struct {
	*harness.Cluster
	t     *testing.T
	disks []*harness.LoopDisk
}

func newCrowd(t *testing.T, n int) *crowd {
	t.Helper()
	harness.NeedFUSE(t)
	c := &crowd{t: t}
	for range n {
		c.disks = append(c.disks, harness.NewLoopDisk(t, "ext4", 1<<30))
	}
	c.Cluster = harness.Start(t, n, harness.Options{DataOf: func(n int) string { return filepath.Join(c.disks[n-1].Dir, "data") }})
	return c
}

// leave lets somebody else take all of a peer's disk but so many bytes, or give them back.
func (c *crowd) leave(peer int, bytes int64) {
	c.t.Helper()
	d := c.disks[peer-1]
	f, err := os.OpenFile(filepath.Join(d.Dir, "others"), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		c.t.Fatal(err)
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		c.t.Fatal(err)
	}
	size := info.Size() + d.Free(c.t) - bytes
	if size < info.Size() {
		err = f.Truncate(max(0, size))
	} else {
		err = unix.Fallocate(int(f.Fd()), 0, 0, size)
	}
	if err != nil {
		c.t.Fatalf("leave %d MiB to peer %d: %v", bytes/mib, peer, err)
	}
}

// daemons returns the process ids of all daemons.
func (c *crowd) daemons() (pids []int) {
	for _, p := range c.Peers() {
		pids = append(pids, p.Daemon())
	}
	return pids
}

// eventually waits until try is content, generously.
func eventually(t *testing.T, what string, try func() error) {
	t.Helper()
	err := errors.New("not tried")
	for end := time.Now().Add(90 * time.Second); err != nil; {
		if err = try(); err != nil {
			if time.Now().After(end) {
				t.Fatalf("%s: %v", what, err)
			}
			<-time.After(100 * time.Millisecond)
		}
	}
}

func put(path string, data []byte) error {
	f, err := os.Create(path)
	if err != nil {
		return err
	}
	_, err = f.Write(data)
	return errors.Join(err, f.Close())
}

// The drive is filled to the brim: the writer gets ENOSPC and nothing worse. Deleting works, what it gives back can be
// written again, and no daemon had to be started anew for it. When even the log's own reserve shrinks, new names are refused
// and deleting still works.
func TestFullDrive(t *testing.T) {
	c := newCrowd(t, 3)
	for i := range c.disks {
		c.leave(i+1, 256*mib+40*mib)
	}
	before := c.daemons()
	written := map[string][]byte{}
	var err error
	for i := 0; err == nil; i++ {
		if i == 100 {
			t.Fatal("400 MiB fit on three disks with 40 MiB each")
		}
		name := fmt.Sprintf("f-%d", i)
		data := content(uint64(i), 4*mib)
		if err = put(c.Peer(i%3+1).Path(name), data); err == nil {
			written[name] = data
		}
	}
	if !errors.Is(err, syscall.ENOSPC) {
		t.Fatalf("a full drive says %v", err)
	}
	if len(written) < 5 {
		t.Fatalf("it was full after %d files", len(written))
	}
	check := func(peer int) {
		t.Helper()
		for name, data := range written {
			if got, err := os.ReadFile(c.Peer(peer).Path(name)); err != nil || !bytes.Equal(got, data) {
				t.Errorf("%s in mount %d: %d bytes, %v", name, peer, len(got), err)
			}
		}
	}
	for i := range 30 { // and it goes on saying so, however often one tries
		name := fmt.Sprint("more-", i)
		err := put(c.Peer(1).Path(name), content(uint64(i), 4*mib))
		if err != nil && !errors.Is(err, syscall.ENOSPC) {
			t.Fatalf("attempt %d to write more: %v", i, err)
		}
		if err == nil { // the last of the room: nobody knows how much there is to a byte
			written[name] = content(uint64(i), 4*mib)
		}
	}
	if len(written) > 25 {
		t.Fatalf("%d files of 4 MiB fit into three times 40 MiB", len(written))
	}
	check(2)
	for i := range 30 {
		name := fmt.Sprint("more-", i)
		if err := os.Remove(c.Peer(1).Path(name)); err != nil {
			t.Fatalf("delete what did not fit: %v", err)
		}
		delete(written, name)
	}
	for name := range written {
		if len(written) <= 3 {
			break
		}
		if err := os.Remove(c.Peer(1).Path(name)); err != nil {
			t.Fatalf("delete on a full drive: %v", err)
		}
		delete(written, name)
	}
	eventually(t, "to write into what was given back", func() error {
		err := put(c.Peer(2).Path("again"), content(1000, 8*mib))
		if err != nil && !errors.Is(err, syscall.ENOSPC) {
			t.Fatal(err)
		}
		return err
	})
	written["again"] = content(1000, 8*mib)

	eventually(t, "new names to be refused", func() error {
		for i := range c.disks { // again and again: what was deleted is being given back
			c.leave(i+1, 140*mib)
		}
		err := put(c.Peer(3).Path(fmt.Sprint("small-", time.Now().UnixNano())), nil)
		if errors.Is(err, syscall.ENOSPC) {
			return nil
		}
		return fmt.Errorf("it is %v", err)
	})
	if err := os.Remove(c.Peer(3).Path("again")); err != nil {
		t.Fatalf("delete where the log's reserve shrinks: %v", err)
	}
	delete(written, "again")
	for i := range c.disks {
		c.leave(i+1, 600*mib)
	}
	eventually(t, "new names to be taken", func() error { return put(c.Peer(3).Path("small"), nil) })
	check(3)
	for i, pid := range c.daemons() {
		if pid != before[i] {
			t.Errorf("daemon %d was %d and is %d", i+1, before[i], pid)
		}
	}
}

// Others fill the disk of the leader: it stops before its files would kill it, the drive goes on, and when there is room
// again it comes back by itself.
func TestDiskFilledByOthers(t *testing.T) {
	c := newCrowd(t, 3)
	if err := put(c.Peer(1).Path("f"), content(1, mib)); err != nil {
		t.Fatal(err)
	}
	victim, others := leader(t, c.Cluster), []int{1, 2, 3}
	others = append(others[:victim-1:victim-1], others[victim:]...)
	c.leave(victim, 20*mib)
	stopped := c.Peer(victim).Daemon()
	for i := 0; c.Peer(victim).Daemon() == stopped; i++ {
		if err := put(c.Peer(others[i%2]).Path(fmt.Sprint("g-", i)), content(uint64(i), 1000)); err != nil {
			t.Fatalf("while the disk of peer %d is full: %v", victim, err)
		}
		if i == 20_000 {
			t.Fatal("the peer goes on without a disk")
		}
	}
	for _, o := range others {
		if err := put(c.Peer(o).Path(fmt.Sprint("h-", o)), content(uint64(o), 300_000)); err != nil {
			t.Fatalf("with peer %d stopped: %v", victim, err)
		}
	}
	log, err := os.ReadFile(c.Peer(victim).Log)
	if err != nil || !strings.Contains(string(log), "no space") || strings.Contains(string(log), "SIGBUS") {
		t.Errorf("peer %d does not say why it stopped (%v):\n%s", victim, err, log)
	}
	c.leave(victim, 600*mib)
	c.WaitHealthy()
	for _, o := range others {
		want := content(uint64(o), 300_000)
		if got, err := os.ReadFile(c.Peer(victim).Path(fmt.Sprint("h-", o))); err != nil || !bytes.Equal(got, want) {
			t.Errorf("back again: %d bytes, %v", len(got), err)
		}
	}
}

// leader returns the number of the peer that leads.
func leader(t *testing.T, c *harness.Cluster) int {
	t.Helper()
	st := c.Peer(1).Status()
	for _, p := range st.Peers {
		if p.ID == st.Cluster.Leader {
			var n int
			if _, err := fmt.Sscanf(p.Name, "peer-%d", &n); err == nil {
				return n
			}
		}
	}
	t.Fatalf("no leader in %+v", st)
	return 0
}
