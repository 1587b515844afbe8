package meta

import (
	"strings"
	"unicode"
	"unicode/utf8"
)

// Fold returns name without its case: two names that differ in nothing else fold to the same. Simple case folding, rune by rune, as
// Windows does it; what is no UTF-8 stays as it is. A name of lower-case letters is its own fold.
//
// Folds are part of the format: the keys of dentries are made of them. A test holds them.
func Fold(name string) string {
	if !strings.ContainsFunc(name, func(r rune) bool { return r >= utf8.RuneSelf || 'A' <= r && r <= 'Z' }) {
		return name
	}
	b := make([]byte, 0, len(name)+8)
	for i := 0; i < len(name); {
		r, n := utf8.DecodeRuneInString(name[i:])
		if r == utf8.RuneError && n == 1 {
			b = append(b, name[i])
		} else {
			b = utf8.AppendRune(b, foldRune(r))
		}
		i += n
	}
	return string(b)
}

// foldRune returns the first of the runes that differ from r in case only; the small one where that is a letter of ASCII.
func foldRune(r rune) rune {
	if r >= utf8.RuneSelf {
		for next := unicode.SimpleFold(r); next != r; next = unicode.SimpleFold(next) {
			if next < r {
				return foldRune(next)
			}
		}
	}
	if 'A' <= r && r <= 'Z' {
		return r + ('a' - 'A')
	}
	return r
}
