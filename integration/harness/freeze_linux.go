package harness

import (
	"slices"
	"syscall"
	"testing"
)

// Freeze stops the peer as a suspended machine would be: `dfsd up` and all it started, by SIGSTOP. Whoever uses its mount
// hangs until Thaw.
func (p *Peer) Freeze() { p.signal(syscall.SIGSTOP, p.processes()...) }

// FreezeDaemon stops only the daemon that holds the mount.
func (p *Peer) FreezeDaemon() { p.signal(syscall.SIGSTOP, p.Daemon()) }

// Thaw lets everything of the peer go on.
func (p *Peer) Thaw() {
	all := p.processes()
	slices.Reverse(all) // the daemon first: its supervisor might find it silent
	p.signal(syscall.SIGCONT, all...)
}

func (p *Peer) processes() []int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return []int{p.cmd.Process.Pid, p.pid("plane.lock"), p.pid("serve.lock")}
}

func (p *Peer) signal(s syscall.Signal, pids ...int) {
	p.c.t.Helper()
	for _, pid := range pids {
		if pid == 0 {
			continue
		}
		if err := syscall.Kill(pid, s); err != nil {
			p.c.t.Fatalf("signal to process %d of peer %d: %v", pid, p.n, err)
		}
	}
}

// Leader returns the peer that leads, as peer p sees it.
func (c *Cluster) Leader(t testing.TB, p *Peer) *Peer {
	t.Helper()
	id := p.Status().Cluster.Leader
	for _, q := range c.peers {
		if id != "" && q.Status().Self.ID == id {
			return q
		}
	}
	t.Fatalf("peer %d knows no leader: %q", p.n, id)
	return nil
}
