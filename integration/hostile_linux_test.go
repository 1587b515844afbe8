package integration

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/binary"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"dfs/cluster/admin"
	"dfs/integration/harness"
)

// door is one way into a peer.
type door struct {
	name string
	dial func() (net.Conn, error)
}

// doors are all ways by which a stream can be opened to a peer.
func doors(p *harness.Peer) []door {
	self := p.Status().Self
	tcp := func(addr string) func() (net.Conn, error) {
		return func() (net.Conn, error) { return net.DialTimeout("tcp", addr, 5*time.Second) }
	}
	unix := func(name string) func() (net.Conn, error) {
		return func() (net.Conn, error) { return admin.Dial(context.Background(), p.Data, name) }
	}
	return []door{
		{"transport", tcp(self.Listen)}, {"dashboard", tcp(self.HTTP)},
		{"control socket", unix(admin.SocketName)}, {"sidecar's socket", unix("plane.sock")},
	}
}

// closes fails the test unless the other side closes c within limit, whatever it says before.
func closes(t *testing.T, what string, c net.Conn, limit time.Duration) {
	began := time.Now()
	c.SetReadDeadline(began.Add(limit))
	if _, err := io.Copy(io.Discard, c); err != nil && os.IsTimeout(err) {
		t.Errorf("%s: still open after %v", what, limit)
	}
}

// process is one process's memory and descriptors.
type process struct{ rss, peak, fds int64 }

func look(t *testing.T, pid int) (p process) {
	t.Helper()
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(text)) {
		f := strings.Fields(line)
		if len(f) < 2 {
			continue
		}
		kib, _ := strconv.ParseInt(f[1], 10, 64)
		switch f[0] {
		case "VmRSS:":
			p.rss = kib << 10
		case "VmHWM:":
			p.peak = kib << 10
		}
	}
	fds, err := os.ReadDir(fmt.Sprintf("/proc/%d/fd", pid))
	if err != nil {
		t.Fatal(err)
	}
	p.fds = int64(len(fds))
	return p
}

// user writes and reads files in two mounts until stop, and returns the longest that one operation took.
type user struct {
	stop  chan struct{}
	ended chan struct{}
	files int
	worst time.Duration
	err   error
}

func use(a, b *harness.Peer) *user {
	u := &user{stop: make(chan struct{}), ended: make(chan struct{})}
	go func() {
		defer close(u.ended)
		for ; u.err == nil; u.files++ {
			select {
			case <-u.stop:
				return
			default:
			}
			name, data := fmt.Sprintf("used-%d", u.files%50), content(uint64(u.files), 1+u.files*997%100_000)
			began := time.Now()
			if u.err = os.WriteFile(a.Path(name), data, 0o644); u.err != nil {
				return
			}
			got, err := os.ReadFile(b.Path(name))
			if u.err = err; err == nil && !bytes.Equal(got, data) {
				u.err = fmt.Errorf("%s: %d of %d bytes", name, len(got), len(data))
			}
			u.worst = max(u.worst, time.Since(began))
		}
	}()
	return u
}

func (u *user) end(t *testing.T) {
	t.Helper()
	close(u.stop)
	<-u.ended
	t.Logf("%d files meanwhile, the slowest written and read in %v", u.files, u.worst)
	if u.err != nil {
		t.Errorf("the drive's user: %v", u.err)
	}
	if u.files == 0 {
		t.Error("the drive stood still")
	}
}

// whisper sends the beginning of something, then a byte now and then, until the other side has had enough.
func whisper(c net.Conn, first []byte) {
	if _, err := c.Write(first); err != nil {
		return
	}
	tick := time.NewTicker(300 * time.Millisecond)
	defer tick.Stop()
	for range tick.C {
		if _, err := c.Write([]byte{'x'}); err != nil {
			return
		}
	}
}

// Strangers send garbage, claim huge lengths, begin and do not go on, and sit there in thousands, at every door of a peer
// that is being used. Its memory and descriptors stay bounded, every stranger is shown out in time, the drive works
// meanwhile, and who has business gets in.
func TestHostilePorts(t *testing.T) {
	const (
		bound  = 20 * time.Second // 5 s of handshake or question and a bit, times two for a busy machine
		growth = 96 << 20
	)
	c := harness.Start(t, 3, harness.Options{})
	p := c.Peer(1)
	all := doors(p)
	u := use(p, c.Peer(2))
	before := look(t, p.Daemon())

	join, err := tls.Dial("tcp", p.Status().Self.Listen, &tls.Config{InsecureSkipVerify: true, NextProtos: []string{"dfs-join/1"}})
	if err != nil {
		t.Fatal(err)
	}
	frame := make([]byte, 32) // a request to join, of as many bytes as a number can say
	copy(frame, []byte{0xD5, 0xF5, 1, 1, 0, 0x10})
	binary.BigEndian.PutUint32(frame[20:], 1<<32-1)
	join.Write(frame)
	closes(t, "a huge frame in a join", join, bound)
	join.Close()

	noise := make([]byte, 1<<20)
	rng := rand.New(rand.NewPCG(3, 3))
	for i := range noise {
		noise[i] = byte(rng.Uint32())
	}
	hello := append([]byte{22, 3, 1, 0x3f, 0xff, 1, 0, 0x3f, 0xfb}, noise[:64]...) // a TLS hello of 16 KiB, hardly begun
	post := "POST /v1/status HTTP/1.1\r\nHost: control\r\nContent-Length: 100000000000\r\n\r\n{\"path\":\""
	slow := map[string][]byte{
		"nothing":                 nil,
		"half a hello":            hello,
		"half a record":           {22, 3, 1, 0xff, 0xff},
		"half a line":             []byte("GET / HT"),
		"headers without an end":  []byte("GET / HTTP/1.1\r\nHost: localhost\r\nX-A: "),
		"a body without an end":   []byte(post),
		"a chunked body that ...": []byte("POST /v1/stat HTTP/1.1\r\nHost: control\r\nTransfer-Encoding: chunked\r\n\r\nffffffffff\r\n{"),
	}
	var strangers sync.WaitGroup
	for _, d := range all {
		for name, first := range slow {
			strangers.Go(func() {
				conn, err := d.dial()
				if err != nil {
					t.Errorf("%s: %v", d.name, err)
					return
				}
				defer conn.Close()
				strangers.Go(func() { whisper(conn, first) })
				closes(t, d.name+": "+name, conn, bound)
			})
		}
		for range 20 {
			strangers.Go(func() {
				conn, err := d.dial()
				if err != nil {
					t.Errorf("%s: %v", d.name, err)
					return
				}
				defer conn.Close()
				conn.SetWriteDeadline(time.Now().Add(bound))
				conn.Write(noise)
				closes(t, d.name+": noise", conn, bound)
			})
		}
	}
	strangers.Go(func() { // packets
		conn, err := net.Dial("udp", p.Status().Self.Listen)
		if err != nil {
			t.Error(err)
			return
		}
		defer conn.Close()
		for i := range 20_000 {
			n := 1 + i*7919%60_000
			if i%10 > 0 {
				n = 1 + i%1400
			}
			conn.Write(noise[i : i+n])
		}
	})
	strangers.Wait()

	// They sit there. Each door takes its own, and those with business come through.
	const crowd = 1500
	var idle []net.Conn
	defer func() {
		for _, conn := range idle {
			conn.Close()
		}
	}()
	for _, d := range all {
		for range crowd {
			conn, err := d.dial()
			if err != nil {
				t.Fatalf("%s: %v after %d", d.name, err, len(idle))
			}
			idle = append(idle, conn)
		}
	}
	during := look(t, p.Daemon())
	if out, code := p.Ctl("status"); code != 0 {
		t.Errorf("status among strangers: exit code %d, %s", code, out)
	}
	resp, err := (&http.Client{Timeout: 10 * time.Second}).Get("http://" + p.Status().Self.HTTP + "/health")
	if err != nil || resp.StatusCode != http.StatusOK {
		t.Errorf("health among strangers: %v, %v", resp, err)
	} else {
		resp.Body.Close()
	}
	c.Add() // a machine joins, asking the peer under siege
	if during.fds > before.fds+1000 {
		t.Errorf("%d descriptors, %d before", during.fds, before.fds)
	}
	for i, conn := range idle {
		closes(t, fmt.Sprintf("idle connection %d", i), conn, 3*bound)
		if t.Failed() {
			break
		}
	}
	after := look(t, p.Daemon())
	t.Logf("before %+v, among strangers %+v, after %+v", before, during, after)
	if after.rss > before.rss+growth || after.peak > before.peak+growth {
		t.Errorf("memory grew from %d to %d MiB, at the most %d", before.rss>>20, after.rss>>20, after.peak>>20)
	}
	if after.fds > before.fds+64 {
		t.Errorf("%d descriptors, %d before", after.fds, before.fds)
	}
	u.end(t)
	c.WaitHealthy()
	info, err := os.Stat(filepath.Clean(p.Log))
	if err != nil || info.Size() > 256<<10 {
		t.Errorf("strangers have filled the log: %v bytes, %v", info.Size(), err)
	}
}
