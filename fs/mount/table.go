package mount

import (
	"bufio"
	"io"
	"strconv"
	"strings"

	"dfs/cluster/fault"
)

// Info is one line of the kernel's table of mounts.
type Info struct {
	Device  string // "major:minor"
	Point   string
	Options string
	Type    string // "fuse.dfs"
	Source  string // of a drive: its data directory
}

// Parse reads a table in the form of /proc/self/mountinfo: see proc(5). Lines it does not understand are fault.Invalid.
func Parse(r io.Reader) ([]Info, error) {
	var out []Info
	lines := bufio.NewScanner(r)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		left, right, ok := strings.Cut(lines.Text(), " - ")
		l, rest := strings.Fields(left), strings.Fields(right)
		if !ok || len(l) < 6 || len(rest) < 1 {
			return nil, fault.New("mount table", fault.Invalid, "line %q", lines.Text())
		}
		i := Info{Device: l[2], Point: unescape(l[4]), Options: l[5], Type: rest[0]}
		if len(rest) > 1 {
			i.Source = unescape(rest[1])
		}
		out = append(out, i)
	}
	return out, lines.Err()
}

// unescape undoes the kernel's octal escapes of space, tab, newline and backslash.
func unescape(s string) string {
	if !strings.Contains(s, `\`) {
		return s
	}
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		if s[i] == '\\' && i+3 < len(s) {
			if c, err := strconv.ParseUint(s[i+1:i+4], 8, 8); err == nil {
				b.WriteByte(byte(c))
				i += 3
				continue
			}
		}
		b.WriteByte(s[i])
	}
	return b.String()
}
