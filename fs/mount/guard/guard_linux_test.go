package guard

import (
	"os"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"dfs/fs/coherence"
)

// TestMain also plays the guard's process.
func TestMain(m *testing.M) {
	if len(os.Args) > 1 && os.Args[1] == "guard" {
		if err := Main(os.Args[1:]); err != nil {
			os.Stderr.WriteString(err.Error() + "\n")
			os.Exit(1)
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

// device is one end of a socket in the place of a FUSE device: what the guard writes can be read from the other.
func device(t *testing.T) (guards int, read func(within time.Duration) bool) {
	t.Helper()
	pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_SEQPACKET|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { unix.Close(pair[1]) })
	return pair[0], func(within time.Duration) bool {
		ts := unix.NsecToTimespec(int64(within))
		n, err := unix.Ppoll([]unix.PollFd{{Fd: int32(pair[1]), Events: unix.POLLIN}}, &ts, nil)
		if err != nil {
			t.Fatal(err)
		}
		if n == 0 {
			return false
		}
		var msg [64]byte
		n, err = unix.Read(pair[1], msg[:])
		if n == 0 && err == nil {
			return false // nobody has the device any more
		}
		if err != nil || n != 16 || msg[0] != 16 || msg[4] != 8 {
			t.Fatalf("the guard wrote %v, %v", msg[:max(n, 0)], err)
		}
		return true
	}
}

func now(t *testing.T) time.Duration {
	t.Helper()
	now, err := boottime()
	if err != nil {
		t.Fatal(err)
	}
	return now
}

func TestAGuardExpiresNamesBeforeTheLeaseEnds(t *testing.T) {
	fd, expired := device(t)
	defer unix.Close(fd)
	g, err := Start(fd, os.Args[0], "guard")
	if err != nil {
		t.Fatal(err)
	}
	defer g.Close()
	if expired(2 * coherence.GuardMargin) {
		t.Fatal("names were expired although there was no lease")
	}
	end := now(t) + 3*coherence.GuardMargin
	g.Watch(end)
	if !expired(time.Minute) {
		t.Fatal("names were not expired")
	}
	if at := now(t); at < end-coherence.GuardMargin {
		t.Fatalf("names were expired %v before the lease's end", end-at)
	}
	if !expired(time.Minute) {
		t.Fatal("names were expired once only")
	}
	g.Watch(now(t) + time.Hour)
	for expired(4 * coherence.DeliverySlack) { // what was on its way
	}
}

func TestAGuardEndsWithTheDaemon(t *testing.T) {
	fd, expired := device(t)
	g, err := Start(fd, os.Args[0], "guard")
	if err != nil {
		t.Fatal(err)
	}
	select {
	case <-g.Gone():
		t.Fatal("it has ended by itself")
	default:
	}
	if err := g.Close(); err != nil { // as the end of the process does
		t.Fatal(err)
	}
	select {
	case <-g.Gone():
	default:
		t.Fatal("it is still there")
	}
	unix.Close(fd)
	if !expired(time.Minute) {
		t.Fatal("names outlived the daemon")
	}
	if began := time.Now(); expired(time.Minute) || time.Since(began) > 30*time.Second {
		t.Fatal("its process still has the device")
	}
	if err := g.Close(); err != nil {
		t.Fatalf("closed again: %v", err)
	}
	g.Watch(now(t)) // comes late, and harms nobody
}

func TestAProgramThatIsNoGuardIsAnError(t *testing.T) {
	fd, _ := device(t)
	defer unix.Close(fd)
	for _, program := range []string{"/bin/false", "/nowhere/guard"} {
		if g, err := Start(fd, program); err == nil {
			g.Close()
			t.Errorf("%s is a guard", program)
		}
	}
}
