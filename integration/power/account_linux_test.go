package power

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
)

// none is the version of a block that reads as an I/O error.
const none = ^uint64(0)

// file is what may be found of one file: any of its lives, each a guess of what is there.
type file struct {
	lives []*life // the last is what there is if nothing more is lost; nil: no such file
}

// life is one file under a name. Blocks that are in neither map are a hole.
type life struct {
	safe  map[uint64]uint64              // block: version that must be there unless later has it
	later map[uint64]map[uint64]struct{} // block: versions written since, any of which may be there, or an error
}

func newLife() *life {
	return &life{safe: map[uint64]uint64{}, later: map[uint64]map[uint64]struct{}{}}
}

func (l *life) write(first, n, version uint64) {
	for at := first; at < first+n; at++ {
		if l.later[at] == nil {
			l.later[at] = map[uint64]struct{}{}
		}
		l.later[at][version] = struct{}{}
	}
}

// sync makes the newest version of every block safe.
func (l *life) sync() {
	for at, vs := range l.later {
		newest := uint64(0)
		for v := range vs {
			newest = max(newest, v)
		}
		l.safe[at] = newest
	}
	clear(l.later)
}

// account is what a process was promised, and what it was doing.
type account struct {
	files map[string]*file
	// of the process that is being listened to
	listening *process // whose words these are:
	found     map[string]map[uint64]uint64
	damaged   int
	promises  int // fsyncs, renames and names that were promised so far
	volatile  int // blocks that were lost, and might be
}

func newAccount() *account { return &account{files: map[string]*file{}} }

func (a *account) file(name string) *file {
	if a.files[name] == nil {
		a.files[name] = &file{lives: []*life{nil}}
	}
	return a.files[name]
}

func (f *file) now() *life { return f.lives[len(f.lives)-1] }

// begin starts to listen to a new process.
func (a *account) begin() { a.found = map[string]map[uint64]uint64{} }

// hear takes one line. It reports whether the process has begun its work.
func (a *account) hear(line string) (ready bool, err error) {
	w := strings.SplitN(line, " ", 5)
	num := func(i int) uint64 {
		n, e := strconv.ParseUint(w[i], 10, 64)
		if e != nil {
			err = fmt.Errorf("line %q", line)
		}
		return n
	}
	switch w[0] {
	case "absent":
		delete(a.found, w[1])
	case "present":
		a.found[w[1]] = map[uint64]uint64{}
	case "holds":
		version := none
		if strings.HasPrefix(w[4], "bad ") {
			return false, fmt.Errorf("%s has, at block %s, %s", w[1], w[2], w[4][4:])
		}
		if w[4] != "eio" {
			if version, err = strconv.ParseUint(w[4], 10, 64); err != nil {
				return false, err
			}
		}
		for at := num(2); at < num(2)+num(3); at++ {
			if version != 0 {
				a.found[w[1]][at] = version
			}
		}
	case "damaged":
		a.damaged = int(num(1))
	case "ready":
		return true, a.judge()
	case "create?":
		f := a.file(w[1])
		f.lives = append(f.lives, newLife())
	case "created":
		f := a.file(w[1])
		f.lives = []*life{f.now()}
		a.promises++
	case "write?":
		if !strings.HasSuffix(w[1], ".new") {
			a.file(w[1]).now().write(num(2), num(3), num(4))
		}
	case "synced":
		a.file(w[1]).now().sync()
		a.promises++
	case "rename?":
		l := newLife()
		l.write(0, num(2), num(3))
		l.sync()
		f := a.file(w[1])
		f.lives = append(f.lives, l)
	case "renamed":
		f := a.file(w[1])
		f.lives = []*life{f.now()}
		a.promises++
	case "remove?":
		f := a.file(w[1])
		f.lives = append(f.lives, nil)
	case "removed":
		f := a.file(w[1])
		f.lives = []*life{nil}
		a.promises++
	case "stopped":
	default:
		return false, fmt.Errorf("line %q", line)
	}
	return false, err
}

// judge compares what was found with what was promised, and takes it for what is there from now on: a process that has
// opened its disk has made safe whatever it found.
func (a *account) judge() error {
	lost := 0
	for _, name := range slices.Sorted(maps.Keys(a.files)) {
		f := a.files[name]
		found, present := a.found[name]
		var why []string
		fits := slices.ContainsFunc(f.lives, func(l *life) bool {
			err := l.fits(found, present)
			if err != nil {
				why = append(why, err.Error())
			}
			return err == nil
		})
		if !fits {
			return fmt.Errorf("%s: %s", name, strings.Join(why, "; or "))
		}
		old := f.now()
		f.lives = []*life{nil}
		if present {
			f.lives = []*life{{safe: found, later: map[uint64]map[uint64]struct{}{}}}
		}
		for at, v := range found {
			if v == none && (old == nil || old.safe[at] != none) {
				a.volatile++
				lost++
			}
		}
	}
	for name := range a.found {
		if a.files[name] == nil {
			return fmt.Errorf("%s is there, and nobody made it", name)
		}
	}
	if lost > 0 && a.damaged == 0 { // the other way round it is a file that was to be renamed, or has no name any more
		return fmt.Errorf("%d more blocks are errors, and no extent was found to be damaged", lost)
	}
	return nil
}

// fits says why what was found cannot be this life, or nil.
func (l *life) fits(found map[uint64]uint64, present bool) error {
	if l == nil || !present {
		if l == nil && !present {
			return nil
		}
		return fmt.Errorf("present is %v", present)
	}
	for at := range blocksMax + uint64(runMax) {
		got, want := found[at], l.safe[at]
		_, late := l.later[at][got]
		switch {
		case got == want, late:
		case got == none && len(l.later[at]) > 0: // volatile, and lost
		default:
			return fmt.Errorf("block %d is %s, promised %s, %d later", at, text(got), text(want), len(l.later[at]))
		}
	}
	return nil
}

func text(v uint64) string {
	switch v {
	case none:
		return "an error"
	case 0:
		return "a hole"
	}
	return fmt.Sprintf("version %d of round %d", v&(1<<32-1), v>>32)
}
