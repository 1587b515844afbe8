package harness

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// port is where every peer of a Net listens.
const port = 9001

// Net is an ethernet of a cluster's own: every peer has a network namespace with one cable to a switch, which is
// a namespace too, and which can drop what goes from one peer to another. Nothing has a name outside; when the test's
// process ends, by whatever means, all of it is gone.
type Net struct {
	t      testing.TB
	middle space   // the switch, with one port a peer: p1, p2, ...
	spaces []space // the peers'
}

// space is a network namespace that lives as long as its descriptor is open.
type space struct{ *os.File }

// NeedNet skips the test where network namespaces cannot be made.
func NeedNet(t testing.TB) {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("network namespaces need root")
	}
	for _, tool := range []string{"ip", "nft"} {
		if _, err := exec.LookPath(tool); err != nil {
			if os.Getenv("CI") == "true" {
				t.Fatalf("%s is missing: apt-get install iproute2 nftables", tool)
			}
			t.Skipf("%s is missing: apt-get install iproute2 nftables", tool)
		}
	}
}

func newNet(t testing.TB) *Net {
	t.Helper()
	NeedNet(t)
	n := &Net{t: t}
	n.middle = n.newSpace()
	n.run(n.middle, "ip", "link", "add", "switch", "type", "bridge")
	n.run(n.middle, "ip", "link", "set", "switch", "up")
	n.run(n.middle, "nft", `add table bridge cable
		add set bridge cable cut { type ifname . ifname; }
		add chain bridge cable forward { type filter hook forward priority 0; }
		add rule bridge cable forward iifname . oifname @cut drop`)
	return n
}

// newSpace makes a network namespace.
func (n *Net) newSpace() space {
	n.t.Helper()
	var made space
	err := onThread(func() error {
		if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
			return err
		}
		f, err := os.Open("/proc/thread-self/ns/net")
		made = space{f}
		return err
	})
	if err != nil {
		n.t.Skipf("network namespaces: %v", err)
	}
	n.t.Cleanup(func() { made.Close() })
	return made
}

// plug gives one more peer its namespace and its cable, and returns its address.
func (n *Net) plug() string {
	n.t.Helper()
	s := n.newSpace()
	n.spaces = append(n.spaces, s)
	i := len(n.spaces)
	cable, addr := fmt.Sprintf("p%d", i), fmt.Sprintf("10.9.0.%d", i)
	n.run(n.middle, "ip", "link", "add", cable, "type", "veth", "peer", "name", "eth0", "netns", fmt.Sprintf("/proc/%d/fd/%d", os.Getpid(), s.Fd()))
	n.run(n.middle, "ip", "link", "set", cable, "master", "switch", "up")
	n.run(s, "ip", "link", "set", "lo", "up")
	n.run(s, "ip", "addr", "add", addr+"/24", "dev", "eth0")
	n.run(s, "ip", "link", "set", "eth0", "up")
	return fmt.Sprintf("%s:%d", addr, port)
}

// run runs a program in a namespace.
func (n *Net) run(s space, name string, args ...string) {
	n.t.Helper()
	var out []byte
	err := s.in(func() (err error) {
		out, err = exec.Command(name, args...).CombinedOutput()
		return err
	})
	if err != nil {
		n.t.Fatalf("%s %v: %v\n%s", name, args, err, out)
	}
}

// in runs fn on a thread that is in the namespace: what fn starts is in it too.
func (s space) in(fn func() error) error {
	return onThread(func() error {
		if err := unix.Setns(int(s.Fd()), unix.CLONE_NEWNET); err != nil {
			return err
		}
		return fn()
	})
}

// onThread runs fn on a thread of its own, which ends with it.
func onThread(fn func() error) error {
	done := make(chan error)
	go func() {
		runtime.LockOSThread() // never unlocked: the thread ends with the goroutine
		err := errors.New("did not return")
		defer func() { done <- err }()
		err = fn()
	}()
	return <-done
}

// CutOneWay drops what peer from sends to peer to.
func (c *Cluster) CutOneWay(from, to int) {
	c.t.Helper()
	c.net.run(c.net.middle, "nft", "add", "element", "bridge", "cable", "cut", fmt.Sprintf("{ p%d . p%d }", from, to))
}

// Cut drops what peers a and b send each other.
func (c *Cluster) Cut(a, b int) {
	c.t.Helper()
	c.net.run(c.net.middle, "nft", "add", "element", "bridge", "cable", "cut", fmt.Sprintf("{ p%d . p%d, p%d . p%d }", a, b, b, a))
}

// Isolate cuts every peer of the group off from every peer outside it.
func (c *Cluster) Isolate(group ...int) {
	c.t.Helper()
	var pairs []string
	in := map[int]bool{}
	for _, i := range group {
		in[i] = true
	}
	for a := range len(c.peers) {
		for b := range len(c.peers) {
			if in[a+1] != in[b+1] {
				pairs = append(pairs, fmt.Sprintf("p%d . p%d", a+1, b+1))
			}
		}
	}
	c.net.run(c.net.middle, "nft", "add", "element", "bridge", "cable", "cut", "{ "+strings.Join(pairs, ", ")+" }")
}

// Heal mends every cut.
func (c *Cluster) Heal() {
	c.t.Helper()
	c.net.run(c.net.middle, "nft", "flush", "set", "bridge", "cable", "cut")
}
