package delegate_test

import (
	"testing"

	"dfs/fs/fstest"
	"dfs/fs/vfs"
)

// fsync of a file brings what was written to it into the log by itself if nothing else is under way, and behind everything
// done before if something is.
func TestFsyncIsInTheLogInOrder(t *testing.T) {
	r := newRig(t, t.TempDir())
	tree := r.own()
	write(t, tree, "f", "first")
	f, err := tree.Open("f", fstest.Flags{Read: true, Write: true})
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	there := fstest.Paths(vfs.New(r.log, r.blocks, vfs.Alone{Store: r.log}, vfs.Options{}))
	sync := func(text string) (through, batches int) {
		t.Helper()
		r.log.mu.Lock()
		through, batches = r.log.through, r.log.batches
		r.log.mu.Unlock()
		if _, err := f.WriteAt([]byte(text), 0); err != nil {
			t.Fatal(err)
		}
		if err := f.Sync(); err != nil {
			t.Fatal(err)
		}
		g, err := there.Open("own/f", fstest.Flags{Read: true})
		if err != nil {
			t.Fatal(err)
		}
		defer g.Close()
		got := make([]byte, len(text))
		if _, err := g.ReadAt(got, 0); err != nil || string(got) != text {
			t.Fatalf("the log has %q, %v after fsync of %q", got, err, text)
		}
		r.log.mu.Lock()
		defer r.log.mu.Unlock()
		return r.log.through - through, r.log.batches - batches
	}
	if err := f.Sync(); err != nil { // what was done until now
		t.Fatal(err)
	}
	for _, text := range []string{"one", "two!", "three"} {
		if through, batches := sync(text); through != 1 || batches != 0 {
			t.Errorf("%s went in %d ops and %d batches", text, through, batches)
		}
	}
	write(t, tree, "before", "")
	if through, _ := sync("four..."); through != 0 {
		t.Errorf("a commit went before what was done before it")
	}
	if _, err := there.Stat("own/before"); err != nil {
		t.Errorf("what was done before an fsync is not in the log: %v", err)
	}
}
