package admin_test

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"reflect"
	"runtime"
	"strings"
	"testing"
	"time"

	"dfs/cluster/admin"
	"dfs/cluster/admin/admintest"
	"dfs/cluster/fault"
)

// serve runs a server over a fake in a fresh data directory.
func serve(t *testing.T, data, httpAddr string) (*admintest.Fake, *admin.Server, *admin.Client, <-chan struct{}) {
	t.Helper()
	fake := admintest.New(data, "/mnt/dfs")
	stopped := make(chan struct{}, 8)
	s, err := admin.NewServer(admin.Options{Data: data, HTTP: httpAddr, Stop: func() { stopped <- struct{}{} }})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- s.Run(ctx, fake) }()
	t.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
		if _, err := os.Stat(filepath.Join(data, admin.SocketName)); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("the socket is left behind: %v", err)
		}
	})
	return fake, s, admin.NewClient(data), stopped
}

func TestClientAnswersAsTheNode(t *testing.T) {
	data := t.TempDir()
	fake, s, c, stopped := serve(t, data, "127.0.0.1:0")
	ctx := t.Context()

	st, err := c.Status(ctx)
	if err != nil || st.Schema != 1 || st.Cluster.Name != "amber-otter" || st.Self.HTTP != s.HTTP() || len(st.Peers) != 1 {
		t.Errorf("status %+v, %v", st, err)
	}
	if w, err := c.Where(ctx, admintest.File); err != nil || w.Schema != 1 || len(w.Extents) != 1 {
		t.Errorf("where %+v, %v", w, err)
	}
	if f, err := c.Stat(ctx, admintest.File); err != nil || f.Size != 5 {
		t.Errorf("stat %+v, %v", f, err)
	}
	if l, err := c.SetLayout(ctx, "/", "copies=3"); err != nil || l.Copies != 3 {
		t.Errorf("layout set %+v, %v", l, err)
	}
	if l, err := c.Layout(ctx, "/"); err != nil || l.Copies != 3 {
		t.Errorf("layout get %+v, %v", l, err)
	}
	tok, err := c.CreateToken(ctx, admin.TokenAsk{TTL: time.Hour, Uses: 2})
	if err != nil || tok.Text == "" || tok.Uses != 2 {
		t.Errorf("token create %+v, %v", tok, err)
	}
	if ts, err := c.Tokens(ctx); err != nil || len(ts) != 1 || ts[0].Text != "" {
		t.Errorf("token list %+v, %v", ts, err)
	}
	if err := c.RevokeToken(ctx, tok.ID); err != nil {
		t.Error(err)
	}
	if err := c.Unmount(ctx); err != nil || !fake.Unmounted() {
		t.Error("unmount", err)
	}
	if err := c.Leave(ctx); err != nil || !fake.Left() {
		t.Error("leave", err)
	}
	if err := c.Stop(ctx); err != nil {
		t.Error(err)
	}
	<-stopped
}

func TestErrorsKeepTheirKind(t *testing.T) {
	_, _, c, _ := serve(t, t.TempDir(), "off")
	_, err := c.Where(t.Context(), "/none")
	if !errors.Is(err, fault.NotExist) || err.Error() != "where: /none: does not exist" {
		t.Errorf("where: %v", err)
	}
	if _, err := c.SetLayout(t.Context(), "/", "nonsense"); !errors.Is(err, fault.Invalid) {
		t.Errorf("layout set: %v", err)
	}
	if _, err := c.CreateToken(t.Context(), admin.TokenAsk{Uses: -1}); !errors.Is(err, fault.Invalid) {
		t.Errorf("token create: %v", err)
	}
}

func TestNobodyServes(t *testing.T) {
	data := t.TempDir()
	c := admin.NewClient(data)
	if _, err := c.Status(t.Context()); !errors.Is(err, fault.NotExist) {
		t.Errorf("no socket: %v", err)
	}
	l, err := admin.ListenSocket(data)
	if err != nil {
		t.Fatal(err)
	}
	raw, err := os.Stat(filepath.Join(data, admin.SocketName))
	if err != nil || runtime.GOOS != "windows" && raw.Mode().Perm() != 0o600 {
		t.Errorf("mode %v, %v", raw.Mode(), err)
	}
	l.Close()

	// A killed daemon leaves its socket behind: nobody answers, and the next one replaces it.
	dead, err := net.ListenUnix("unix", &net.UnixAddr{Name: filepath.Join(data, admin.SocketName), Net: "unix"})
	if err != nil {
		t.Fatal(err)
	}
	dead.SetUnlinkOnClose(false)
	dead.Close()
	if _, err := c.Status(t.Context()); !errors.Is(err, fault.Unreachable) {
		t.Errorf("dead socket: %v", err)
	}
	_, _, c, _ = serve(t, data, "off")
	if _, err := c.Status(t.Context()); err != nil {
		t.Error(err)
	}
}

func TestLongDataPath(t *testing.T) {
	data := filepath.Join(t.TempDir(), strings.Repeat("long/", 30))
	if err := os.MkdirAll(data, 0o700); err != nil {
		t.Fatal(err)
	}
	if runtime.GOOS != "linux" {
		t.Skip("long socket paths need Linux")
	}
	_, _, c, _ := serve(t, data, "off")
	if _, err := c.Status(t.Context()); err != nil {
		t.Error(err)
	}
}

func TestWait(t *testing.T) {
	fake, _, c, _ := serve(t, t.TempDir(), "off")
	fake.Change(func(s *admin.Status) { s.Self.Ready, s.Self.Reason = false, "no leader" })
	err := c.Wait(t.Context(), admin.WaitReady, "", 10*time.Millisecond)
	if !errors.Is(err, fault.Timeout) || !strings.Contains(err.Error(), "no leader") {
		t.Errorf("not ready: %v", err)
	}
	done := make(chan error, 1)
	go func() { done <- c.Wait(context.Background(), admin.WaitReady, "", time.Minute) }()
	fake.Change(func(s *admin.Status) { s.Self.Ready = true })
	if err := <-done; err != nil {
		t.Error(err)
	}
	if err := c.Wait(t.Context(), admin.WaitHealthy, "", time.Minute); err != nil {
		t.Error(err)
	}
	if err := c.Wait(t.Context(), admin.WaitDurable, admintest.File, 10*time.Millisecond); !errors.Is(err, fault.Timeout) {
		t.Errorf("not durable: %v", err)
	}
	if err := c.Wait(t.Context(), admin.WaitDurable, "/none", time.Minute); !errors.Is(err, fault.NotExist) {
		t.Errorf("durable of nothing: %v", err)
	}
	fake.SetDurable(true)
	if err := c.Wait(t.Context(), admin.WaitDurable, admintest.File, time.Minute); err != nil {
		t.Error(err)
	}
	if err := c.Wait(t.Context(), "rich", "", time.Minute); !errors.Is(err, fault.Invalid) {
		t.Errorf("unknown: %v", err)
	}
}

func TestBadQuestions(t *testing.T) {
	data := t.TempDir()
	serve(t, data, "off")
	h := http.Client{Transport: &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return admin.Dial(ctx, data, admin.SocketName)
	}}}
	for body, want := range map[string]string{
		`{"nobody":1}`: `"kind":1,`,
		`{`:            `"kind":1,`,
		`{}{}`:         `"kind":1,`,
		`[]`:           `"kind":1,`,
		`{"path":"` + strings.Repeat("x", 1<<17) + `"}`: `"kind":8,`,
	} {
		resp, err := h.Post("http://control/v1/status", "application/json", strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		text, _ := io.ReadAll(resp.Body)
		resp.Body.Close()
		if resp.StatusCode != http.StatusUnprocessableEntity || !strings.Contains(string(text), want) {
			t.Errorf("%.20s: %s %s", body, resp.Status, text)
		}
	}
}

func get(t *testing.T, url string, set func(*http.Request)) (int, string, http.Header) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	if set != nil {
		set(req)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	text, _ := io.ReadAll(resp.Body)
	return resp.StatusCode, string(text), resp.Header
}

func TestDashboardMetricsHealth(t *testing.T) {
	fake, s, _, _ := serve(t, t.TempDir(), "127.0.0.1:0")
	base := "http://" + s.HTTP()
	fake.Change(func(st *admin.Status) { st.Self.Name = "<script>" })
	code, page, h := get(t, base+"/", nil)
	if code != 200 || !strings.Contains(page, "amber-otter") || strings.Contains(page, "<script>") ||
		!strings.Contains(h.Get("Content-Security-Policy"), "default-src 'none'") {
		t.Errorf("page %d %s", code, page)
	}
	_, metrics, _ := get(t, base+"/metrics", nil)
	for _, line := range []string{`dfs_reads_total{kind="local"} 3`, "dfs_ready 1", "go_goroutines"} {
		if !strings.Contains(metrics, line) {
			t.Errorf("metrics lack %s", line)
		}
	}
	if code, _, _ := get(t, base+"/health", nil); code != 200 {
		t.Errorf("health %d", code)
	}
	fake.Change(func(st *admin.Status) { st.Self.Ready = false })
	if code, _, _ := get(t, base+"/health", nil); code != 503 {
		t.Errorf("health when not ready: %d", code)
	}
	if code, _, _ := get(t, base+"/other", nil); code != 404 {
		t.Errorf("other page: %d", code)
	}
}

func TestStrangersAreTurnedAway(t *testing.T) {
	_, s, _, _ := serve(t, t.TempDir(), "127.0.0.1:0")
	base := "http://" + s.HTTP()
	if code, _, _ := get(t, base+"/", func(r *http.Request) { r.Host = "rebound.example" }); code != http.StatusMisdirectedRequest {
		t.Errorf("foreign name: %d", code)
	}
	if code, _, _ := get(t, base+"/", func(r *http.Request) { r.Header.Set("Origin", "http://evil.example") }); code != http.StatusForbidden {
		t.Errorf("foreign origin: %d", code)
	}
	if code, _, _ := get(t, base+"/", func(r *http.Request) { r.Host = "localhost:1" }); code != 200 {
		t.Errorf("localhost: %d", code)
	}
	if code, _, _ := get(t, base+"/", func(r *http.Request) { r.Header.Set("Origin", base) }); code != 200 {
		t.Errorf("own origin: %d", code)
	}
	resp, err := http.Post(base+"/", "text/plain", nil)
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	if resp.StatusCode != http.StatusMethodNotAllowed {
		t.Errorf("POST: %d", resp.StatusCode)
	}
}

func TestAddressInUse(t *testing.T) {
	_, s, _, _ := serve(t, t.TempDir(), "127.0.0.1:0")
	data := t.TempDir()
	_, err := admin.NewServer(admin.Options{Data: data, HTTP: s.HTTP()})
	if !errors.Is(err, fault.Busy) {
		t.Errorf("second on the port: %v", err)
	}
}

// The names in the documents are a contract with scripts: adding is fine, renaming is not.
func TestDocumentNames(t *testing.T) {
	for _, c := range []struct {
		doc  any
		want []string
	}{
		{admin.Status{}, []string{"schema", "cluster", "self", "peers", "repair", "pending_bytes"}},
		{admin.ClusterStatus{}, []string{"id", "name", "health", "reason", "term", "leader"}},
		{admin.SelfStatus{}, []string{"id", "name", "data", "mount", "http", "listen", "plane"}},
		{admin.PeerStatus{}, []string{"id", "name", "addr", "zone", "state", "voter", "stored_bytes", "capacity_bytes", "latency_ns"}},
		{admin.RepairStatus{}, []string{"extents_below_target", "bytes_below_target", "running"}},
		{admin.Where{}, []string{"schema", "path", "ino", "size", "layout", "extents"}},
		{admin.Layout{}, []string{"copies", "unit_blocks", "policy", "zones", "data", "parity"}},
		{admin.Extent{}, []string{"offset", "blocks", "id", "replicas"}},
		{admin.Replica{}, []string{"peer", "state"}},
	} {
		text, err := json.Marshal(c.doc)
		if err != nil {
			t.Fatal(err)
		}
		var m map[string]any
		if err := json.Unmarshal(text, &m); err != nil {
			t.Fatal(err)
		}
		for _, name := range c.want {
			if _, ok := m[name]; !ok {
				t.Errorf("%s lacks %q", reflect.TypeOf(c.doc), name)
			}
		}
	}
}
