package harness

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"strings"
	"time"

	"dfs/cluster/admin"
)

// members returns the peers that belong to the cluster, running or not.
func (c *Cluster) members() (ps []*Peer) {
	for _, p := range c.peers {
		if !p.left {
			ps = append(ps, p)
		}
	}
	return ps
}

// Name returns what the peer called itself at its first start; another may have had that name already.
func (p *Peer) Name() string { return fmt.Sprintf("peer-%d", p.n) }

// Token makes a token for one more peer.
func (p *Peer) Token() string {
	p.c.t.Helper()
	tok, err := p.Admin.CreateToken(p.c.t.Context(), admin.TokenAsk{Uses: 1, TTL: time.Hour})
	if err != nil {
		p.c.t.Fatalf("token: %v", err)
	}
	return tok.Text
}

// Join starts the peer with nothing in its data directory, as a new member, and returns when it serves.
func (p *Peer) Join(token string) {
	p.c.t.Helper()
	p.left = false
	p.first(token)
	p.WaitReady()
}

// Dfsd runs dfsd against the peer's data directory and returns its output and exit code.
func (p *Peer) Dfsd(verb string, args ...string) (string, int) {
	p.c.t.Helper()
	cmd := exec.Command(Program("dfsd"), append([]string{verb, "--data", p.Data}, args...)...)
	out, err := cmd.CombinedOutput()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		p.c.t.Fatal(err)
	}
	return string(out), cmd.ProcessState.ExitCode()
}

// Leave has the peer end its membership, and returns when it has ended. The cluster goes on without it.
func (p *Peer) Leave() {
	p.c.t.Helper()
	if out, code := p.Dfsd("leave"); code != 0 {
		p.c.t.Fatalf("peer %d does not leave: %d %s", p.n, code, out)
	}
	p.left = true
	if code := p.WaitEnd(); code != 0 {
		p.c.t.Errorf("peer %d left and ended with exit code %d", p.n, code)
	}
}

// Forget says that the peer is no member any more, by whatever means.
func (p *Peer) Forget() { p.left = true }

// WaitEnd returns the exit code of `dfsd up` once it has ended by itself.
func (p *Peer) WaitEnd() int {
	p.c.t.Helper()
	p.mu.Lock()
	cmd, ended := p.cmd, p.ended
	p.mu.Unlock()
	select {
	case <-ended:
	case <-time.After(readyWithin):
		p.c.t.Fatalf("peer %d does not end", p.n)
	}
	return cmd.ProcessState.ExitCode()
}

// Logged returns how often the peer's log has a text.
func (p *Peer) Logged(text string) int {
	log, err := os.ReadFile(p.Log)
	if err != nil {
		p.c.t.Fatal(err)
	}
	return strings.Count(string(log), text)
}

// Metric returns one of the peer's figures.
func (p *Peer) Metric(name string) (value float64) {
	p.c.t.Helper()
	resp, err := http.Get("http://" + p.Status().Self.HTTP + "/metrics")
	if err != nil {
		p.c.t.Fatal(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		p.c.t.Fatal(err)
	}
	for line := range strings.Lines(string(text)) {
		if rest, ok := strings.CutPrefix(line, name+" "); ok {
			fmt.Sscan(rest, &value)
			return value
		}
	}
	p.c.t.Fatalf("peer %d has no metric %s", p.n, name)
	return 0
}
