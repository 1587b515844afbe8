package integration

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"dfs/integration/harness"
)

// asUser is what somebody without privileges does, in a mount namespace where /dev/fuse is open to all, as
// distributions have it. $1 is a directory of theirs, $2 one with the programs.
const asUser = `set -e
mknod -m 666 "$1/fuse" c 10 229
mount --bind "$1/fuse" /dev/fuse
cd "$1"
exec setpriv --reuid 65534 --regid 65534 --clear-groups env HOME="$1" sh -c '
set -e
"$1/dfsd" up --data data --mount "$PWD/mnt" --listen 127.0.0.1:0 --http off --plane off >log 2>&1 &
up=$!
until "$1/dfsctl" wait ready --timeout 30s --data data 2>/dev/null; do kill -0 $up; done
echo kept > mnt/file
mkdir mnt/dir
mv mnt/file mnt/dir/moved
stat -c "owner %u:%g" mnt/dir/moved
cat mnt/dir/moved
kill -TERM $up
wait $up
echo "ended $?"
grep -c " $PWD/mnt " /proc/mounts || true
' sh "$2"
`

// A user without privileges mounts through fusermount3, owns what it makes, and unmounts.
func TestAUserMountsThroughFusermount(t *testing.T) {
	harness.NeedFUSE(t)
	if os.Geteuid() != 0 {
		t.Skip("needs root, to become another user")
	}
	if _, err := exec.LookPath("fusermount3"); err != nil {
		if os.Getenv("CI") == "true" {
			t.Fatal("fusermount3 is missing: apt-get install fuse3")
		}
		t.Skip("fusermount3 is missing: apt-get install fuse3")
	}
	home, programs := t.TempDir(), t.TempDir()
	for _, dir := range []string{home, programs, filepath.Dir(home), filepath.Dir(programs)} {
		if err := os.Chmod(dir, 0o777); err != nil {
			t.Fatal(err)
		}
	}
	for _, name := range []string{"dfsd", "dfsctl", "dfsplane"} {
		b, err := os.ReadFile(harness.Program(name))
		if err == nil {
			err = os.WriteFile(filepath.Join(programs, name), b, 0o755)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	out, err := exec.CommandContext(ctx, "unshare", "--mount", "--propagation", "private", "sh", "-c", asUser, "sh", home, programs).CombinedOutput()
	if err != nil {
		log, _ := os.ReadFile(filepath.Join(home, "log"))
		t.Fatalf("%v\n%s\n%s", err, out, log)
	}
	if got, want := strings.TrimSpace(string(out)), "owner 65534:65534\nkept\nended 0\n0"; !strings.HasSuffix(got, want) {
		t.Fatalf("got %q, want it to end in %q", got, want)
	}
}
