package fstest

import (
	"embed"
	"fmt"
	"io/fs"
	"os"
	"path"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// The conformance cases are text, in cases/*.txt, a file for each group of system calls. A line that is not indented names a case;
// the indented lines below it are its steps, in an empty directory of its own. Steps are separated by line ends or by " ; ".
//
//	a file replaces a file
//		write a one ; write b two
//		rename a b marks .:mc b>b:-
//		read b = one ; stat a = ENOENT
//		! ext4: why this does not hold there
//
// A step is a call and its arguments, as play.go and kernel_linux.go list them, then what is expected:
//
//	call args                         it succeeds
//	call args = ENOENT                it fails so; ENOTEMPTY|EEXIST allows both
//	call args = words                 it succeeds and answers this
//	stat f = type:file blocks:<9      and of an answer with names, these have these values; < > ! compare
//	call args marks d:mc a>b:c f:-    it succeeds, and of d exactly mtime and ctime have moved, of what was a and is b the ctime, of f none
//	as 1000:1000,27 call args ...     the same as somebody else
//
// Words are separated by spaces, or quoted as in Go. {x*300} is 300 times x; as data, @7:4096 is 4096 bytes made of seed 7. A path
// @h/f begins at the open directory h. An exception for "quick" leaves the case to the long runs.

// Script is one conformance case.
type Script struct {
	Name  string            // "rename/a file replaces a file"
	Not   map[string]string // why it does not hold, by place
	steps []step
}

// step is one line of a script.
type step struct {
	text  string
	as    []uint32 // uid, gid, supplementary groups; nil: as whoever runs this
	verb  string
	args  []string
	wants []string // nil: success, whatever the answer
	marks []mark
}

// mark says which timestamps of a file a step moves.
type mark struct{ before, after, moved string }

//go:embed cases/*.txt
var caseFiles embed.FS

// Scripts returns the conformance cases, in the order of their files.
func Scripts() ([]Script, error) {
	names, err := fs.Glob(caseFiles, "cases/*.txt")
	if err != nil {
		return nil, err
	}
	var all []Script
	for _, name := range names {
		text, err := caseFiles.ReadFile(name)
		if err != nil {
			return nil, err
		}
		list, err := parse(strings.TrimSuffix(path.Base(name), ".txt"), string(text))
		if err != nil {
			return nil, err
		}
		all = append(all, list...)
	}
	return all, nil
}

// scripts is Scripts for tests.
func scripts(t *testing.T) []Script {
	t.Helper()
	all, err := Scripts()
	if err != nil {
		t.Fatal(err)
	}
	return all
}

// parse reads one file of cases. What stands before the first case and begins with "!" is true of all of them.
func parse(group, text string) (list []Script, err error) {
	general := map[string]string{}
	seen := map[string]bool{}
	for i, line := range strings.Split(text, "\n") {
		fail := func(format string, args ...any) error {
			return fmt.Errorf("cases/%s.txt:%d: %s", group, i+1, fmt.Sprintf(format, args...))
		}
		trimmed := strings.TrimSpace(line)
		switch indented := line != strings.TrimLeft(line, "\t "); {
		case trimmed == "" || trimmed[0] == '#':
		case trimmed[0] == '!':
			where, why, ok := strings.Cut(strings.TrimSpace(trimmed[1:]), ": ")
			if !ok {
				return nil, fail("an exception is: ! place: reason")
			}
			at := general
			if indented && len(list) > 0 {
				at = list[len(list)-1].Not
			}
			at[where] = why
		case !indented:
			if seen[trimmed] {
				return nil, fail("there is another case of this name")
			}
			seen[trimmed] = true
			not := map[string]string{}
			for k, v := range general {
				not[k] = v
			}
			list = append(list, Script{Name: group + "/" + trimmed, Not: not})
		case len(list) == 0:
			return nil, fail("a step of no case")
		default:
			steps, err := parseSteps(trimmed)
			if err != nil {
				return nil, fail("%v", err)
			}
			s := &list[len(list)-1]
			s.steps = append(s.steps, steps...)
		}
	}
	return list, nil
}

func parseSteps(line string) (steps []step, err error) {
	words, err := split(line)
	if err != nil {
		return nil, err
	}
	for len(words) > 0 {
		n := slices.Index(words, ";")
		rest := []string(nil)
		if n >= 0 {
			words, rest = words[:n], words[n+1:]
		}
		s, err := parseStep(words)
		if err != nil {
			return nil, err
		}
		steps, words = append(steps, s), rest
	}
	return steps, nil
}

func parseStep(words []string) (s step, err error) {
	s.text = strings.Join(words, " ")
	if i := slices.Index(words, "marks"); i >= 0 {
		for _, w := range words[i+1:] {
			files, moved, ok := strings.Cut(w, ":")
			if !ok {
				return s, fmt.Errorf("%q says nothing of timestamps", w)
			}
			before, after, two := strings.Cut(files, ">")
			if !two {
				after = before
			}
			s.marks = append(s.marks, mark{before, after, strings.Trim(moved, "-")})
		}
		words = words[:i]
	}
	if i := slices.Index(words, "="); i >= 0 {
		words, s.wants = words[:i], words[i+1:]
	}
	if len(words) > 2 && words[0] == "as" {
		for _, w := range strings.FieldsFunc(words[1], func(r rune) bool { return r == ':' || r == ',' }) {
			id, err := strconv.ParseUint(w, 10, 32)
			if err != nil {
				return s, err
			}
			s.as = append(s.as, uint32(id))
		}
		if len(s.as) < 2 {
			return s, fmt.Errorf("as needs UID:GID")
		}
		words = words[2:]
	}
	if len(words) == 0 {
		return s, fmt.Errorf("%q calls nothing", s.text)
	}
	s.verb, s.args = words[0], words[1:]
	return s, nil
}

var (
	word   = regexp.MustCompile(`"(?:[^"\\]|\\.)*"|\S+`)
	repeat = regexp.MustCompile(`\{([^{}]+)\*(\d+)\}`)
)

// split takes a line apart.
func split(line string) (words []string, err error) {
	for _, w := range word.FindAllString(line, -1) {
		if w[0] == '"' {
			if w, err = strconv.Unquote(w); err != nil {
				return nil, err
			}
		}
		w = repeat.ReplaceAllStringFunc(w, func(r string) string {
			m := repeat.FindStringSubmatch(r)
			n, _ := strconv.Atoi(m[2])
			return strings.Repeat(m[1], n)
		})
		words = append(words, w)
	}
	return words, nil
}

var made = regexp.MustCompile(`@(\d+):(\d+)`)

// data returns what a word says as bytes.
func data(word string) []byte {
	return made.ReplaceAllFunc([]byte(word), func(m []byte) []byte {
		parts := made.FindSubmatch(m)
		seed, _ := strconv.ParseUint(string(parts[1]), 10, 64)
		n, _ := strconv.Atoi(string(parts[2]))
		return Bytes(seed, n)
	})
}

// skips says why s is not played at place; "" if it is.
func (s Script) skips(place string) string {
	if why := s.Not["quick"]; why != "" && !long() {
		return why + "; set DFS_SOAK"
	}
	return s.Not[place]
}

// long reports whether this is one of the long runs.
func long() bool { return os.Getenv("DFS_SOAK") != "" }
