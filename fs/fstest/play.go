package fstest

import (
	"bytes"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"dfs/cluster/fault"
)

// calls are the system calls that a file system itself decides. Paths are as in a script.
type calls interface {
	open(path string, flags []string, mode uint32) (file, error)
	mkdir(path string, mode uint32) error
	mknod(path, kind string, mode, dev uint32) error
	link(old, path string) error
	symlink(target, path string) error
	readlink(path string) (string, error)
	unlink(path string) error
	rmdir(path string) error
	rename(old, path string, flags []string) error
	truncate(path string, size int64) error
	chmod(path string, mode uint32) error
	chown(path string, uid, gid int64) error // -1 leaves it
	utimens(path string, atime, mtime stamp) error
	stat(path string, follow bool) (attrs, error)
	list(path string) ([]string, error)
	tick(after time.Time) // returns when what is done now is stamped later
}

// file is one open file.
type file interface {
	pread(n int, off int64) ([]byte, error)
	pwrite(p []byte, off int64) (int, error)
	write(p []byte) (int, error)
	truncate(size int64) error
	stat() (attrs, error)
	sync() error
	seek(off int64, whence string) (int64, error)
	close() error
}

// attrs is what a stat answers.
type attrs struct {
	kind                    string // file dir link fifo socket char block
	mode                    uint32
	nlink                   uint64
	uid, gid                uint32
	rdev                    uint64
	size                    int64
	blocks                  uint64
	ino                     uint64
	atime, mtime, ctime, bt time.Time
}

// stamp is a time to be set.
type stamp struct {
	at        time.Time
	now, omit bool
}

func (a attrs) fields() map[string]string {
	return map[string]string{
		"type": a.kind, "mode": fmt.Sprintf("%04o", a.mode), "nlink": fmt.Sprint(a.nlink), "uid": fmt.Sprint(a.uid),
		"gid": fmt.Sprint(a.gid), "rdev": fmt.Sprint(a.rdev), "size": fmt.Sprint(a.size), "blocks": fmt.Sprint(a.blocks),
		"ino": fmt.Sprint(a.ino), "atime": stampText(a.atime), "mtime": stampText(a.mtime), "ctime": stampText(a.ctime), "btime": stampText(a.bt),
	}
}

func stampText(t time.Time) string { return fmt.Sprintf("%d.%09d", t.Unix(), t.Nanosecond()) }

// player plays scripts on one system.
type player struct {
	calls
	as    func(ids []uint32) (back func(), err error) // nil: cannot
	more  map[string]verb                             // besides verbs
	files map[string]file
	notes map[string]string
	maps  map[string][]byte // of memory
}

// verb is a call of a script. It answers nothing, a string, bytes, or named values.
type verb struct {
	args int // at least
	call func(p *player, a []string) (any, error)
}

// verbs are the calls every system has. kernel_linux.go has those that only a kernel has.
var verbs = map[string]verb{
	// Names.
	"mkdir": {1, func(p *player, a []string) (any, error) { return nil, p.mkdir(a[0], octal(a, 1, 0o755)) }},
	"mknod": {2, func(p *player, a []string) (any, error) {
		return nil, p.mknod(a[0], a[1], octal(a, 2, 0o644), num32(a, 3))
	}},
	"link":     {2, func(p *player, a []string) (any, error) { return nil, p.link(a[0], a[1]) }},
	"symlink":  {2, func(p *player, a []string) (any, error) { return nil, p.symlink(a[0], a[1]) }},
	"readlink": {1, func(p *player, a []string) (any, error) { return p.readlink(a[0]) }},
	"unlink":   {1, func(p *player, a []string) (any, error) { return nil, p.unlink(a[0]) }},
	"rmdir":    {1, func(p *player, a []string) (any, error) { return nil, p.rmdir(a[0]) }},
	"rename":   {2, callRename},
	"list": {1, func(p *player, a []string) (any, error) {
		names, err := p.list(a[0])
		slices.Sort(names)
		return strings.Join(names, " "), err
	}},
	// Attributes.
	"stat": {1, func(p *player, a []string) (any, error) {
		st, err := p.stat(a[0], true)
		return st.fields(), err
	}},
	"lstat": {1, func(p *player, a []string) (any, error) {
		st, err := p.stat(a[0], false)
		return st.fields(), err
	}},
	"same":     {2, callSame},
	"chmod":    {2, func(p *player, a []string) (any, error) { return nil, p.chmod(a[0], octal(a, 1, 0)) }},
	"chown":    {3, func(p *player, a []string) (any, error) { return nil, p.chown(a[0], num(a, 1), num(a, 2)) }},
	"truncate": {2, func(p *player, a []string) (any, error) { return nil, p.truncate(a[0], num(a, 1)) }},
	"utimens":  {3, func(p *player, a []string) (any, error) { return nil, p.utimens(a[0], stampOf(a[1]), stampOf(a[2])) }},
	"tick":     {0, func(p *player, _ []string) (any, error) { p.tick(time.Now()); return nil, nil }},
	"note":     {3, callNote},
	"noted":    {3, callNoted},
	// Files as wholes.
	"write": {2, callWrite},
	"read":  {1, callRead},
	"part":  {3, callPart},
	// Open files: open NAME PATH FLAGS [MODE].
	"open": {3, callOpen},
	"close": {1, func(p *player, a []string) (any, error) {
		f, err := p.file(a[0])
		if err != nil {
			return nil, err
		}
		delete(p.files, a[0])
		return nil, f.close()
	}},
	"pread": {3, onFile(func(f file, a []string) (any, error) { return f.pread(int(num(a, 1)), num(a, 2)) })},
	"pwrite": {3, onFile(func(f file, a []string) (any, error) {
		n, err := f.pwrite(data(a[1]), num(a, 2))
		return wrote(n, len(data(a[1])), err)
	})},
	"put": {2, onFile(func(f file, a []string) (any, error) { // write(2)
		n, err := f.write(data(a[1]))
		return wrote(n, len(data(a[1])), err)
	})},
	"ftruncate": {2, onFile(func(f file, a []string) (any, error) { return nil, f.truncate(num(a, 1)) })},
	"fsync":     {1, onFile(func(f file, a []string) (any, error) { return nil, f.sync() })},
	"fstat": {1, onFile(func(f file, a []string) (any, error) {
		st, err := f.stat()
		return st.fields(), err
	})},
	"lseek": {3, onFile(func(f file, a []string) (any, error) {
		at, err := f.seek(num(a, 1), a[2])
		return fmt.Sprint(at), err
	})},
}

// errUsage is a script that makes no sense.
func errUsage(format string, args ...any) error { return fmt.Errorf("script: "+format, args...) }

func num(a []string, i int) int64 {
	if i >= len(a) {
		return 0
	}
	n, err := strconv.ParseInt(a[i], 0, 64)
	if err != nil {
		panic(errUsage("%v", err))
	}
	return n
}

func num32(a []string, i int) uint32 { return uint32(num(a, i)) }

func octal(a []string, i int, otherwise uint32) uint32 {
	if i >= len(a) {
		return otherwise
	}
	n, err := strconv.ParseUint(a[i], 8, 32)
	if err != nil {
		panic(errUsage("%v", err))
	}
	return uint32(n)
}

// stampOf reads now, omit, or seconds.nanoseconds.
func stampOf(w string) stamp {
	if w == "now" || w == "omit" {
		return stamp{now: w == "now", omit: w == "omit"}
	}
	sec, frac, _ := strings.Cut(w, ".")
	s, err := strconv.ParseInt(sec, 10, 64)
	ns, err2 := strconv.ParseInt((frac + "000000000")[:9], 10, 64)
	if err = errors.Join(err, err2); err != nil {
		panic(errUsage("%v", err))
	}
	return stamp{at: time.Unix(s, ns)}
}

func wrote(n, of int, err error) (any, error) {
	if err == nil && n < of {
		return fmt.Sprint(n), nil
	}
	return nil, err
}

func (p *player) file(name string) (file, error) {
	f := p.files[name]
	if f == nil {
		return nil, errUsage("%s is not open", name)
	}
	return f, nil
}

func onFile(fn func(f file, a []string) (any, error)) func(*player, []string) (any, error) {
	return func(p *player, a []string) (any, error) {
		f, err := p.file(a[0])
		if err != nil {
			return nil, err
		}
		return fn(f, a)
	}
}

func callOpen(p *player, a []string) (any, error) {
	f, err := p.open(a[1], strings.Split(a[2], ","), octal(a, 3, 0o644))
	if err == nil {
		p.files[a[0]] = f
	}
	return nil, err
}

func callWrite(p *player, a []string) (any, error) {
	f, err := p.open(a[0], []string{"wronly", "creat", "trunc"}, 0o644)
	if err != nil {
		return nil, err
	}
	if p := data(a[1]); len(p) > 0 {
		_, err = f.pwrite(p, 0)
	}
	return nil, errors.Join(err, f.close())
}

func callRead(p *player, a []string) (any, error) { return p.part(a[0], 1<<24, 0) }

// callPart reads with an open of its own: part PATH N OFF.
func callPart(p *player, a []string) (any, error) { return p.part(a[0], int(num(a, 1)), num(a, 2)) }

func (p *player) part(path string, n int, off int64) ([]byte, error) {
	f, err := p.open(path, []string{"rdonly"}, 0)
	if err != nil {
		return nil, err
	}
	b, err := f.pread(n, off)
	return b, errors.Join(err, f.close())
}

func callRename(p *player, a []string) (any, error) {
	var flags []string
	if len(a) > 2 {
		flags = strings.Split(a[2], ",")
	}
	return nil, p.rename(a[0], a[1], flags)
}

func callSame(p *player, a []string) (any, error) {
	x, err := p.stat(a[0], false)
	if err != nil {
		return nil, err
	}
	y, err := p.stat(a[1], false)
	if err == nil && x.ino != y.ino {
		return "different", nil
	}
	return "same", err
}

// callNote remembers a value of a stat: note NAME PATH KEY.
func callNote(p *player, a []string) (any, error) {
	st, err := p.stat(a[1], false)
	p.notes[a[0]] = st.fields()[a[2]]
	return nil, err
}

// callNoted compares a value with what was remembered: noted NAME PATH KEY answers less, equal or greater.
func callNoted(p *player, a []string) (any, error) {
	st, err := p.stat(a[1], false)
	if err != nil {
		return nil, err
	}
	now, then := number(st.fields()[a[2]]), number(p.notes[a[0]])
	return map[int]string{-1: "less", 0: "equal", 1: "greater"}[compare(now, then)], nil
}

// number is a value as what can be compared: seconds and nanoseconds.
func number(v string) [2]int64 {
	whole, frac, _ := strings.Cut(v, ".")
	a, _ := strconv.ParseInt(whole, 10, 64)
	b, _ := strconv.ParseInt(frac, 10, 64)
	return [2]int64{a, b}
}

func compare(a, b [2]int64) int { return slices.Compare(a[:], b[:]) }

// lacks returns the first call of s that this player does not know, "" if it knows all.
func (p *player) lacks(s Script) string {
	for _, st := range s.steps {
		if _, ok := p.verb(st.verb); !ok {
			return st.verb
		}
	}
	return ""
}

func (p *player) verb(name string) (verb, bool) {
	v, ok := verbs[name]
	if !ok {
		v, ok = p.more[name]
	}
	return v, ok
}

// needsRoot reports whether s does what only root may.
func (s Script) needsRoot() bool {
	return slices.ContainsFunc(s.steps, func(st step) bool {
		return st.as != nil || st.verb == "chown" || st.verb == "mknod" && slices.ContainsFunc(st.args, func(a string) bool { return a == "char" || a == "block" })
	})
}

// play plays s and returns the first step that went wrong. All files are closed afterwards.
func (p *player) play(s Script) (err error) {
	p.files, p.notes, p.maps = map[string]file{}, map[string]string{}, map[string][]byte{}
	defer func() {
		for _, f := range p.files {
			f.close()
		}
	}()
	for i, st := range s.steps {
		if err := p.step(st); err != nil {
			return fmt.Errorf("step %d, %s: %w", i+1, shorten(st.text), err)
		}
	}
	return nil
}

func (p *player) step(st step) (err error) {
	defer func() {
		if r := recover(); r != nil {
			e, ok := r.(error)
			if !ok || !strings.HasPrefix(e.Error(), "script: ") {
				panic(r)
			}
			err = e
		}
	}()
	v, ok := p.verb(st.verb)
	if !ok || len(st.args) < v.args {
		return errUsage("no such call, or too little said")
	}
	before, err := p.snap(st.marks, func(m mark) string { return m.before })
	if err != nil {
		return err
	}
	if st.as != nil {
		back, err := p.as(st.as)
		if err != nil {
			return err
		}
		defer back()
	}
	got, err := v.call(p, st.args)
	if err := judge(got, err, st.wants); err != nil {
		return err
	}
	return p.marked(st.marks, before)
}

// snap takes the attributes of marked files, and waits until the clock has moved on.
func (p *player) snap(marks []mark, name func(mark) string) (list []attrs, err error) {
	var last time.Time
	for _, m := range marks {
		a, err := p.stat(name(m), false)
		if err != nil {
			return nil, fmt.Errorf("stat of %s for its timestamps: %w", name(m), err)
		}
		list = append(list, a)
		for _, t := range []time.Time{a.atime, a.mtime, a.ctime} {
			if t.After(last) && time.Until(t) < time.Second {
				last = t
			}
		}
	}
	if len(marks) > 0 {
		p.tick(last)
	}
	return list, nil
}

func (p *player) marked(marks []mark, before []attrs) error {
	for i, m := range marks {
		a, err := p.stat(m.after, false)
		if err != nil {
			return fmt.Errorf("stat of %s for its timestamps: %w", m.after, err)
		}
		moved := ""
		for _, t := range []struct {
			name     string
			was, now time.Time
		}{{"a", before[i].atime, a.atime}, {"m", before[i].mtime, a.mtime}, {"c", before[i].ctime, a.ctime}} {
			if !t.was.Equal(t.now) {
				moved += t.name
			}
		}
		if sorted(moved) != sorted(m.moved) {
			return fmt.Errorf("%s: marked %q, want %q", m.after, moved, m.moved)
		}
	}
	return nil
}

func sorted(s string) string {
	b := []byte(s)
	slices.Sort(b)
	return string(b)
}

// judge compares an answer with what was expected.
func judge(got any, err error, wants []string) error {
	if len(wants) == 1 && isErrno(wants[0]) {
		if err == nil {
			return fmt.Errorf("it succeeded")
		}
		for _, name := range strings.Split(wants[0], "|") {
			if errnoIs(err, name) {
				return nil
			}
		}
		return fmt.Errorf("failed with %s", errnoName(err))
	}
	if err != nil {
		return fmt.Errorf("failed with %s (%w)", errnoName(err), err)
	}
	if wants == nil {
		if s, ok := got.(string); ok && strings.HasPrefix(s, "short ") {
			return fmt.Errorf("%s", s)
		}
		return nil
	}
	switch got := got.(type) {
	case map[string]string:
		return judgeFields(got, wants)
	case []byte:
		if want := data(strings.Join(wants, " ")); !bytes.Equal(got, want) {
			return fmt.Errorf("%d bytes %s, want %d", len(got), shorten(strconv.Quote(string(got))), len(want))
		}
	case string:
		if want := strings.Join(wants, " "); got != want {
			return fmt.Errorf("answered %s, want %s", shorten(got), shorten(want))
		}
	default:
		return fmt.Errorf("answered nothing")
	}
	return nil
}

func judgeFields(got map[string]string, wants []string) error {
	for _, w := range wants {
		key, want, _ := strings.Cut(w, ":")
		have, there := got[key]
		if !there {
			return errUsage("there is no %q in %v", key, slices.Sorted(maps.Keys(got)))
		}
		good := false
		switch want[0] {
		case '<':
			good = compare(number(have), number(want[1:])) < 0
		case '>':
			good = compare(number(have), number(want[1:])) > 0
		case '!':
			good = have != want[1:]
		default:
			good = have == want
		}
		if !good {
			return fmt.Errorf("%s is %s, want %s", key, have, want)
		}
	}
	return nil
}

func shorten(s string) string {
	if len(s) > 200 {
		return s[:200] + fmt.Sprintf("... (%d bytes)", len(s))
	}
	return s
}

// isErrno reports whether a word is the name of an error, or several.
func isErrno(w string) bool {
	return len(w) > 2 && (w[0] == 'E' || strings.HasPrefix(w, "SIG")) && strings.ToUpper(w) == w && !strings.ContainsAny(w, " .:/")
}

// errnoIs reports whether err is what the name says. Where there is no kernel, its kind has to be one that the kernel makes
// that of.
func errnoIs(err error, name string) bool {
	var no syscall.Errno
	if errors.As(err, &no) || fault.KindOf(err) == fault.Other {
		return errnoName(err) == name
	}
	for k, names := range kindNames {
		if k == fault.KindOf(err) && slices.Contains(names, name) {
			return true
		}
	}
	return false
}

// kindNames says what a mount makes of each kind.
var kindNames = map[fault.Kind][]string{
	fault.Invalid: {"EINVAL"}, fault.NotExist: {"ENOENT", "ENXIO"}, fault.Exist: {"EEXIST"}, fault.NotDir: {"ENOTDIR"}, fault.IsDir: {"EISDIR", "EPERM"},
	fault.NotEmpty: {"ENOTEMPTY"}, fault.NameTooLong: {"ENAMETOOLONG"}, fault.TooBig: {"EFBIG"}, fault.NoSpace: {"ENOSPC"},
	fault.Permission: {"EACCES"}, fault.Refused: {"EPERM"}, fault.ReadOnly: {"EROFS"}, fault.Stale: {"ESTALE"}, fault.Busy: {"EBUSY"},
	fault.Unsupported: {"EOPNOTSUPP"}, fault.TooManyLinks: {"EMLINK"}, fault.Cross: {"EXDEV"}, fault.Loop: {"EINVAL"},
}
