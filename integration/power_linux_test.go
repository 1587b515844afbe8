package integration

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"dfs/integration/harness"
)

// shutdownIoctl stops a file system at once; shutdownNoFlush says that its journal is not written out first. Together
// they are what a power cut leaves.
const (
	shutdownIoctl   = 0x8004587d
	shutdownNoFlush = 2
)

// disk is an ext4 image on a loop device that can lose its power.
type disk struct{ image, dir string }

func newDisk(t *testing.T) *disk {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("mounting a disk image needs root")
	}
	for _, tool := range []string{"mkfs.ext4", "mount", "umount"} {
		if _, err := exec.LookPath(tool); err != nil {
			t.Skipf("%s is missing", tool)
		}
	}
	base := t.TempDir()
	d := &disk{image: filepath.Join(base, "disk.img"), dir: filepath.Join(base, "disk")}
	f, err := os.Create(d.image)
	if err != nil {
		t.Fatal(err)
	}
	if err := f.Truncate(4 << 30); err != nil { // sparse
		t.Fatal(err)
	}
	f.Close()
	if err := os.Mkdir(d.dir, 0o700); err != nil {
		t.Fatal(err)
	}
	run(t, "mkfs.ext4", "-q", "-F", d.image)
	if out, err := exec.Command("mount", "-o", "loop", d.image, d.dir).CombinedOutput(); err != nil {
		t.Skipf("no loop devices here: %s", strings.TrimSpace(string(out)))
	}
	t.Cleanup(func() { exec.Command("umount", "-l", d.dir).Run() })
	return d
}

func run(t *testing.T, name string, args ...string) {
	t.Helper()
	if out, err := exec.Command(name, args...).CombinedOutput(); err != nil {
		t.Fatalf("%s %v: %v\n%s", name, args, err, out)
	}
}

// cut stops the disk with whatever has not been synced lost.
func (d *disk) cut(t *testing.T) {
	t.Helper()
	f, err := os.Open(d.dir)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if err := unix.IoctlSetPointerInt(int(f.Fd()), shutdownIoctl, shutdownNoFlush); err != nil {
		t.Fatal(err)
	}
}

// replug brings the disk back as it is after the cut.
func (d *disk) replug(t *testing.T) {
	t.Helper()
	var out []byte
	err := errors.New("not tried")
	for end := time.Now().Add(20 * time.Second); err != nil; { // the kernel closes the files of the dead by and by
		if out, err = exec.Command("umount", d.dir).CombinedOutput(); err != nil && time.Now().After(end) {
			t.Fatalf("umount: %v\n%s%s", err, out, users(d.dir))
		}
	}
	run(t, "mount", "-o", "loop", d.image, d.dir)
}

// users names the processes that hold something below dir open.
func users(dir string) string {
	links, _ := filepath.Glob("/proc/[0-9]*/fd/*")
	var found []string
	for _, l := range links {
		if to, err := os.Readlink(l); err == nil && strings.HasPrefix(to, dir) {
			found = append(found, l+" -> "+to)
		}
	}
	return strings.Join(found, "\n")
}

// Every peer loses its power at the same moment: files whose fsync had returned are there, whole.
func TestFsyncSurvivesAPowerCut(t *testing.T) {
	harness.NeedFUSE(t)
	d := newDisk(t)
	c := harness.Start(t, 3, harness.Options{Data: filepath.Join(d.dir, "peers")})
	cuts := 2
	if harness.Soak() {
		cuts = 50
	}
	want := map[string][]byte{}
	for cut := range cuts {
		for k := range 20 {
			name := fmt.Sprintf("f-%d-%d", cut, k)
			data := content(uint64(cut*100+k), 1+k*7919%300_000)
			if err := writeSynced(c.Peer(k%3+1).Path(name), data); err != nil {
				t.Fatalf("cut %d: %v", cut, err)
			}
			want[name] = data
		}
		d.cut(t)
		c.KillAll()
		d.replug(t)
		c.RestartAll()
		lost := 0
		for name, data := range want {
			if got, err := os.ReadFile(c.Peer(cut%3 + 1).Path(name)); err != nil || !bytes.Equal(got, data) {
				if lost++; lost <= 5 {
					t.Errorf("after cut %d %s: %d of %d bytes, %v", cut, name, len(got), len(data), err)
				}
			}
		}
		if lost > 0 {
			t.Fatalf("%d of %d synced files lost", lost, len(want))
		}
	}
}

func writeSynced(path string, data []byte) error {
	f, err := os.Create(path)
	if err != nil {
		return err
	}
	if _, err := f.Write(data); err != nil {
		f.Close()
		return err
	}
	if err := f.Sync(); err != nil {
		f.Close()
		return err
	}
	return f.Close()
}
