package cli

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/spf13/pflag"

	"dfs/cluster/fault"
)

// place gives the test a home of its own and returns a data directory in it.
func place(t *testing.T) string {
	t.Helper()
	home := t.TempDir()
	t.Setenv("HOME", home)
	t.Setenv("XDG_CONFIG_HOME", filepath.Join(home, "config"))
	t.Setenv("XDG_DATA_HOME", filepath.Join(home, "data"))
	data := filepath.Join(home, "peer")
	if err := os.MkdirAll(data, 0o700); err != nil {
		t.Fatal(err)
	}
	return data
}

func flags(t *testing.T, args ...string) *pflag.FlagSet {
	t.Helper()
	f := pflag.NewFlagSet("up", pflag.ContinueOnError)
	Flags(f)
	if err := f.Parse(args); err != nil {
		t.Fatal(err)
	}
	return f
}

func env(pairs ...string) Env {
	return func(name string) (string, bool) {
		for i := 0; i < len(pairs); i += 2 {
			if pairs[i] == name {
				return pairs[i+1], true
			}
		}
		return "", false
	}
}

func write(t *testing.T, path, text string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

func TestDefaults(t *testing.T) {
	data := place(t)
	c, keep, err := Resolve(data, flags(t, "--mount", "/m"), env())
	if err != nil {
		t.Fatal(err)
	}
	if c.Data != data || c.Mount != "/m" || c.Listen != ":9001" || c.HTTP != "127.0.0.1:7420" || c.Plane != "127.0.0.1:9000" ||
		c.WhenCutOff != "fail" || c.CutOffAfter != 15*time.Second || c.Copies != 0 || c.Name == "" ||
		c.AllowOther != (os.Geteuid() == 0) || len(keep) != 1 {
		t.Errorf("%+v, keep %v", c, keep)
	}
}

func TestPrecedence(t *testing.T) {
	data := place(t)
	if err := Remember(data, map[string]string{"zone": "memory", "copies": "1"}); err != nil {
		t.Fatal(err)
	}
	zone := func(args []string, vars ...string) string {
		t.Helper()
		c, _, err := Resolve(data, flags(t, args...), env(vars...))
		if err != nil {
			t.Fatal(err)
		}
		return c.Zone
	}
	if z := zone(nil); z != "memory" {
		t.Errorf("remembered: %q", z)
	}
	user, err := ConfigDir()
	if err != nil {
		t.Fatal(err)
	}
	write(t, filepath.Join(user, "dfsd.toml"), `zone = "user"`)
	if z := zone(nil); z != "user" {
		t.Errorf("user's file: %q", z)
	}
	write(t, filepath.Join(data, "dfsd.toml"), "zone = \"file\"\ncopies = 3\nno-mount = true\n")
	if z := zone(nil); z != "file" {
		t.Errorf("file: %q", z)
	}
	if z := zone(nil, "DFS_ZONE", "variable"); z != "variable" {
		t.Errorf("variable: %q", z)
	}
	if z := zone([]string{"--zone", "flag"}, "DFS_ZONE", "variable"); z != "flag" {
		t.Errorf("flag: %q", z)
	}
	c, _, err := Resolve(data, flags(t), env("DFS_WHEN_CUT_OFF", "wait"))
	if err != nil || c.Copies != 3 || !c.NoMount || c.WhenCutOff != "wait" {
		t.Errorf("%+v, %v", c, err)
	}
}

func TestFlagsAreRememberedAndOverruled(t *testing.T) {
	data := place(t)
	_, keep, err := Resolve(data, flags(t, "--mount", "/m", "--listen", "127.0.0.1:0"), env("DFS_ZONE", "z"))
	if err != nil {
		t.Fatal(err)
	}
	if KnownPeer(data) {
		t.Error("known before anything was remembered")
	}
	if err := Remember(data, keep); err != nil {
		t.Fatal(err)
	}
	c, _, err := Resolve(data, flags(t), env())
	if err != nil || c.Mount != "/m" || c.Listen != "127.0.0.1:0" || c.Zone != "z" || !KnownPeer(data) {
		t.Errorf("%+v, %v", c, err)
	}
	_, keep, err = Resolve(data, flags(t, "--no-mount"), env())
	if err != nil {
		t.Fatal(err)
	}
	if err := Remember(data, keep); err != nil {
		t.Fatal(err)
	}
	if c, _, err := Resolve(data, flags(t), env()); err != nil || c.Mount != "" || !c.NoMount {
		t.Errorf("after --no-mount: %+v, %v", c, err)
	}
	if c, _, err := Resolve(data, flags(t, "--mount", "/n"), env()); err != nil || c.Mount != "/n" || c.NoMount {
		t.Errorf("after --mount: %+v, %v", c, err)
	}
}

func TestBadSettings(t *testing.T) {
	data := place(t)
	for _, args := range [][]string{
		{"--listen", "nowhere"}, {"--listen", "h:99999"}, {"--listen", "off"}, {"--capacity", "much"}, {"--copies", "-1"},
		{"--when-cut-off", "cry"}, {"--cut-off-after", "x"}, {"--log-level", "loud"}, {"--name", "a b"}, {"--http", "h"},
	} {
		if _, _, err := Resolve(data, flags(t, args...), env()); !errors.Is(err, fault.Invalid) {
			t.Errorf("%v: %v", args, err)
		}
	}
	for _, text := range []string{"zoone = 1", "zone = [1]", "zone ="} {
		write(t, filepath.Join(data, "dfsd.toml"), text)
		if _, _, err := Resolve(data, flags(t), env()); !errors.Is(err, fault.Invalid) {
			t.Errorf("%s: %v", text, err)
		}
	}
}

func TestDataDirectory(t *testing.T) {
	place(t)
	want, err := DataDir()
	if err != nil {
		t.Fatal(err)
	}
	if got, err := ResolveData(flags(t), env()); err != nil || got != want {
		t.Errorf("default %q, %v; want %q", got, err, want)
	}
	if got, err := ResolveData(flags(t), env("DFS_DATA", "/v")); err != nil || got != filepath.FromSlash("/v") {
		t.Errorf("variable %q, %v", got, err)
	}
	if got, err := ResolveData(flags(t, "--data", "/f"), env("DFS_DATA", "/v")); err != nil || got != filepath.FromSlash("/f") {
		t.Errorf("flag %q, %v", got, err)
	}
}

func TestLockHasOneHolder(t *testing.T) {
	path := filepath.Join(t.TempDir(), "lock")
	if pid := Holder(path); pid != 0 {
		t.Errorf("no file, but holder %d", pid)
	}
	l, err := Take(path)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := Take(path); !errors.Is(err, fault.Busy) {
		t.Errorf("second: %v", err)
	}
	if pid := Holder(path); pid != os.Getpid() {
		t.Errorf("holder %d", pid)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := TakeWithin(ctx, path); !errors.Is(err, fault.Busy) {
		t.Errorf("waiting second: %v", err)
	}
	l.Release()
	if pid := Holder(path); pid != 0 {
		t.Errorf("released, but holder %d", pid)
	}
	l, err = TakeWithin(t.Context(), path)
	if err != nil {
		t.Fatal(err)
	}
	l.Release()
}
