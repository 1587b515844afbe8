package fstest

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"runtime/debug"
	"slices"
	"strings"
	"unsafe"

	"golang.org/x/sys/unix"
)

// kernelVerbs are the calls that need a kernel: descriptors, maps, programs, other users.
var kernelVerbs = map[string]verb{
	// Names.
	"chdir":  {1, func(_ *player, a []string) (any, error) { return nil, unix.Chdir(a[0]) }},
	"fchdir": {1, onFD(func(fd int, _ []string) (any, error) { return nil, unix.Fchdir(fd) })},
	"getcwd": {0, callGetcwd},
	"umask":  {1, func(_ *player, a []string) (any, error) { unix.Umask(int(octal(a, 0, 0))); return nil, nil }},
	"bind":   {1, callBind},
	"linkfd": {2, onFD(func(fd int, a []string) (any, error) {
		return nil, unix.Linkat(unix.AT_FDCWD, fmt.Sprint("/proc/self/fd/", fd), unix.AT_FDCWD, a[1], unix.AT_SYMLINK_FOLLOW)
	})},
	"linkfollow": {2, func(_ *player, a []string) (any, error) {
		return nil, unix.Linkat(unix.AT_FDCWD, a[0], unix.AT_FDCWD, a[1], unix.AT_SYMLINK_FOLLOW)
	}},
	"getdents": {2, callGetdents},
	"steps":    {2, callSteps},
	"seekdir":  {1, callSeekdir},
	"types":    {1, callTypes},
	"empty":    {1, callEmpty},
	"listing":  {2, callListing},
	// Attributes.
	"lchown": {3, func(p *player, a []string) (any, error) {
		return nil, kernel{p}.chownat(a[0], num(a, 1), num(a, 2), unix.AT_SYMLINK_NOFOLLOW)
	}},
	"lutimens": {3, func(p *player, a []string) (any, error) {
		return nil, kernel{p}.utimensat(a[0], stampOf(a[1]), stampOf(a[2]), unix.AT_SYMLINK_NOFOLLOW)
	}},
	"fchmod": {2, onFD(func(fd int, a []string) (any, error) { return nil, unix.Fchmod(fd, octal(a, 1, 0)) })},
	"fchown": {3, onFD(func(fd int, a []string) (any, error) { return nil, unix.Fchown(fd, int(num(a, 1)), int(num(a, 2))) })},
	"futimens": {3, onFD(func(fd int, a []string) (any, error) {
		return nil, futimens(fd, timespec(stampOf(a[1])), timespec(stampOf(a[2])))
	})},
	"badtimes": {1, func(_ *player, a []string) (any, error) {
		return nil, unix.UtimesNanoAt(unix.AT_FDCWD, a[0], []unix.Timespec{{Nsec: 1e9}, {Nsec: -1}}, 0)
	}},
	"fsyncpath": {1, func(p *player, a []string) (any, error) {
		f, err := p.open(a[0], []string{"rdonly"}, 0)
		if err != nil {
			return nil, err
		}
		return nil, errors.Join(f.sync(), f.close())
	}},
	"access": {2, func(p *player, a []string) (any, error) {
		dir, rel := kernel{p}.at(a[0])
		return nil, unix.Faccessat2(dir, rel, uint32(bits(accessBits, strings.Split(a[1], ","))), unix.AT_EACCESS|empty(dir, rel))
	}},
	"statfs": {1, callStatfs},
	// Open files.
	"openat2": {4, callOpenat2},
	"dup": {2, func(p *player, a []string) (any, error) {
		f, err := opened(unix.Dup(kernel{p}.fd(a[1])))
		p.files[a[0]] = f
		return nil, err
	}},
	"setfl": {2, onFD(func(fd int, a []string) (any, error) {
		_, err := unix.FcntlInt(uintptr(fd), unix.F_SETFL, bits(openFlags, strings.Split(a[1], ",")))
		return nil, err
	})},
	"fdatasync": {1, onFD(func(fd int, _ []string) (any, error) { return nil, unix.Fdatasync(fd) })},
	"syncfs":    {1, onFD(func(fd int, _ []string) (any, error) { return nil, unix.Syncfs(fd) })},
	"get":       {2, onFD(callGet)},
	"readv":     {3, onFD(callReadv)},
	"writev":    {2, onFD(callWritev)},
	"preadv2":   {4, onFD(callPreadv2)},
	"pwritev2":  {4, onFD(callPwritev2)},
	"pwritemis": {3, onFD(callMisaligned)},
	"sendfile":  {4, callSendfile},
	"splice":    {4, callSplice},
	// Maps: mmap NAME FILE OFF LEN HOW.
	"mmap": {5, callMmap},
	"pokesync": {3, onMap(func(m []byte, a []string) (any, error) {
		copy(m[num(a, 1):], data(a[2]))
		return nil, unix.Msync(m, unix.MS_SYNC)
	})},
	"busy":  {1, callBusy},
	"peek":  {3, onMap(func(m []byte, a []string) (any, error) { return bytes.Clone(m[num(a, 1):][:num(a, 2)]), nil })},
	"poke":  {3, onMap(func(m []byte, a []string) (any, error) { copy(m[num(a, 1):], data(a[2])); return nil, nil })},
	"msync": {1, onMap(func(m []byte, _ []string) (any, error) { return nil, unix.Msync(m, unix.MS_SYNC) })},
	"munmap": {1, func(p *player, a []string) (any, error) {
		m := p.maps[a[0]]
		delete(p.maps, a[0])
		return nil, unix.Munmap(m)
	}},
	// Others.
	"exec":     {1, callExec},
	"program":  {1, callProgram},
	"watch":    {3, callWatch},
	"events":   {1, onFD(callEvents)},
	"fill":     {2, callFill},
	"linkmany": {3, callLinkmany},
}

func onFD(call func(fd int, a []string) (any, error)) func(*player, []string) (any, error) {
	return func(p *player, a []string) (any, error) {
		return again(func() (any, error) { return call(kernel{p}.fd(a[0]), a) })
	}
}

var accessBits = map[string]int{"f": unix.F_OK, "r": unix.R_OK, "w": unix.W_OK, "x": unix.X_OK}

func callGetcwd(*player, []string) (any, error) {
	b := make([]byte, 8192)
	n, err := unix.Getcwd(b)
	return string(b[max(0, bytes.LastIndexByte(b[:max(n-1, 0)], '/')+1):max(n-1, 0)]), err
}

func callBind(_ *player, a []string) (any, error) {
	fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, err
	}
	defer unix.Close(fd)
	return nil, unix.Bind(fd, &unix.SockaddrUnix{Name: a[0]})
}

// callGetdents makes one getdents64(2): getdents NAME SIZE.
func callGetdents(p *player, a []string) (any, error) {
	list, err := entries(kernel{p}.fd(a[0]), int(num(a, 1)))
	var names []string
	for _, e := range list {
		names = append(names, e.name)
	}
	slices.Sort(names)
	return strings.Join(names, " "), err
}

func callStatfs(_ *player, a []string) (any, error) {
	var st unix.Statfs_t
	_, err := again(func() (int, error) { return 0, unix.Statfs(a[0], &st) })
	return map[string]string{
		"namelen": fmt.Sprint(st.Namelen), "bsize": fmt.Sprint(st.Bsize), "frsize": fmt.Sprint(st.Frsize), "blocks": fmt.Sprint(st.Blocks),
		"bavail": fmt.Sprint(st.Bavail), "files": fmt.Sprint(st.Files), "ffree": fmt.Sprint(st.Ffree),
	}, err
}

var resolveBits = map[string]int{
	"none": 0, "beneath": unix.RESOLVE_BENEATH, "inroot": unix.RESOLVE_IN_ROOT, "nomagic": unix.RESOLVE_NO_MAGICLINKS, "nosymlinks": unix.RESOLVE_NO_SYMLINKS,
	"noxdev": unix.RESOLVE_NO_XDEV,
}

// callOpenat2 is openat2 NAME PATH FLAGS RESOLVE [MODE].
func callOpenat2(p *player, a []string) (any, error) {
	dir, rel := kernel{p}.at(a[1])
	how := &unix.OpenHow{
		Flags: uint64(bits(openFlags, strings.Split(a[2], ","))) | unix.O_CLOEXEC, Mode: uint64(octal(a, 4, 0)),
		Resolve: uint64(bits(resolveBits, strings.Split(a[3], ","))),
	}
	f, err := opened(again(func() (int, error) { return unix.Openat2(dir, rel, how) }))
	if err == nil {
		p.files[a[0]] = f
	}
	return nil, err
}

// callGet is read(2): get NAME N.
func callGet(fd int, a []string) (any, error) {
	p := aligned(int(num(a, 1)))
	n, err := unix.Read(fd, p)
	return p[:max(n, 0)], err
}

// vectors returns buffers of the sizes given.
func vectors(sizes []string) (list [][]byte) {
	for i := range sizes {
		list = append(list, make([]byte, num(sizes, i)))
	}
	return list
}

// callReadv is readv NAME SIZE SIZE ...
func callReadv(fd int, a []string) (any, error) {
	v := vectors(a[1:])
	n, err := unix.Readv(fd, v)
	return slices.Concat(v...)[:max(n, 0)], err
}

func callWritev(fd int, a []string) (any, error) {
	var v [][]byte
	for _, w := range a[1:] {
		v = append(v, data(w))
	}
	n, err := unix.Writev(fd, v)
	return wrote(n, len(slices.Concat(v...)), err)
}

var rwfBits = map[string]int{"none": 0, "dsync": unix.RWF_DSYNC, "sync": unix.RWF_SYNC, "append": unix.RWF_APPEND, "hipri": unix.RWF_HIPRI, "nowait": unix.RWF_NOWAIT}

// callPreadv2 is preadv2 NAME OFF FLAGS SIZE ...; -1 is the file's own place.
func callPreadv2(fd int, a []string) (any, error) {
	v := vectors(a[3:])
	n, err := unix.Preadv2(fd, v, num(a, 1), bits(rwfBits, strings.Split(a[2], ",")))
	return slices.Concat(v...)[:max(n, 0)], err
}

// callPwritev2 is pwritev2 NAME OFF FLAGS DATA.
func callPwritev2(fd int, a []string) (any, error) {
	p := data(a[3])
	n, err := unix.Pwritev2(fd, [][]byte{p}, num(a, 1), bits(rwfBits, strings.Split(a[2], ",")))
	return wrote(n, len(p), err)
}

// callMisaligned writes from memory that is not aligned: pwritemis NAME DATA OFF.
func callMisaligned(fd int, a []string) (any, error) {
	p := data(a[1])
	b := aligned(len(p) + 1)
	copy(b[1:], p)
	n, err := unix.Pwrite(fd, b[1:], num(a, 2))
	return wrote(n, len(p), err)
}

// callSendfile is sendfile OUT IN OFF N.
func callSendfile(p *player, a []string) (any, error) {
	off := num(a, 2)
	n, err := unix.Sendfile(kernel{p}.fd(a[0]), kernel{p}.fd(a[1]), &off, int(num(a, 3)))
	return fmt.Sprint(n), err
}

// callSplice moves N bytes from IN's OFF through a pipe to OUT's end: splice OUT IN OFF N.
func callSplice(p *player, a []string) (any, error) {
	var pipe [2]int
	if err := unix.Pipe2(pipe[:], unix.O_CLOEXEC); err != nil {
		return nil, err
	}
	defer unix.Close(pipe[0])
	defer unix.Close(pipe[1])
	off, n := num(a, 2), int(num(a, 3))
	got, err := unix.Splice(kernel{p}.fd(a[1]), &off, pipe[1], nil, n, 0)
	if err != nil {
		return nil, err
	}
	put, err := unix.Splice(pipe[0], nil, kernel{p}.fd(a[0]), nil, int(got), 0)
	return fmt.Sprint(put), err
}

var mapBits = map[string]int{"r": unix.PROT_READ, "w": unix.PROT_WRITE, "x": unix.PROT_EXEC, "none": 0}

// callMmap is mmap NAME FILE OFF LEN shared|private,r,w,x.
func callMmap(p *player, a []string) (any, error) {
	how := strings.Split(a[4], ",")
	flags := map[string]int{"shared": unix.MAP_SHARED, "private": unix.MAP_PRIVATE}[how[0]]
	m, err := unix.Mmap(kernel{p}.fd(a[1]), num(a, 2), int(num(a, 3)), bits(mapBits, how[1:]), flags)
	if err == nil {
		p.maps[a[0]] = m
	}
	return nil, err
}

// errBus is what a touch beyond the end of a mapped file gives.
var errBus = errors.New("SIGBUS")

func onMap(call func(m []byte, a []string) (any, error)) func(*player, []string) (any, error) {
	return func(p *player, a []string) (got any, err error) {
		m, ok := p.maps[a[0]]
		if !ok {
			return nil, errUsage("%s is not mapped", a[0])
		}
		debug.SetPanicOnFault(true)
		defer func() {
			if r := recover(); r != nil {
				if _, fault := r.(interface{ Addr() uintptr }); !fault {
					panic(r)
				}
				err = errBus
			}
		}()
		return call(m, a)
	}
}

// callExec runs a program of the directory and answers what it prints.
func callExec(_ *player, a []string) (any, error) {
	cmd := exec.Cmd{Path: a[0], Args: a}
	out, err := cmd.CombinedOutput()
	var p *os.PathError
	if errors.As(err, &p) {
		err = p.Err
	}
	return strings.TrimSpace(string(out)), err
}

// callProgram puts a program there: a shell.
func callProgram(_ *player, a []string) (any, error) {
	b, err := os.ReadFile("/bin/sh")
	if err != nil {
		return nil, err
	}
	return nil, os.WriteFile(a[0], b, 0o755)
}

// callBusy runs a shell of the directory and, while it runs, opens it for writing.
func callBusy(p *player, a []string) (any, error) {
	cmd := exec.Cmd{Path: a[0], Args: []string{a[0], "-c", "read x"}}
	in, err := cmd.StdinPipe()
	if err != nil {
		return nil, err
	}
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	f, err := p.open(a[0], []string{"wronly"}, 0)
	if err == nil {
		f.close()
	}
	in.Close()
	_ = cmd.Wait() // its read has failed
	return nil, err
}

var eventBits = map[string]int{
	"create": unix.IN_CREATE, "delete": unix.IN_DELETE, "modify": unix.IN_MODIFY, "attrib": unix.IN_ATTRIB, "movedfrom": unix.IN_MOVED_FROM,
	"movedto": unix.IN_MOVED_TO, "closewrite": unix.IN_CLOSE_WRITE, "open": unix.IN_OPEN, "deleteself": unix.IN_DELETE_SELF,
}

// callWatch is watch NAME PATH EVENTS.
func callWatch(p *player, a []string) (any, error) {
	fd, err := unix.InotifyInit1(unix.IN_NONBLOCK | unix.IN_CLOEXEC)
	if err != nil {
		return nil, err
	}
	p.files[a[0]] = &descriptor{fd: fd}
	_, err = unix.InotifyAddWatch(fd, a[1], uint32(bits(eventBits, strings.Split(a[2], ","))))
	return nil, err
}

// callEvents answers what has happened since: "create:f modify:f".
func callEvents(fd int, _ []string) (any, error) {
	buf := make([]byte, 64<<10)
	n, err := unix.Read(fd, buf)
	if err == unix.EAGAIN {
		return "", nil
	}
	var words []string
	for buf = buf[:max(n, 0)]; len(buf) > 0; {
		e := (*unix.InotifyEvent)(unsafe.Pointer(&buf[0]))
		name := unix.ByteSliceToString(buf[unix.SizeofInotifyEvent:][:e.Len])
		for what, bit := range eventBits {
			if e.Mask&uint32(bit) != 0 {
				words = append(words, what+":"+name)
			}
		}
		buf = buf[unix.SizeofInotifyEvent+int(e.Len):]
	}
	return strings.Join(words, " "), err
}

// callFill makes N names, 0 and so on, of few files, in a directory: fill DIR N.
func callFill(p *player, a []string) (any, error) {
	const each = 1000 // names of a file: making files is what takes time
	for i := range num(a, 1) {
		name := fmt.Sprint(a[0], "/", i)
		var err error
		if i%each == 0 {
			err = p.mknod(name, "file", 0o644, 0)
		} else {
			err = p.link(fmt.Sprint(a[0], "/", i-i%each), name)
		}
		if err != nil {
			return nil, err
		}
	}
	return nil, nil
}

// callLinkmany gives a file N more names, 0 and so on, in a directory: linkmany PATH DIR N.
func callLinkmany(p *player, a []string) (any, error) {
	for i := range num(a, 2) {
		if err := p.link(a[0], fmt.Sprint(a[1], "/", i)); err != nil {
			return nil, err
		}
	}
	return nil, nil
}

// futimens is the system call, which no library shows: utimensat(2) with no path.
func futimens(fd int, atime, mtime unix.Timespec) error {
	times := [2]unix.Timespec{atime, mtime}
	if _, _, no := unix.Syscall6(unix.SYS_UTIMENSAT, uintptr(fd), 0, uintptr(unsafe.Pointer(&times)), 0, 0, 0); no != 0 {
		return no
	}
	return nil
}
