package winfsp

import (
	"strings"
	"unicode/utf8"
)

// A name on the drive is 1 to 255 bytes without "/" and zero. A name on Windows is UTF-16 without < > : " / \ | ? * and control
// characters; it does not end in a dot or space, and is no device (CON, NUL, COM1 ..., with or without an extension).
//
// U+F0xx stands for the byte xx, whether Windows cannot have it there, or it is no UTF-8, or it is part of a character that is
// itself U+F000 to U+F0FF. So every name can be shown, within 255 UTF-16 units, and every shown name means one: two names never
// look the same. Of a trailing dot or space that character is replaced; of a device, its first letter.
//
// WinFsp does the same for the reserved and control characters by itself: those may come back as they are. It leaves
// the others alone.

const (
	private    = 0xf000
	privateEnd = 0xf0ff
	reserved   = `<>:"\|?*`
)

// show returns how Windows is shown a name of the drive.
func show(name string) string { return escape(name, true) }

// hide is the inverse of show: the name on the drive. Not ok: nothing on the drive is shown like that.
func hide(shown string) (name string, ok bool) {
	b := make([]byte, 0, len(shown))
	for i := 0; i < len(shown); {
		r, n := utf8.DecodeRuneInString(shown[i:])
		if private <= r && r <= privateEnd {
			b = append(b, byte(r-private))
		} else {
			b = append(b, shown[i:i+n]...)
		}
		i += n
	}
	name = string(b)
	if strings.ContainsAny(name, "/\x00") {
		return "", false
	}
	// What came without its replacements is as good as with them, but a replacement that show would not make means nothing:
	// else two names of Windows would be one of the drive.
	return name, escape(shown, false) == show(name)
}

// escape replaces what Windows cannot have, and with it, if own, what stands for replaced characters already.
func escape(s string, own bool) string {
	if plain(s) {
		return s
	}
	var b strings.Builder
	last := len(s) - 1
	dev := device(s)
	for i := 0; i < len(s); {
		r, n := utf8.DecodeRuneInString(s[i:])
		switch {
		case r == utf8.RuneError && n == 1, own && private <= r && r <= privateEnd:
			for _, c := range []byte(s[i : i+n]) {
				b.WriteRune(private + rune(c))
			}
		case r < ' ' || strings.ContainsRune(reserved, r), i == last && (r == '.' || r == ' '), i == 0 && dev:
			b.WriteRune(private + r)
		default:
			b.WriteRune(r)
		}
		i += n
	}
	return b.String()
}

// plain reports whether a name has certainly nothing to replace: most have not.
func plain(s string) bool {
	for i := range len(s) {
		c := s[i]
		letter := 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9' || c == '_' || c == '-' || c == '.'
		if !letter {
			return false
		}
	}
	return s != "" && s[len(s)-1] != '.' && !device(s)
}

// devices are the names that are no files in any directory of Windows.
var devices = map[string]bool{
	"con": true, "prn": true, "aux": true, "nul": true, "conin$": true, "conout$": true,
}

// device reports whether Windows takes name for a device: what is before the first dot or colon counts, without spaces after it.
func device(name string) bool {
	stem := name
	if i := strings.IndexAny(name, ".:"); i >= 0 {
		stem = name[:i]
	}
	stem = strings.TrimRight(stem, " ")
	if len(stem) < 3 || len(stem) > 7 {
		return false
	}
	stem = strings.ToLower(stem)
	if devices[stem] {
		return true
	}
	port, numbered := strings.CutPrefix(stem, "com")
	if !numbered {
		port, numbered = strings.CutPrefix(stem, "lpt")
	}
	switch {
	case !numbered:
		return false
	case len(port) == 1:
		return '0' <= port[0] && port[0] <= '9'
	}
	return port == "¹" || port == "²" || port == "³"
}
