// Command fsprobe measures what a program sees of a file system. bench.sh calls it.
//
//	fsprobe seqwrite FILE MIB          1 MiB writes, fsync, close
//	fsprobe seqread  FILE              1 MiB reads to EOF
//	fsprobe seqsmall FILE MIB BS CAPS  BS-byte appends until MIB or CAPS seconds, fsync
//	fsprobe meta     DIR N THREADS BYTES CAPS   create/stat/.../unlink rates
//	fsprobe dirs     DIR N CAPS        mkdir/rmdir rates
//	fsprobe hot      DIR N SECONDS     lstat of N files, again and again, in a directory that nobody changes
//
// Every figure is printed as "name value unit".
package main

import (
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
)

func die(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, "fsprobe:", err)
		os.Exit(1)
	}
}

func atoi(s string) int {
	n, err := strconv.Atoi(s)
	die(err)
	return n
}

func fill(b []byte, seed uint64) {
	x := seed*0x9E3779B97F4A7C15 + 1
	for i := 0; i+8 <= len(b); i += 8 {
		x ^= x << 13
		x ^= x >> 7
		x ^= x << 17
		for k := 0; k < 8; k++ {
			b[i+k] = byte(x >> (8 * k))
		}
	}
}

func dropCaches() {
	syscall.Sync()
	_ = os.WriteFile("/proc/sys/vm/drop_caches", []byte("3\n"), 0)
}

// phase runs op(i) for i in [0,n) on t threads, bounded by capSec.
// It returns how many completed, and prints the rate.
func phase(name string, n, t int, capSec float64, op func(i int) error) int {
	var next, done, failed int64
	var firstErr atomic.Value
	start := time.Now()
	deadline := start.Add(time.Duration(capSec * float64(time.Second)))
	var wg sync.WaitGroup
	for w := 0; w < t; w++ {
		wg.Add(1)
		go func() {
			defer wg.Done()
			for {
				if time.Now().After(deadline) {
					return
				}
				i := int(atomic.AddInt64(&next, 1) - 1)
				if i >= n {
					return
				}
				if err := op(i); err != nil {
					atomic.AddInt64(&failed, 1)
					firstErr.CompareAndSwap(nil, err.Error())
				}
				atomic.AddInt64(&done, 1)
			}
		}()
	}
	wg.Wait()
	el := time.Since(start).Seconds()
	fmt.Printf("%s %.1f op/s\n", name, float64(done)/el)
	if failed > 0 {
		fmt.Fprintf(os.Stderr, "fsprobe: %s: %d of %d failed: %v\n", name, failed, done, firstErr.Load())
		fmt.Printf("%s_errors %d count\n", name, failed)
	}
	return int(done)
}

func meta(dir string, n, t, size int, capSec float64) {
	die(os.MkdirAll(dir, 0o755))
	tag := fmt.Sprintf("%d_t%d", size, t)
	a := func(i int) string { return filepath.Join(dir, fmt.Sprintf("f%06d", i)) }
	b := func(i int) string { return filepath.Join(dir, fmt.Sprintf("g%06d", i)) }
	buf := make([]byte, size)
	fill(buf, 7)
	n = phase("create"+tag, n, t, capSec, func(i int) error {
		f, err := os.OpenFile(a(i), os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o644)
		if err != nil {
			return err
		}
		if size > 0 {
			if _, err = f.Write(buf); err != nil {
				f.Close()
				return err
			}
		}
		return f.Close()
	})
	if size == 0 {
		phase("stat_hot"+tag, n, t, capSec, func(i int) error {
			var st syscall.Stat_t
			return syscall.Lstat(a(i), &st)
		})
		dropCaches()
		phase("stat_cold"+tag, n, t, capSec, func(i int) error {
			var st syscall.Stat_t
			return syscall.Lstat(a(i), &st)
		})
		if t == 1 {
			dropCaches()
			start := time.Now()
			ents, err := os.ReadDir(dir)
			die(err)
			k := 0
			for _, e := range ents {
				if _, err := e.Info(); err == nil {
					k++
				}
			}
			fmt.Printf("readdir_stat%s %.1f op/s\n", tag, float64(k)/time.Since(start).Seconds())
			if k != n {
				fmt.Fprintf(os.Stderr, "fsprobe: readdir saw %d of %d\n", k, n)
			}
		}
		m := phase("rename"+tag, n, t, capSec, func(i int) error { return os.Rename(a(i), b(i)) })
		for i := 0; i < m; i++ { // back, untimed, only if the phase was cut short
			if m == n {
				break
			}
			_ = os.Rename(b(i), a(i))
		}
		if m == n {
			a = b
		}
	} else {
		dropCaches()
		phase("openread"+tag, n, t, capSec, func(i int) error {
			f, err := os.Open(a(i))
			if err != nil {
				return err
			}
			defer f.Close()
			var p [8192]byte
			k, err := io.ReadFull(f, p[:])
			if err == io.ErrUnexpectedEOF && k == size {
				return nil
			}
			return fmt.Errorf("short: %d %v", k, err)
		})
	}
	d := phase("unlink"+tag, n, t, capSec, func(i int) error { return os.Remove(a(i)) })
	for i := d; i < n; i++ {
		_ = os.Remove(a(i))
	}
	_ = os.RemoveAll(dir)
}

// hot makes n files, lets whatever follows from that come to rest, and looks at all of them until the time is over.
func hot(dir string, n int, seconds float64) {
	die(os.MkdirAll(dir, 0o755))
	names := make([]string, n)
	for i := range names {
		names[i] = filepath.Join(dir, fmt.Sprintf("f%06d", i))
		die(os.WriteFile(names[i], nil, 0o644))
	}
	time.Sleep(2 * time.Second)
	start, done := time.Now(), 0
	for time.Since(start).Seconds() < seconds {
		for _, name := range names {
			var st syscall.Stat_t
			die(syscall.Lstat(name, &st))
		}
		done += n
	}
	fmt.Printf("stat_hot_again %.1f op/s\n", float64(done)/time.Since(start).Seconds())
	die(os.RemoveAll(dir))
}

func main() {
	if len(os.Args) < 3 {
		die(fmt.Errorf("usage: see the head of the source"))
	}
	a := os.Args
	switch a[1] {
	case "seqwrite":
		mib := atoi(a[3])
		buf := make([]byte, 1<<20)
		fill(buf, 99) // incompressible
		start := time.Now()
		f, err := os.Create(a[2])
		die(err)
		for i := 0; i < mib; i++ {
			fill(buf[:4096], uint64(i)) // defeat trivial dedup; cheap
			_, err = f.Write(buf)
			die(err)
		}
		w := time.Since(start).Seconds()
		die(f.Sync())
		die(f.Close())
		el := time.Since(start).Seconds()
		fmt.Printf("seqwrite %.1f MiB/s\n", float64(mib)/el)
		fmt.Printf("seqwrite_fsync_tail %.3f s\n", el-w)
	case "seqread":
		buf := make([]byte, 1<<20)
		start := time.Now()
		f, err := os.Open(a[2])
		die(err)
		var tot int64
		for {
			k, err := f.Read(buf)
			tot += int64(k)
			if err == io.EOF {
				break
			}
			die(err)
		}
		f.Close()
		fmt.Printf("seqread %.1f MiB/s\n", float64(tot)/(1<<20)/time.Since(start).Seconds())
	case "seqsmall":
		mib, bs, capSec := atoi(a[3]), atoi(a[4]), atoi(a[5])
		buf := make([]byte, bs)
		fill(buf, 3)
		n := mib << 20 / bs
		start := time.Now()
		deadline := start.Add(time.Duration(capSec) * time.Second)
		f, err := os.Create(a[2])
		die(err)
		i := 0
		for ; i < n; i++ {
			if i&255 == 0 && time.Now().After(deadline) {
				break
			}
			_, err = f.Write(buf)
			die(err)
		}
		die(f.Sync())
		die(f.Close())
		el := time.Since(start).Seconds()
		fmt.Printf("seqsmall %.2f MiB/s\n", float64(i*bs)/(1<<20)/el)
	case "meta":
		meta(a[2], atoi(a[3]), atoi(a[4]), atoi(a[5]), float64(atoi(a[6])))
	case "dirs":
		dir, n, capSec := a[2], atoi(a[3]), float64(atoi(a[4]))
		die(os.MkdirAll(dir, 0o755))
		d := func(i int) string { return filepath.Join(dir, fmt.Sprintf("d%06d", i)) }
		n = phase("mkdir", n, 1, capSec, func(i int) error { return os.Mkdir(d(i), 0o755) })
		phase("rmdir", n, 1, capSec, func(i int) error { return os.Remove(d(i)) })
		_ = os.RemoveAll(dir)
	case "hot":
		hot(a[2], atoi(a[3]), float64(atoi(a[4])))
	default:
		die(fmt.Errorf("unknown verb %q", a[1]))
	}
}
