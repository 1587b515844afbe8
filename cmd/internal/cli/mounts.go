package cli

import (
	"bytes"
	"strings"
)

// Mount is one of our mounts, as the kernel lists it.
type Mount struct {
	ID    string
	Point string // where it is mounted
	Data  string // the data directory of the peer that serves it
}

// FSType is the type of our mounts in the kernel's table; their source is the data directory.
const FSType = "fuse.dfs"

// ParseMounts reads a table in the format of /proc/self/mountinfo and returns our mounts in its order. Lines that
// it does not understand are left out.
func ParseMounts(table []byte) []Mount {
	var mounts []Mount
	for line := range bytes.Lines(table) {
		fields := strings.Fields(string(line))
		for i := 6; i+2 < len(fields); i++ { // optional fields lie between the sixth and "-"
			if fields[i] != "-" {
				continue
			}
			if fields[i+1] == FSType {
				mounts = append(mounts, Mount{fields[0], unescape(fields[4]), unescape(fields[i+2])})
			}
			break
		}
	}
	return mounts
}

// unescape turns the table's octal escapes (\040 is a space) back.
func unescape(s string) string {
	if !strings.Contains(s, `\`) {
		return s
	}
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		if s[i] == '\\' && i+3 < len(s) && octal(s[i+1]) && octal(s[i+2]) && octal(s[i+3]) {
			b.WriteByte((s[i+1]-'0')<<6 | (s[i+2]-'0')<<3 | (s[i+3] - '0'))
			i += 3
			continue
		}
		b.WriteByte(s[i])
	}
	return b.String()
}

func octal(c byte) bool { return '0' <= c && c <= '7' }

// Containing returns the mount that path lies in and the path within the drive. The latest mount on the longest
// point wins, as in the kernel. Path is absolute and clean.
func Containing(mounts []Mount, path string) (m Mount, inside string, ok bool) {
	for _, c := range mounts {
		rest, within := strings.CutPrefix(path, strings.TrimSuffix(c.Point, "/"))
		if !within || rest != "" && rest[0] != '/' || ok && len(c.Point) < len(m.Point) {
			continue
		}
		if rest == "" {
			rest = "/"
		}
		m, inside, ok = c, rest, true
	}
	return m, inside, ok
}
