package fstest

import (
	"bytes"
	"fmt"
	"io"
	"math/rand/v2"
	"testing"

	"dfs/cluster/fault"
)

var fileCases = []Case{
	{"a file of each size reads back as written", testSizes},
	{"overwriting the head of a file leaves the rest", testOverwriteHead},
	{"overwriting the middle of a file leaves the rest", testOverwriteMiddle},
	{"small writes at odd offsets add up", testSmallWrites},
	{"a gap reads as zeros and takes no blocks", testSparse},
	{"a file cut and grown again reads zeros where it was cut", testRegrow},
	{"opening with truncation empties the file", testOpenTrunc},
	{"what is written is there before it is flushed", testReadOwnWrites},
	{"two handles of a file see each other's writes", testTwoHandles},
	{"appends go to the end, from every handle", testAppend},
	{"a file unlinked while open lives until it is closed", testUnlinkOpen},
	{"attributes set while a file is open stay", testAttrsOpen},
	{"reading beyond the end gives nothing", testBeyondEnd},
	{"writing to a directory is refused", testWriteDir},
}

// Bytes returns n bytes that depend on the seed only.
func Bytes(seed uint64, n int) []byte {
	b := make([]byte, n)
	r := rand.NewChaCha8([32]byte{byte(seed), byte(seed >> 8), byte(seed >> 16)})
	r.Read(b)
	return b
}

// write makes a file with the content given.
func write(t *testing.T, fs Tree, path string, data []byte) {
	t.Helper()
	f, err := fs.Open(path, Fresh)
	ok(t, "open "+path, err)
	if len(data) > 0 {
		_, err = f.WriteAt(data, 0)
		ok(t, "write "+path, err)
	}
	ok(t, "close "+path, f.Close())
}

// read returns a file's content.
func read(t *testing.T, fs Tree, path string) []byte {
	t.Helper()
	f, err := fs.Open(path, ReadOnly)
	ok(t, "open "+path, err)
	defer f.Close()
	return readAll(t, f)
}

func readAll(t *testing.T, f File) []byte {
	t.Helper()
	data, err := io.ReadAll(io.NewSectionReader(f, 0, 1<<40))
	ok(t, "read", err)
	return data
}

// same compares contents and says where they differ.
func same(t *testing.T, what string, got, want []byte) {
	t.Helper()
	if bytes.Equal(got, want) {
		return
	}
	at := 0
	for at < min(len(got), len(want)) && got[at] == want[at] {
		at++
	}
	t.Fatalf("%s: %d bytes, want %d; they differ from byte %d on", what, len(got), len(want), at)
}

var sizes = []int{0, 1, 511, 512, 513, 4095, 4096, 4097, 4<<20 - 1, 4 << 20, 4<<20 + 1}

func testSizes(t *testing.T, fs Tree) {
	for _, n := range sizes {
		name := fmt.Sprintf("f%d", n)
		data := Bytes(uint64(n), n)
		write(t, fs, name, data)
		same(t, name, read(t, fs, name), data)
		st, err := fs.Stat(name)
		ok(t, "stat", err)
		if st.Size != int64(n) || st.Blocks != uint64(n+511)/512 {
			t.Fatalf("%d bytes: size %d, %d blocks", n, st.Size, st.Blocks)
		}
	}
}

func testOverwriteHead(t *testing.T, fs Tree)   { overwrite(t, fs, 0) }
func testOverwriteMiddle(t *testing.T, fs Tree) { overwrite(t, fs, 1000) }

func overwrite(t *testing.T, fs Tree, at int) {
	for _, n := range []int{1, 511, 512, 513, 5000} {
		data := Bytes(1, 20000)
		write(t, fs, "f", data)
		f, err := fs.Open("f", Update)
		ok(t, "open", err)
		patch := Bytes(2, n)
		_, err = f.WriteAt(patch, int64(at))
		ok(t, "write", err)
		ok(t, "close", f.Close())
		copy(data[at:], patch)
		same(t, fmt.Sprintf("%d bytes at %d", n, at), read(t, fs, "f"), data)
	}
}

func testSmallWrites(t *testing.T, fs Tree) {
	data := Bytes(3, 10007)
	f, err := fs.Open("f", Fresh)
	ok(t, "open", err)
	for at := 0; at < len(data); at += 101 {
		_, err := f.WriteAt(data[at:min(at+101, len(data))], int64(at))
		ok(t, "write", err)
		if at%1010 == 0 {
			ok(t, "sync", f.Sync())
		}
	}
	ok(t, "close", f.Close())
	same(t, "f", read(t, fs, "f"), data)
}

func testSparse(t *testing.T, fs Tree) {
	f, err := fs.Open("f", Fresh)
	ok(t, "open", err)
	_, err = f.WriteAt([]byte("tail"), 10<<20)
	ok(t, "write", err)
	ok(t, "close", f.Close())
	want := make([]byte, 10<<20+4)
	copy(want[10<<20:], "tail")
	same(t, "f", read(t, fs, "f"), want)
	st, err := fs.Stat("f")
	ok(t, "stat", err)
	if st.Blocks > 8 {
		t.Fatalf("4 bytes behind a hole take %d blocks", st.Blocks)
	}
}

func testRegrow(t *testing.T, fs Tree) {
	for _, cut := range []int64{0, 1, 100, 511, 512, 513, 5000} {
		for _, how := range []string{"truncate", "write"} {
			data := Bytes(4, 10000)
			write(t, fs, "f", data)
			ok(t, "cut", fs.Truncate("f", cut))
			clear(data[cut:])
			if how == "truncate" {
				ok(t, "grow", fs.Truncate("f", 10000))
			} else {
				f, err := fs.Open("f", Update)
				ok(t, "open", err)
				_, err = f.WriteAt([]byte("x"), 9999)
				ok(t, "write", err)
				ok(t, "close", f.Close())
				data[9999] = 'x'
			}
			same(t, fmt.Sprintf("cut at %d, grown by %s", cut, how), read(t, fs, "f"), data)
		}
	}
}

func testOpenTrunc(t *testing.T, fs Tree) {
	write(t, fs, "f", Bytes(5, 5000))
	write(t, fs, "f", []byte("new"))
	same(t, "f", read(t, fs, "f"), []byte("new"))
	write(t, fs, "f", nil)
	same(t, "f", read(t, fs, "f"), nil)
}

func testReadOwnWrites(t *testing.T, fs Tree) {
	data := Bytes(6, 9000)
	write(t, fs, "f", data)
	f, err := fs.Open("f", Update)
	ok(t, "open", err)
	defer f.Close()
	_, err = f.WriteAt(Bytes(7, 3000), 700)
	ok(t, "write", err)
	copy(data[700:], Bytes(7, 3000))
	same(t, "before the flush", readAll(t, f), data)
	_, err = f.WriteAt([]byte("end"), 12000)
	ok(t, "write", err)
	data = append(data, make([]byte, 3000)...)
	data = append(data, "end"...)
	same(t, "grown, before the flush", readAll(t, f), data)
	st, err := f.Stat()
	ok(t, "stat", err)
	if st.Size != int64(len(data)) {
		t.Fatalf("size %d, want %d", st.Size, len(data))
	}
	ok(t, "sync", f.Sync())
	same(t, "after the flush", readAll(t, f), data)
}

func testTwoHandles(t *testing.T, fs Tree) {
	write(t, fs, "f", []byte("aaaaaa"))
	a, err := fs.Open("f", Update)
	ok(t, "open", err)
	defer a.Close()
	b, err := fs.Open("f", Update)
	ok(t, "open", err)
	defer b.Close()
	_, err = a.WriteAt([]byte("bb"), 2)
	ok(t, "write", err)
	same(t, "from the other handle", readAll(t, b), []byte("aabbaa"))
}

func testAppend(t *testing.T, fs Tree) {
	var data []byte
	a, err := fs.Open("log", Log)
	ok(t, "open", err)
	b, err := fs.Open("log", Log)
	ok(t, "open", err)
	for i := range 40 {
		f := a
		if i%3 == 0 {
			f = b
		}
		line := fmt.Appendf(nil, "line %d\n", i*i*i)
		ok(t, "append", f.Append(line))
		data = append(data, line...)
		if i%7 == 0 {
			st, err := fs.Stat("log")
			ok(t, "stat", err)
			if st.Size != int64(len(data)) {
				t.Fatalf("after %d lines: size %d, want %d", i+1, st.Size, len(data))
			}
		}
		if i == 20 {
			ok(t, "close", a.Close())
			same(t, "between", read(t, fs, "log"), data)
			a, err = fs.Open("log", Log)
			ok(t, "open", err)
		}
	}
	ok(t, "close", a.Close())
	ok(t, "close", b.Close())
	same(t, "log", read(t, fs, "log"), data)
}

func testUnlinkOpen(t *testing.T, fs Tree) {
	data := Bytes(8, 3000)
	write(t, fs, "f", data)
	f, err := fs.Open("f", Update)
	ok(t, "open", err)
	ok(t, "unlink", fs.Remove("f"))
	_, err = fs.Stat("f")
	want(t, "stat of the name", err, fault.NotExist)
	same(t, "unlinked", readAll(t, f), data)
	_, err = f.WriteAt([]byte("more"), 3000)
	ok(t, "write", err)
	same(t, "unlinked and written", readAll(t, f), append(data, "more"...))
	ok(t, "sync", f.Sync())
	same(t, "unlinked and flushed", readAll(t, f), append(data, "more"...))
	st, err := f.Stat()
	ok(t, "stat", err)
	if st.Nlink != 0 {
		t.Fatalf("%d links", st.Nlink)
	}
	ok(t, "close", f.Close())
	write(t, fs, "f", []byte("another"))
	same(t, "the new file", read(t, fs, "f"), []byte("another"))
}

func testAttrsOpen(t *testing.T, fs Tree) {
	f, err := fs.Open("f", Fresh)
	ok(t, "create", err)
	_, err = f.WriteAt([]byte("data"), 0)
	ok(t, "write", err)
	ok(t, "chmod", fs.Chmod("f", 0o600))
	ok(t, "utimes", fs.Chtimes("f", 1e18))
	check := func(when string) {
		t.Helper()
		st, err := fs.Stat("f")
		ok(t, "stat", err)
		if st.Perm != 0o600 || st.Mtime != 1e18 || st.Size != 4 {
			t.Fatalf("%s: %o, mtime %d, size %d", when, st.Perm, st.Mtime, st.Size)
		}
	}
	check("while open")
	ok(t, "close", f.Close())
	check("after close")
	same(t, "f", read(t, fs, "f"), []byte("data"))
	check("after reading")
}

func testBeyondEnd(t *testing.T, fs Tree) {
	write(t, fs, "f", []byte("short"))
	f, err := fs.Open("f", ReadOnly)
	ok(t, "open", err)
	defer f.Close()
	p := make([]byte, 10)
	if n, err := f.ReadAt(p, 5); n != 0 || err != io.EOF {
		t.Fatalf("at the end: %d, %v", n, err)
	}
	if n, err := f.ReadAt(p, 1<<40); n != 0 || err != io.EOF {
		t.Fatalf("far beyond: %d, %v", n, err)
	}
	if n, err := f.ReadAt(p, 3); n != 2 || err != io.EOF {
		t.Fatalf("across the end: %d, %v", n, err)
	}
}

func testWriteDir(t *testing.T, fs Tree) {
	ok(t, "mkdir", fs.Mkdir("d"))
	_, err := fs.Open("d", Update)
	want(t, "open for writing", err, fault.IsDir)
	want(t, "truncate", fs.Truncate("d", 0), fault.IsDir)
}
