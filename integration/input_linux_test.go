package integration

import (
	"context"
	"errors"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"dfs/cluster/admin"
	"dfs/cluster/identity"
	"dfs/integration/harness"
)

// mistake is a command that must fail, and how: its exit code, a word of what it says, and of the next step.
type mistake struct {
	name  string
	first string   // a shell script run before, in a mount namespace of its own; "$1" is a directory of the case
	args  []string // the program and its arguments; DIR is that directory
	code  int
	says  string
	next  string
}

func (m mistake) run(t *testing.T) {
	dir := t.TempDir()
	args := slices.Clone(m.args)
	for i := range args {
		args[i] = strings.ReplaceAll(args[i], "DIR", dir)
	}
	args[0] = harness.Program(args[0])
	if m.first != "" {
		script := "set -e\n" + m.first + "\nshift\nexec \"$@\""
		args = append([]string{"unshare", "--mount", "--propagation", "private", "sh", "-c", script, "sh", dir}, args...)
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, args[0], args[1:]...)
	cmd.Env = append(os.Environ(), "HOME="+dir)
	cmd.Cancel = func() error { return cmd.Process.Signal(unix.SIGTERM) }
	out, err := cmd.CombinedOutput()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		t.Fatal(err)
	}
	if ctx.Err() != nil {
		t.Fatalf("it did not end by itself; it printed %s", out)
	}
	text := string(out)
	if code := cmd.ProcessState.ExitCode(); code != m.code {
		t.Errorf("exit code %d, want %d", code, m.code)
	}
	said, next, _ := strings.Cut(text, "\nnext: ")
	if !strings.Contains(said, m.says) || !strings.Contains(next, m.next) || strings.Count(text, "\nnext: ") != 1 {
		t.Errorf("want %q and, as the next step, %q", m.says, m.next)
	}
	if left := harness.Mounts(dir); len(left) > 0 {
		t.Errorf("mounts left: %v", left)
	}
	if t.Failed() {
		t.Logf("it printed\n%s", text)
	}
}

// up is `dfsd up`, complete but for what more says. Later flags win.
func up(more ...string) []string {
	return append([]string{"dfsd", "up", "--data", "DIR/data", "--mount", "DIR/mnt", "--listen", "127.0.0.1:0", "--http", "127.0.0.1:0",
		"--plane", "off"}, more...)
}

func join(token string, more ...string) []string {
	args := up(more...)
	args[1] = "join"
	return append(args, token)
}

func token(t *testing.T, p *harness.Peer, ask admin.TokenAsk) (text, id string) {
	t.Helper()
	tok, err := p.Admin.CreateToken(t.Context(), ask)
	if err != nil {
		t.Fatal(err)
	}
	return tok.Text, tok.ID
}

// What people get wrong is said in a line, with the exit code that scripts rely on and one thing to do next. A join
// that fails for a reason of this machine has not used its token up.
func TestBadInput(t *testing.T) {
	c := harness.Start(t, 2, harness.Options{})
	other := harness.Start(t, 1, harness.Options{})
	a, b := c.Peer(1), c.Peer(2)

	good, _ := token(t, a, admin.TokenAsk{})
	used, _ := token(t, a, admin.TokenAsk{Uses: 1})
	c.AddWith(used)
	expired, _ := token(t, a, admin.TokenAsk{TTL: time.Millisecond})
	revoked, id := token(t, a, admin.TokenAsk{})
	if err := a.Admin.RevokeToken(t.Context(), id); err != nil {
		t.Fatal(err)
	}
	foreign, _ := token(t, other.Peer(1), admin.TokenAsk{})
	parsed, err := identity.ParseToken(good)
	if err != nil {
		t.Fatal(err)
	}
	parsed.Secret[5] ^= 1
	forged := parsed.Text()
	parsed.Secret[5] ^= 1
	parsed.Addrs = []string{"127.0.0.1:1"}
	nobody := parsed.Text()

	busy := a.Status().Self.Listen
	packets, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer packets.Close()
	var dead net.Listener
	if dead, err = net.Listen("tcp", "127.0.0.1:0"); err != nil {
		t.Fatal(err)
	}
	defer dead.Close()
	in := func(p *harness.Peer) []string { return []string{"--data", p.Data, "--mount", p.Mount} }
	layout := func(text string) []string { return []string{"dfsctl", "layout", "set", a.Mount, text} }
	if err := os.WriteFile(a.Path("file"), []byte("x"), 0o644); err != nil {
		t.Fatal(err)
	}

	const noFuse = "--no-mount"
	for _, m := range []mistake{
		// Tokens. The limit on failed attempts is five a minute, and used up last.
		{"token that is none", "", join("amber"), 2, "a token begins with dfs1", "dfsctl token create"},
		{"token cut off", "", join(good[:len(good)-3]), 2, "cut off", "dfsctl token create"},
		{"token with a wrong secret", "", join(forged), 4, "secret", "dfsctl token create"},
		{"token that was revoked", "", join(revoked), 4, "does not know token", "dfsctl token create"},
		{"token that has expired", "", join(expired), 4, "expired at", "dfsctl token create"},
		{"token that is used up", "", join(used), 4, "is used up", "dfsctl token create"},
		{"token of a cluster that nobody serves", "", join(nobody), 1, "no member could be asked: 127.0.0.1:1", "dfsctl status"},
		{"token of another cluster on a joined peer", "", join(foreign, in(b)...), 7, "and the token is of " + other.Peer(1).Status().Cluster.Name, "dfsd up --data " + b.Data},
		{"token of the same cluster on a joined peer", "", join(good, in(b)...), 7, "belongs to a member of cluster " + a.Status().Cluster.Name, "dfsd up --data " + b.Data},
		{"empty token", "", []string{"dfsd", "join", "", "--data", "DIR/data", "--no-mount"}, 2, "the token is empty", "dfsctl token create"},

		// Ports.
		{"port in use", "", up("--listen", busy), 7, "another program listens", "--listen 127.0.0.1:0"},
		{"port in use, at a join", "", join(good, "--listen", busy), 7, "another program listens", "--listen 127.0.0.1:0"},
		{"port in use for packets alone", "", join(good, "--listen", packets.LocalAddr().String()), 7, "another program listens", "--listen 127.0.0.1:0"},
		{"port of the dashboard in use", "", up("--http", dead.Addr().String()), 7, "another program listens", "--http 127.0.0.1:0"},
		{"address of another machine", "", up("--listen", "192.0.2.1:7777"), 2, "no address of this machine", "--listen :PORT"},
		{"address that is none", "", up("--listen", "nonsense"), 2, "write HOST:PORT", "dfsd up --help"},
		{"port that is none", "", up("--listen", ":70000"), 2, "write HOST:PORT", "dfsd up --help"},

		// Mount points.
		{"no mount point", "", []string{"dfsd", "up", "--data", "DIR/data"}, 2, "not said where to mount", "--mount"},
		{"mount point that is a file", "touch $1/file", up("--mount", "DIR/file"), 2, "is not a directory", "--mount"},
		{"mount point that cannot be made", "touch $1/file", up("--mount", "DIR/file/mnt"), 4, "cannot be made", "--mount"},
		{"mount point that is not empty", "mkdir $1/full; touch $1/full/file", up("--mount", "DIR/full"), 7, "has files in it", "--mount"},
		{"mount point that is not empty, at a join", "mkdir $1/full; touch $1/full/file", join(good, "--mount", "DIR/full"), 7, "has files in it", "--mount"},
		{"mount point that is mounted", "mkdir $1/mnt; mount -t tmpfs none $1/mnt", up(), 7, "is mounted already (tmpfs", "--mount"},
		{"mount point of another peer", "", up("--mount", a.Mount), 7, "is the mount of the peer in " + a.Data, "--mount"},
		{"no /dev/fuse", "mount -t tmpfs none /dev", up(), 1, "there is no /dev/fuse", noFuse},
		{"no /dev/fuse, at a join", "mount -t tmpfs none /dev", join(good), 1, "there is no /dev/fuse", noFuse},
		{"a /dev/fuse that is something else", "mount --bind /dev/null /dev/fuse", up(), 1, "is not the FUSE device", noFuse},

		// Data directories.
		{"data on a read-only disk", "mkdir $1/ro; mount -t tmpfs -o ro none $1/ro", up("--data", "DIR/ro/data"), 4, "takes no writes", "--data"},
		{"data of another user", "chmod 777 $1/..; mkdir -m 755 $1/root; shift; exec setpriv --reuid 65534 --clear-groups \"$@\"",
			up("--data", "DIR/root/data"), 4, "belongs to another user", "--data"},
		{"data that is a file", "touch $1/data", up(), 2, "is no directory", "--data"},
		{"data in the drive itself", "", up("--data", a.Path("data")), 4, "a drive cannot keep itself", "--data"},
		{"data among other files", "mkdir $1/data; touch $1/data/letter.txt", up(), 7, "letter.txt", "empty"},
		{"data in use", "", up("--data", a.Data), 7, "runs the peer in " + a.Data + " already", "dfsctl status --data " + a.Data},

		// Settings and layouts.
		{"capacity", "", up("--capacity", "much"), 2, "write 512", "dfsd up --help"},
		{"copies", "", up("--copies", "17"), 2, "0 (auto) to 16", "dfsd up --help"},
		{"name", "", up("--name", "a b"), 2, "without spaces", "dfsd up --help"},
		{"what to do when cut off", "", up("--when-cut-off", "cry"), 2, "wait, fail or read", "dfsd up --help"},
		{"layout that is none", "", layout("nonsense"), 2, "known are copies=", "dfsctl layout set --help"},
		{"layout said twice", "", layout("copies=1,copies=2"), 2, "each of them once", "dfsctl layout set --help"},
		{"layout with too many copies", "", layout("copies=17"), 2, "auto or 1 to 16", "dfsctl layout set --help"},
		{"layout with half a block", "", layout("unit=513"), 2, "multiple of 512", "dfsctl layout set --help"},
		{"layout with too large a unit", "", layout("unit=8M"), 2, "512 to 4M", "dfsctl layout set --help"},
		{"layout with an unknown policy", "", layout("policy=best"), 2, "least-stored", "dfsctl layout set --help"},
		{"layout of a file", "", []string{"dfsctl", "layout", "set", a.Path("file"), "copies=1"}, 2, "a layout is a directory's", "ls "},
		{"layout of nothing", "", []string{"dfsctl", "layout", "get", a.Path("none")}, 3, "does not exist", "ls " + a.Mount},

		// Questions.
		{"where outside of every drive", "touch $1/file", []string{"dfsctl", "where", "DIR/file"}, 3, "lies in no drive", "below"},
		{"where of nothing", "", []string{"dfsctl", "where", a.Path("none")}, 3, "does not exist", "ls " + a.Mount},
		{"where of a directory", "", []string{"dfsctl", "where", a.Mount}, 2, "which file", "ls " + a.Mount},
		{"nobody runs", "", []string{"dfsctl", "status", "--data", "DIR/data"}, 3, "no daemon runs", "dfsd up --data"},
		{"token of nothing", "", []string{"dfsctl", "token", "revoke", "zzz", "--data", a.Data}, 3, `no token "zzz"`, "dfsctl token list"},
		{"life of a token", "", []string{"dfsctl", "token", "create", "--ttl", "long", "--data", a.Data}, 2, "15s", "dfsctl token create --help"},
		{"waiting for something else", "", []string{"dfsctl", "wait", "godot", "--data", a.Data}, 2, "ready, healthy or durable", "dfsctl wait --help"},
		{"waiting too long", "", []string{"dfsctl", "wait", "ready", "--timeout", "50ms", "--data", "DIR/data"}, 5, "no daemon runs", "dfsctl status"},
		{"unknown command", "", []string{"dfsctl", "frobnicate"}, 2, "unknown command", "dfsctl --help"},
		{"unknown flag", "", []string{"dfsctl", "status", "--frobnicate"}, 2, "unknown flag", "dfsctl status --help"},
	} {
		t.Run(m.name, m.run)
	}
	if n := len(a.Status().Peers); n != 3 {
		t.Errorf("%d members, want 3: somebody was let in", n)
	}
	// After too many wrong tokens an address has to wait, and is told so.
	for range 2 {
		exec.Command(harness.Program("dfsd"), "join", forged, "--data", t.TempDir(), "--no-mount", "--listen", "127.0.0.1:0", "--http", "off", "--plane", "off").Run()
	}
	t.Run("too many wrong tokens", mistake{args: join(forged), code: 4, says: "too many failed attempts", next: "wait"}.run)
}

// The doctor finds beforehand what up would stumble over, and changes nothing.
func TestDoctorFindsBadInput(t *testing.T) {
	c := harness.Start(t, 1, harness.Options{})
	p := c.Peer(1)
	for _, m := range []struct{ name, first, says, fix string }{
		{"a read-only disk", "mkdir $1/ro; mount -t tmpfs -o ro none $1/ro; ln -s ro $1/data", "takes no writes", "--data"},
		{"a file", "touch $1/data", "is no directory", "--data"},
		{"other files at the mount point", "mkdir $1/mnt; touch $1/mnt/file", "has files in it", "--mount"},
		{"a file at the mount point", "touch $1/mnt", "is not a directory", "--mount"},
		{"no /dev/fuse", "mount -t tmpfs none /dev", "there is no /dev/fuse", "modprobe fuse"},
		{"a port in use", "", "address already in use", "HOST:0"},
		{"a drive", "ln -s " + p.Mount + " $1/data", "a drive cannot keep itself", "--data"},
	} {
		t.Run(m.name, func(t *testing.T) {
			dir := t.TempDir()
			port := "127.0.0.1:0"
			if m.name == "a port in use" {
				port = p.Status().Self.Listen
			}
			script := "set -e\n" + m.first + "\nexec \"$2\" doctor --data $1/data --mount $1/mnt --listen " + port + " --http off --plane off"
			out, err := exec.Command("unshare", "--mount", "--propagation", "private", "sh", "-c", script, "sh", dir, harness.Program("dfsd")).CombinedOutput()
			var exit *exec.ExitError
			if !errors.As(err, &exit) || exit.ExitCode() != 6 {
				t.Errorf("%v, want exit code 6", err)
			}
			_, rest, found := strings.Cut(string(out), m.says) // other peers' mounts may be problems as well
			_, fix, _ := strings.Cut(rest, "fix:")
			fix, _, _ = strings.Cut(fix, "\n")
			if !found || !strings.Contains(fix, m.fix) {
				t.Errorf("want %q and the fix %q in\n%s", m.says, m.fix, out)
			}
		})
	}
}

// A mount point that is not there is made, also behind a link, and is left as an empty directory.
func TestMountPointIsMade(t *testing.T) {
	harness.NeedFUSE(t)
	dir := t.TempDir()
	if err := os.Mkdir(filepath.Join(dir, "real"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink("real", filepath.Join(dir, "link")); err != nil {
		t.Fatal(err)
	}
	data, mnt := filepath.Join(dir, "data"), filepath.Join(dir, "link", "new", "mnt")
	cmd := exec.Command(harness.Program("dfsd"), "up", "--data", data, "--mount", mnt, "--listen", "127.0.0.1:0", "--http", "off", "--plane", "off")
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		for _, m := range harness.Mounts(dir) {
			unix.Unmount(m, unix.MNT_DETACH)
		}
	})
	defer cmd.Process.Kill()
	if err := admin.NewClient(data).Wait(t.Context(), admin.WaitReady, "", time.Minute); err != nil {
		if out, err := exec.Command(harness.Program("dfsctl"), "wait", "ready", "--data", data).CombinedOutput(); err != nil {
			t.Fatalf("%v: %s", err, out)
		}
	}
	if err := os.WriteFile(filepath.Join(mnt, "file"), []byte("x"), 0o644); err != nil {
		t.Error(err)
	}
	if out, err := exec.Command(harness.Program("dfsctl"), "where", filepath.Join(mnt, "file")).CombinedOutput(); err != nil {
		t.Errorf("where, by the linked path: %v: %s", err, out)
	}
	cmd.Process.Signal(unix.SIGTERM)
	if err := cmd.Wait(); err != nil {
		t.Error(err)
	}
	if left := harness.Mounts(dir); len(left) > 0 {
		t.Errorf("still mounted: %v", left)
	}
	if list, err := os.ReadDir(mnt); err != nil || len(list) > 0 {
		t.Errorf("%v, %v", list, err)
	}
}

// More copies than peers are accepted, and said: when they are asked for, in the status, and by its exit code. The
// files can be used all the same.
func TestCopiesAboveThePeers(t *testing.T) {
	c := harness.Start(t, 2, harness.Options{})
	p := c.Peer(1)
	if err := os.Mkdir(p.Path("dir"), 0o755); err != nil {
		t.Fatal(err)
	}
	out, code := p.Ctl("layout", "set", p.Path("dir"), "copies=9")
	if code != 0 || !strings.HasPrefix(out, "copies=9,") || !strings.Contains(out, "note: 2 peers can hold 2 of 9 copies") {
		t.Errorf("exit code %d: %s", code, out)
	}
	var doc admin.Layout
	if code := p.CtlJSON(&doc, "layout", "get", p.Path("dir")); code != 0 || doc.Copies != 9 || doc.Note == "" {
		t.Errorf("exit code %d: %+v", code, doc)
	}
	data := content(9, 100_000)
	if err := os.WriteFile(p.Path("dir", "file"), data, 0o644); err != nil {
		t.Fatal(err)
	}
	if got, err := os.ReadFile(c.Peer(2).Path("dir", "file")); err != nil || string(got) != string(data) {
		t.Errorf("%d of %d bytes, %v", len(got), len(data), err)
	}
	if out, code := p.Ctl("status"); code != 6 || !strings.Contains(out, "is degraded: 1 extents are below their copies") {
		t.Errorf("exit code %d: %s", code, out)
	}
	var where admin.Where
	if code := p.CtlJSON(&where, "where", p.Path("dir", "file")); code != 0 || len(where.Extents) != 1 || len(where.Extents[0].Replicas) != 2 {
		t.Errorf("exit code %d: %+v", code, where)
	}
	if out, code := p.Ctl("layout", "set", p.Path("dir"), "copies=auto"); code != 0 || strings.Contains(out, "note") {
		t.Errorf("exit code %d: %s", code, out)
	}
}

// A name is up to 255 bytes of anything but / and NUL, the same on every mount and for dfsctl.
func TestNames(t *testing.T) {
	c := harness.Start(t, 2, harness.Options{})
	p, q := c.Peer(1), c.Peer(2)
	for _, name := range []string{
		strings.Repeat("a", 255), strings.Repeat("é", 127) + "a", "a\nb", "\n", "\xff\xfe\x80 no UTF-8", "\xed\xa0\x80", "\x01\x1b[31mred",
		" ", "\\", `"quoted"`, "...", "-rf", ":*?<>|", "\u202eabc", "e\u0301",
	} {
		path := p.Path(name)
		if err := os.WriteFile(path, []byte(name), 0o644); err != nil {
			t.Errorf("%q: %v", name, err)
			continue
		}
		if got, err := os.ReadFile(q.Path(name)); err != nil || string(got) != name {
			t.Errorf("%q elsewhere: %q, %v", name, got, err)
		}
		list, err := os.ReadDir(q.Mount)
		if err != nil || len(list) != 1 || list[0].Name() != name {
			t.Errorf("%q is listed as %q, %v", name, list, err)
		}
		var st admin.FileStat
		if code := p.CtlJSON(&st, "stat", path); code != 0 || st.Size != int64(len(name)) {
			t.Errorf("stat of %q: exit code %d, %+v", name, code, st)
		} else if got := string(st.Name); st.Path != "/"+name && got != "/"+name {
			t.Errorf("stat of %q names %q, %q", name, st.Path, got)
		}
		if out, code := p.Ctl("where", path); code != 0 || strings.Count(out, "\n") != 3 || strings.ContainsRune(out, 0x1b) {
			t.Errorf("where of %q: exit code %d, %q", name, code, out)
		}
		for i, err := range []error{
			os.Rename(path, p.Path("x")), os.Rename(p.Path("x"), path), os.Remove(q.Path(name)),
			os.Mkdir(path, 0o755), os.Remove(path), os.Symlink("x", path), os.Remove(q.Path(name)),
		} {
			if err != nil {
				t.Errorf("%q, step %d: %v", name, i, err)
			}
		}
	}
	tooLong := p.Path(strings.Repeat("a", 256))
	if err := os.WriteFile(p.Path("file"), nil, 0o644); err != nil {
		t.Fatal(err)
	}
	for what, err := range map[string]error{
		"create": os.WriteFile(tooLong, nil, 0o644), "mkdir": os.Mkdir(tooLong, 0o755), "symlink": os.Symlink("x", tooLong),
		"link": os.Link(p.Path("file"), tooLong), "rename": os.Rename(p.Path("file"), tooLong), "mknod": unix.Mknod(tooLong, unix.S_IFIFO|0o644, 0),
		"stat": unix.Stat(tooLong, new(unix.Stat_t)), "unlink": unix.Unlink(tooLong), "rmdir": unix.Rmdir(tooLong),
	} {
		if !errors.Is(err, unix.ENAMETOOLONG) {
			t.Errorf("%s of 256 bytes: %v, want ENAMETOOLONG", what, err)
		}
	}
	if out, code := p.Ctl("stat", "/"+strings.Repeat("a", 256)); code != 3 && code != 2 {
		t.Errorf("dfsctl stat of 256 bytes: exit code %d, %s", code, out)
	}
}
