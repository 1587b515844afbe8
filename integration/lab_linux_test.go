package integration

import (
	"bytes"
	"errors"
	"io"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"dfs/cluster/admin"
	"dfs/integration/harness"
)

// size is n MiB in the short form and long MiB in the long one.
func size(short, long int) int {
	if harness.Soak() {
		return long << 20
	}
	return short << 20
}

// lab makes a directory in which every block is an extent of its own.
func lab(t *testing.T, p *harness.Peer) string {
	t.Helper()
	dir := p.Path("lab")
	if err := os.Mkdir(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	if out, code := p.Ctl("layout", "set", dir, "unit=512,policy=least-stored"); code != 0 {
		t.Fatalf("layout: %s", out)
	}
	return dir
}

// writeIn writes data in steps of n bytes, each a system call, and syncs it.
func writeIn(t *testing.T, path string, data []byte, n int) {
	t.Helper()
	f, err := os.OpenFile(path, os.O_CREATE|os.O_WRONLY, 0o644)
	if err != nil {
		t.Fatal(err)
	}
	for part := range slices.Chunk(data, n) {
		if _, err := f.Write(part); err != nil {
			t.Fatal(err)
		}
	}
	if err := errors.Join(f.Sync(), f.Close()); err != nil {
		t.Fatal(err)
	}
}

// mustRead fails the test unless path holds data.
func mustRead(t *testing.T, path string, data []byte) {
	t.Helper()
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	b := make([]byte, 1<<20)
	for off := 0; ; {
		n, err := f.Read(b)
		if off+n > len(data) || !bytes.Equal(b[:n], data[off:off+n]) {
			t.Fatalf("%s differs at %d, or after it", path, off)
		}
		if off += n; err == io.EOF {
			if off != len(data) {
				t.Fatalf("%s ends at %d of %d", path, off, len(data))
			}
			return
		} else if err != nil {
			t.Fatal(err)
		}
	}
}

// onDisk returns the bytes that the files below a directory take.
func onDisk(t *testing.T, dir string) (n int64) {
	t.Helper()
	filepath.WalkDir(dir, func(path string, _ fs.DirEntry, err error) error {
		var st unix.Stat_t
		if err == nil && unix.Lstat(path, &st) == nil {
			n += st.Blocks * 512
		}
		return nil // what vanishes meanwhile takes no room
	})
	return n
}

// The textbook's drive: a file is cut into blocks of 512 bytes, and each is placed by itself, by the policy.
func TestLabOfSingleBlocks(t *testing.T) {
	c := harness.Start(t, 3, harness.Options{})
	p := c.Peer(1)
	dir := lab(t, p)
	data := content(512, size(16, 256))
	state, blocks := onDisk(t, filepath.Join(p.Data, "state")), onDisk(t, filepath.Join(p.Data, "blocks"))
	began := time.Now()
	writeIn(t, filepath.Join(dir, "file"), data, 512)
	t.Logf("%d MiB written in %v", len(data)>>20, time.Since(began))
	began = time.Now()
	mustRead(t, c.Peer(2).Path("lab", "file"), data)
	t.Logf("and read elsewhere in %v", time.Since(began))
	t.Logf("a block takes %d bytes of the state here, and of the store %d", (onDisk(t, filepath.Join(p.Data, "state"))-state)/int64(len(data)/512),
		(onDisk(t, filepath.Join(p.Data, "blocks"))-blocks)/int64(len(data)/512)*3/2)

	var doc admin.Where
	if code := p.CtlJSON(&doc, "where", filepath.Join(dir, "file")); code != 0 || len(doc.Extents) != len(data)/512 {
		t.Fatalf("exit code %d, %d extents of %d", code, len(doc.Extents), len(data)/512)
	}
	held, moved := map[string]int{}, 0
	for i, e := range doc.Extents {
		if e.Offset != int64(i)*512 || e.Blocks != 1 || len(e.Replicas) != 2 || e.Replicas[0].Peer == e.Replicas[1].Peer {
			t.Fatalf("block %d: %+v", i, e)
		}
		for _, r := range e.Replicas {
			if r.State != "ok" {
				t.Fatalf("block %d: %+v", i, e)
			}
			held[r.Peer]++
		}
		if i > 0 && on(e) != on(doc.Extents[i-1]) {
			moved++
		}
	}
	// Least stored first: each has about a third, as exactly as reports of a second ago allow. Neighbours lie on different pairs
	// of peers mostly.
	for peer, n := range held {
		if third := 2 * len(doc.Extents) / 3; n < third*6/10 || n > third*14/10 {
			t.Errorf("%s holds %d of %d replicas", peer, n, 2*len(doc.Extents))
		}
	}
	if len(held) != 3 || moved < len(doc.Extents)/2 {
		t.Errorf("%d peers hold blocks; %d of %d lie elsewhere than the one before", len(held), moved, len(doc.Extents))
	}

	// A block is replaced alone: its neighbours stay where they are.
	patch := bytes.Repeat([]byte{0xAB}, 512)
	f, err := os.OpenFile(filepath.Join(dir, "file"), os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.WriteAt(patch, 5*512); err != nil {
		t.Fatal(err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	copy(data[5*512:], patch)
	mustRead(t, c.Peer(3).Path("lab", "file"), data)
	var now admin.Where
	p.CtlJSON(&now, "where", filepath.Join(dir, "file"))
	for i, e := range now.Extents {
		if (e.ID != doc.Extents[i].ID) != (i == 5) {
			t.Fatalf("block %d: %s was %s", i, e.ID, doc.Extents[i].ID)
		}
	}
	if err := os.Remove(filepath.Join(dir, "file")); err != nil {
		t.Fatal(err)
	}
	c.WaitHealthy()
}

// on names the peers that hold an extent.
func on(e admin.Extent) string {
	var ids []string
	for _, r := range e.Replicas {
		ids = append(ids, r.Peer)
	}
	slices.Sort(ids)
	return strings.Join(ids, " ")
}

// A hole is no blocks, on disk, in memory and in time, however long it is.
func TestLabOfHoles(t *testing.T) {
	c := harness.Start(t, 2, harness.Options{})
	p, q := c.Peer(1), c.Peer(2)
	dir := lab(t, p)
	path := filepath.Join(dir, "sparse")
	const long = 1 << 40
	before := p.Status()
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := f.Truncate(long); err != nil {
		t.Fatal(err)
	}
	for _, at := range []int64{0, long / 2, long - 1} {
		if _, err := f.WriteAt([]byte{'x'}, at); err != nil {
			t.Fatal(err)
		}
	}
	if err := errors.Join(f.Sync(), f.Close()); err != nil {
		t.Fatal(err)
	}
	var st unix.Stat_t
	if err := unix.Stat(q.Path("lab", "sparse"), &st); err != nil || st.Size != long || st.Blocks != 3 {
		t.Fatalf("%d bytes in %d blocks, %v", st.Size, st.Blocks, err)
	}
	g, err := os.Open(q.Path("lab", "sparse"))
	if err != nil {
		t.Fatal(err)
	}
	defer g.Close()
	b := make([]byte, 64<<10)
	for _, at := range []int64{0, 12345, long / 3, long/2 - 100, long - int64(len(b))} {
		n, err := g.ReadAt(b, at)
		want := make([]byte, len(b))
		for _, x := range []int64{0, long / 2, long - 1} {
			if at <= x && x < at+int64(len(b)) {
				want[x-at] = 'x'
			}
		}
		if err != nil || !bytes.Equal(b[:n], want) {
			t.Errorf("at %d: %d bytes, %v", at, n, err)
		}
	}
	var data []int64
	for at := int64(0); at < long; {
		from, err := g.Seek(at, unix.SEEK_DATA)
		if errors.Is(err, unix.ENXIO) {
			break
		} else if err != nil {
			t.Fatal(err)
		}
		to, err := g.Seek(from, unix.SEEK_HOLE)
		if err != nil {
			t.Fatal(err)
		}
		data, at = append(data, from, to), to
	}
	if want := []int64{0, 512, long / 2, long/2 + 512, long - 512, long}; !slices.Equal(data, want) {
		t.Errorf("data at %v, want %v", data, want)
	}
	if now := p.Status(); stored(now)-stored(before) > 64<<10 {
		t.Errorf("%d bytes are stored for it", stored(now)-stored(before))
	}
	// Cut to half, emptied, removed: each one op or two.
	index := p.Status().Cluster.Index
	if err := errors.Join(os.Truncate(path, long/2), os.Truncate(path, 0), os.Remove(path)); err != nil {
		t.Fatal(err)
	}
	if now := p.Status().Cluster.Index; now > index+100 {
		t.Errorf("%d log entries", now-index)
	}
}

func stored(s admin.Status) (n int64) {
	for _, p := range s.Peers {
		n += p.StoredBytes
	}
	return n
}

// A large file that is overwritten at random in small steps lies in many pieces. Left alone, it is soon what it would be had
// it been written in one go: in extents, in time to read it, and in what it costs the metadata. Its times stay.
func TestARandomlyWrittenFileIsDefragmented(t *testing.T) {
	const step = 4096
	c := harness.Start(t, 3, harness.Options{Env: []string{"DFS_DEFRAG_AFTER=2s"}})
	p, q := c.Peer(1), c.Peer(2)
	data := content(4, size(24, 1024))
	writeIn(t, p.Path("straight"), data, 1<<20)
	writeIn(t, p.Path("file"), data, 1<<20)
	enough := 2 * ((len(data)-1)/(4<<20) + 1) // extents; written in one go it is little more than half of that
	if n := pieces(t, p, "/straight"); n > enough {
		t.Errorf("written in one go it lies in %d pieces", n)
	}

	f, err := os.OpenFile(p.Path("file"), os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	rng := rand.New(rand.NewPCG(1, 4096))
	block := make([]byte, step)
	for i, k := range rng.Perm(len(data) / step) {
		if i%4 == 3 {
			continue // what is left of the first writing lies between
		}
		for j := range block {
			block[j] = byte(i + j)
		}
		if _, err := f.WriteAt(block, int64(k)*step); err != nil {
			t.Fatal(err)
		}
		copy(data[k*step:], block)
	}
	if err := errors.Join(f.Sync(), f.Close()); err != nil {
		t.Fatal(err)
	}
	var was, is unix.Stat_t
	if err := unix.Stat(p.Path("file"), &was); err != nil {
		t.Fatal(err)
	}
	began := time.Now()
	disk := onDisk(t, filepath.Join(p.Data, "state"))
	limit := 2 * time.Minute
	if harness.Soak() {
		limit = 20 * time.Minute
	}
	n := pieces(t, p, "/file")
	most := n
	tick := time.NewTicker(200 * time.Millisecond)
	defer tick.Stop()
	for n > enough {
		select {
		case <-tick.C:
		case <-t.Context().Done():
			t.Fatal("ended")
		}
		if n = pieces(t, p, "/file"); time.Since(began) > limit {
			t.Fatalf("after %v it lies in %d pieces of %d; %d were enough", limit, n, most, enough)
		}
		mustReadSome(t, q.Path("file"), data, rng) // while it is under way
	}
	t.Logf("%d pieces became %d within %v; the state took %d bytes and takes %d", most, n, time.Since(began), disk, onDisk(t, filepath.Join(p.Data, "state")))
	for _, peer := range c.Peers() {
		mustRead(t, peer.Path("file"), data)
	}
	if err := unix.Stat(q.Path("file"), &is); err != nil || is.Mtim != was.Mtim || is.Ctim != was.Ctim || is.Blocks != was.Blocks {
		t.Errorf("%+v became %+v, %v", was, is, err)
	}
	if harness.Soak() {
		fullSpeed(t, c.Peer(3), len(data))
	}
	c.WaitHealthy()
}

// fullSpeed compares reading the two files, cold, three times each in turn, the best of each.
func fullSpeed(t *testing.T, p *harness.Peer, bytes int) {
	t.Helper()
	read := func(name string) time.Duration {
		if err := os.WriteFile("/proc/sys/vm/drop_caches", []byte("3"), 0); err != nil {
			t.Skipf("caches cannot be dropped: %v", err)
		}
		f, err := os.Open(p.Path(name))
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		began := time.Now()
		if n, err := io.Copy(io.Discard, struct{ io.Reader }{f}); err != nil || n != int64(bytes) {
			t.Fatalf("%s: %d bytes, %v", name, n, err)
		}
		return time.Since(began)
	}
	var straight, file []time.Duration
	for range 3 {
		straight, file = append(straight, read("straight")), append(file, read("file"))
	}
	t.Logf("straight %v, defragmented %v", straight, file)
	if best, got := slices.Min(straight), slices.Min(file); got > best*3/2 {
		t.Errorf("reading takes %v, a file written in one go %v", got, best)
	}
}

// pieces returns how many extents a file lies in, by the metadata alone.
func pieces(t *testing.T, p *harness.Peer, path string) int {
	t.Helper()
	st, err := p.Admin.Stat(t.Context(), path)
	if err != nil {
		t.Fatal(err)
	}
	return int(st.Extents)
}

// mustReadSome reads some random places of a file.
func mustReadSome(t *testing.T, path string, data []byte, rng *rand.Rand) {
	t.Helper()
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	b := make([]byte, 50_000)
	for range 5 {
		at := rng.IntN(len(data) - len(b))
		if _, err := f.ReadAt(b, int64(at)); err != nil || !bytes.Equal(b, data[at:at+len(b)]) {
			t.Fatalf("%s differs at %d, %v", path, at, err)
		}
	}
}
