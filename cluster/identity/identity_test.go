package identity_test

import (
	"bytes"
	"crypto/ed25519"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"dfs/cluster"
	"dfs/cluster/fault"
	"dfs/cluster/identity"
)

var noon = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

// clock is a time that tests move.
type clock struct {
	mu sync.Mutex
	t  time.Time
}

func (c *clock) now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.t
}

func (c *clock) set(t time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.t = t
}

func newKey(t testing.TB) ed25519.PrivateKey {
	t.Helper()
	_, key, err := ed25519.GenerateKey(nil)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

func public(key ed25519.PrivateKey) ed25519.PublicKey { return key.Public().(ed25519.PublicKey) }

func create(t testing.TB, now func() time.Time) (*identity.Identity, *identity.CA) {
	t.Helper()
	i, ca, err := identity.Create(newKey(t), now)
	if err != nil {
		t.Fatal(err)
	}
	return i, ca
}

func issue(t testing.TB, ca *identity.CA, key ed25519.PublicKey, now time.Time) *x509.Certificate {
	t.Helper()
	der, err := ca.Issue(key, now)
	if err != nil {
		t.Fatal(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return cert
}

func TestAPeerIsKnownByItsCertificate(t *testing.T) {
	c := &clock{t: noon}
	i, ca := create(t, c.now)
	other := newKey(t)
	cert := issue(t, ca, public(other), noon)
	id, err := i.Verify([]*x509.Certificate{cert})
	if err != nil || id != cluster.IDOf(public(other)) {
		t.Fatalf("%v, %v", id, err)
	}
	foreign, foreignCA := create(t, c.now)
	for name, chain := range map[string][]*x509.Certificate{
		"none":                  nil,
		"another cluster's":     {issue(t, foreignCA, public(other), noon)},
		"the authority's own":   {ca.Cert},
		"a foreign authority's": {foreignCA.Cert},
		"from the far future":   {issue(t, ca, public(other), noon.Add(time.Hour))},
		"long expired":          {issue(t, ca, public(other), noon.Add(-400*24*time.Hour))},
	} {
		if _, err := i.Verify(chain); !errors.Is(err, fault.Refused) {
			t.Errorf("%s: %v, want Refused", name, err)
		}
	}
	if _, err := foreign.Verify([]*x509.Certificate{cert}); !errors.Is(err, fault.Refused) {
		t.Errorf("ours, there: %v, want Refused", err)
	}
}

func TestClocksMayDifferByTenMinutes(t *testing.T) {
	for _, c := range []struct {
		ahead time.Duration // of the issuer's clock
		ok    bool
	}{
		{0, true}, {9 * time.Minute, true}, {19 * time.Minute, true}, {21 * time.Minute, false},
		{-365*24*time.Hour - 9*time.Minute, true}, {-365*24*time.Hour - 11*time.Minute, false},
	} {
		i, ca := create(t, (&clock{t: noon}).now)
		_, err := i.Verify([]*x509.Certificate{issue(t, ca, public(newKey(t)), noon.Add(c.ahead))})
		if (err == nil) != c.ok {
			t.Errorf("issued %v from now: %v", c.ahead, err)
		}
	}
}

// A certificate of the right authority for the wrong thing is refused, so that no later use of the key can be turned
// against the links.
func TestTheAuthorityVouchesForItsClusterAlone(t *testing.T) {
	i, ca := create(t, (&clock{t: noon}).now)
	liar, err := identity.LoadCA(ca.Cert.Raw, ca.Key())
	if err != nil {
		t.Fatal(err)
	}
	liar.Cluster = identity.NewClusterID() // signs names of another cluster
	if _, err := i.Verify([]*x509.Certificate{issue(t, liar, public(newKey(t)), noon)}); !errors.Is(err, fault.Refused) {
		t.Errorf("%v, want Refused", err)
	}
	if _, err := identity.LoadCA(ca.Cert.Raw, newKey(t)); !errors.Is(err, fault.Invalid) {
		t.Errorf("an authority with another's key: %v, want Invalid", err)
	}
}

func TestRenewReplacesTheCertificate(t *testing.T) {
	c := &clock{t: noon}
	i, ca := create(t, c.now)
	if due := i.RenewAt(); due.Before(noon.Add(240*24*time.Hour)) || due.After(noon.Add(250*24*time.Hour)) {
		t.Errorf("due at %v", due)
	}
	before := i.Certificate()
	c.set(i.RenewAt())
	if err := i.Renew(issue(t, ca, i.PublicKey(), c.now()).Raw); err != nil {
		t.Fatal(err)
	}
	if i.Certificate() == before || !i.RenewAt().After(c.now()) {
		t.Error("the old certificate stayed")
	}
	now := i.Certificate()
	if err := i.Renew(issue(t, ca, public(newKey(t)), c.now()).Raw); !errors.Is(err, fault.Invalid) {
		t.Errorf("another peer's: %v, want Invalid", err)
	}
	_, foreign := create(t, c.now)
	if err := i.Renew(issue(t, foreign, i.PublicKey(), c.now()).Raw); !errors.Is(err, fault.Refused) {
		t.Errorf("another authority's: %v, want Refused", err)
	}
	if err := i.Renew([]byte("garbage")); !errors.Is(err, fault.Invalid) || i.Certificate() != now {
		t.Errorf("garbage: %v, want Invalid and the old one kept", err)
	}
}

func TestClusterNamesAreStable(t *testing.T) {
	id, again := identity.ClusterID{1, 2, 3}, identity.ClusterID{1, 2, 3}
	if again.Name() != id.Name() || strings.Count(id.Name(), "-") != 1 {
		t.Errorf("%q", id.Name())
	}
	back, err := identity.ParseClusterID(id.String())
	if err != nil || back != id || len(id.String()) != 26 {
		t.Errorf("%v came back as %v, %v", id, back, err)
	}
	if _, err := identity.ParseClusterID("nonsense!"); !errors.Is(err, fault.Invalid) {
		t.Errorf("%v, want Invalid", err)
	}
	seen := map[string]bool{}
	for range 200 {
		seen[identity.NewClusterID().Name()] = true
	}
	if len(seen) < 150 {
		t.Errorf("200 clusters have %d names", len(seen))
	}
}

func TestAWrappedKeyOpensOnlyAtHome(t *testing.T) {
	s, c, key := identity.NewSecret(), identity.NewClusterID(), newKey(t)
	wrapped := identity.WrapKey(s, c, key)
	if bytes.Contains(wrapped, key.Seed()) {
		t.Fatal("the key is in the open")
	}
	back, err := identity.UnwrapKey(s, c, wrapped)
	if err != nil || !back.Equal(key) {
		t.Fatalf("%v", err)
	}
	if bytes.Equal(wrapped, identity.WrapKey(s, c, key)) {
		t.Error("the same key is wrapped the same way twice")
	}
	for name, f := range map[string]func() error{
		"another secret":  func() error { _, err := identity.UnwrapKey(identity.NewSecret(), c, wrapped); return err },
		"another cluster": func() error { _, err := identity.UnwrapKey(s, identity.NewClusterID(), wrapped); return err },
		"a flipped bit": func() error {
			b := bytes.Clone(wrapped)
			b[len(b)-1] ^= 1
			_, err := identity.UnwrapKey(s, c, b)
			return err
		},
		"cut off": func() error { _, err := identity.UnwrapKey(s, c, wrapped[:5]); return err },
	} {
		if err := f(); !errors.Is(err, fault.Refused) {
			t.Errorf("%s: %v, want Refused", name, err)
		}
	}
	if _, err := identity.UnwrapKey(s, c, nil); !errors.Is(err, fault.Unsupported) {
		t.Errorf("nothing: %v, want Unsupported", err)
	}
}

func TestGossipKeysDifferByEpochAndSecret(t *testing.T) {
	a, b := identity.Secret{1}, identity.Secret{2}
	if len(identity.GossipKey(a, 0)) != 32 || !bytes.Equal(identity.GossipKey(a, 0), identity.GossipKey(a, 0)) ||
		bytes.Equal(identity.GossipKey(a, 0), identity.GossipKey(a, 1)) || bytes.Equal(identity.GossipKey(a, 0), identity.GossipKey(b, 0)) {
		t.Error("keys are not what they should be")
	}
}

// Whatever prints a secret prints a word instead.
func TestSecretsDoNotPrint(t *testing.T) {
	i, ca := create(t, (&clock{t: noon}).now)
	token := i.NewToken(noon, []string{"a:1"})
	var log bytes.Buffer
	for _, h := range []slog.Handler{slog.NewTextHandler(&log, nil), slog.NewJSONHandler(&log, nil)} {
		slog.New(h).Info("x", "secret", i.Secret, "token", token, "identity", i, "authority", ca, "in", struct{ S any }{i.Secret})
	}
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%x", "%q", "%d"} {
		fmt.Fprintf(&log, verb+" "+verb+"\n", i.Secret, token)
		fmt.Fprintf(&log, verb+"\n", struct {
			S identity.Secret
			T identity.Token
		}{i.Secret, token})
	}
	for _, verb := range []string{"%v", "%+v", "%#v", "%s"} {
		fmt.Fprintf(&log, verb+" "+verb+"\n", i, ca)
	}
	j, err := json.Marshal(map[string]any{"s": i.Secret, "t": token})
	if err != nil {
		t.Fatal(err)
	}
	log.Write(j)
	out := log.String()
	for _, secret := range [][]byte{i.Secret[:], token.Secret[:], ca.Key().Seed(), ca.Key()} {
		short := secret[:8]
		for _, form := range []string{string(short), fmt.Sprintf("%x", short), strings.Trim(fmt.Sprint(short), "[]"), fmt.Sprintf("%#v", short)[7:20]} {
			if strings.Contains(out, form) {
				t.Errorf("a secret was printed as %q", form)
			}
		}
	}
	if !strings.Contains(out, "redacted") || strings.Contains(out, token.Text()) {
		t.Error("not redacted")
	}
}

func TestWhatWasSavedLoads(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "data", "identity")
	if _, err := identity.Load(dir, nil); !errors.Is(err, fault.NotExist) {
		t.Errorf("nothing there: %v, want NotExist", err)
	}
	key, err := identity.Key(dir)
	if err != nil {
		t.Fatal(err)
	}
	if again, err := identity.Key(dir); err != nil || !again.Equal(key) {
		t.Fatalf("the key changed: %v", err)
	}
	if _, err := identity.Load(dir, nil); !errors.Is(err, fault.NotExist) {
		t.Errorf("only a key: %v, want NotExist", err)
	}
	c := &clock{t: noon}
	i, _, err := identity.Create(key, c.now)
	if err != nil {
		t.Fatal(err)
	}
	if err := i.Save(dir); err != nil {
		t.Fatal(err)
	}
	back, err := identity.Load(dir, c.now)
	if err != nil {
		t.Fatal(err)
	}
	if back.ID() != i.ID() || back.Cluster != i.Cluster || back.Name != i.Name || back.Secret != i.Secret || !bytes.Equal(back.CA(), i.CA()) {
		t.Errorf("%v came back as %v", i, back)
	}
	if _, err := back.Verify([]*x509.Certificate{i.Certificate().Leaf}); err != nil {
		t.Error(err)
	}
	if err := back.Save(dir); err != nil {
		t.Errorf("over itself: %v", err)
	}
	if runtime.GOOS == "windows" {
		return
	}
	entries, _ := os.ReadDir(dir)
	for _, e := range entries {
		info, _ := e.Info()
		if info.Mode().Perm() != 0o600 {
			t.Errorf("%s has mode %v", e.Name(), info.Mode())
		}
	}
	if len(entries) != 5 {
		t.Errorf("%d files", len(entries))
	}
	if info, _ := os.Stat(dir); info.Mode().Perm() != 0o700 {
		t.Errorf("the directory has mode %v", info.Mode())
	}
}

func TestLooserRightsAreRefused(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("rights are inherited there")
	}
	i, _ := create(t, nil)
	dir := filepath.Join(t.TempDir(), "identity")
	if err := i.Save(dir); err != nil {
		t.Fatal(err)
	}
	entries, _ := os.ReadDir(dir)
	paths := []string{dir}
	for _, e := range entries {
		paths = append(paths, filepath.Join(dir, e.Name()))
	}
	for _, path := range paths {
		info, _ := os.Stat(path)
		os.Chmod(path, info.Mode()|0o040)
		if _, err := identity.Load(dir, nil); !errors.Is(err, fault.Permission) || !strings.Contains(err.Error(), "chmod") {
			t.Errorf("%s: %v, want Permission and a way out", path, err)
		}
		os.Chmod(path, info.Mode())
	}
	if _, err := identity.Load(dir, nil); err != nil {
		t.Error(err)
	}
}

func TestDamagedFilesAreFound(t *testing.T) {
	i, _ := create(t, nil)
	other, _ := create(t, nil)
	dir, otherDir := filepath.Join(t.TempDir(), "a"), filepath.Join(t.TempDir(), "b")
	for d, i := range map[string]*identity.Identity{dir: i, otherDir: other} {
		if err := i.Save(d); err != nil {
			t.Fatal(err)
		}
	}
	entries, _ := os.ReadDir(dir)
	for _, e := range entries {
		path := filepath.Join(dir, e.Name())
		good, _ := os.ReadFile(path)
		for name, bad := range map[string][]byte{"empty": {}, "cut": good[:len(good)/2], "zeros": make([]byte, len(good))} {
			os.WriteFile(path, bad, 0o600)
			if _, err := identity.Load(dir, nil); !errors.Is(err, fault.Corrupt) {
				t.Errorf("%s %s: %v, want Corrupt", e.Name(), name, err)
			}
		}
		foreign, _ := os.ReadFile(filepath.Join(otherDir, e.Name()))
		os.WriteFile(path, foreign, 0o600)
		if _, err := identity.Load(dir, nil); !errors.Is(err, fault.Corrupt) && e.Name() != "secret" {
			t.Errorf("%s of another cluster: %v, want Corrupt", e.Name(), err)
		}
		os.WriteFile(path, good, 0o600)
	}
}

func chainOf(i *identity.Identity) []*x509.Certificate {
	return []*x509.Certificate{i.Certificate().Leaf}
}
