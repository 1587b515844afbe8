package integration

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"dfs/integration/harness"
)

// Every peer loses its power at the same moment: files whose fsync had returned are there, whole.
func TestFsyncSurvivesAPowerCut(t *testing.T) {
	harness.NeedFUSE(t)
	d := harness.NewLoopDisk(t, "ext4", 4<<30)
	c := harness.Start(t, 3, harness.Options{Data: filepath.Join(d.Dir, "peers")})
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
		d.Cut(t)
		c.KillAll()
		d.Replug(t)
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
