package mount

import "strings"

// Letter returns the drive letter that a mount point is on Windows, as "X:", and whether it is one: "x:" and `X:\` are.
func Letter(point string) (letter string, ok bool) {
	p := strings.TrimRight(point, `\/`)
	if len(p) != 2 || p[1] != ':' || (p[0]|0x20) < 'a' || 'z' < (p[0]|0x20) {
		return "", false
	}
	return strings.ToUpper(p), true
}
