package winfsp

import (
	"strings"
	"testing"
	"unicode/utf16"
	"unicode/utf8"
)

func TestNames(t *testing.T) {
	for name, want := range map[string]string{
		"plain.txt":      "plain.txt",
		".hidden":        ".hidden", // no rule of its own
		"a b":            "a b",
		"日本":             "日本",
		"a:b":            "a\uf03ab",
		`<>:"\|?*`:       "\uf03c\uf03e\uf03a\uf022\uf05c\uf07c\uf03f\uf02a",
		"tab\tnew\n\x01": "tab\uf009new\uf00a\uf001",
		"dots...":        "dots..\uf02e",
		"space ":         "space\uf020",
		"...":            "..\uf02e",
		"CON":            "\uf043ON",
		"con.txt":        "\uf063on.txt",
		"Nul.tar.gz":     "\uf04eul.tar.gz",
		"nul .x":         "\uf06eul .x",
		"com1":           "\uf063om1",
		"LPT9.log":       "\uf04cPT9.log",
		"COM¹":           "\uf043OM¹",
		"conin$":         "\uf063onin$",
		"aux:stream":     "\uf061ux\uf03astream",
		"com":            "com",
		"com10":          "com10",
		"console":        "console",
		"acon":           "acon",
		"\xff\xfe":       "\uf0ff\uf0fe",
		"a\xc3":          "a\uf0c3",
		"\uf03a":         "\uf0ef\uf080\uf0ba", // itself, not a colon
		"\uf100":         "\uf100",
		"x\xed\xa0\x80":  "x\uf0ed\uf0a0\uf080", // half of a surrogate pair
	} {
		got := show(name)
		if got != want {
			t.Errorf("%q is shown as %q, want %q", name, got, want)
		}
		if back, ok := hide(got); !ok || back != name {
			t.Errorf("%q came back as %q, %v", name, back, ok)
		}
	}
}

// WinFsp turns replaced characters back by itself, and through \\?\ a program may ask for anything.
func TestNamesWithoutTheirReplacements(t *testing.T) {
	for _, name := range []string{"a:b", "what?", "CON", "trailing.", "trailing ", "con:x?", "tab\t"} {
		if back, ok := hide(name); !ok || back != name {
			t.Errorf("%q means %q, %v", name, back, ok)
		}
	}
}

func TestNamesThatMeanNothing(t *testing.T) {
	for _, shown := range []string{
		"\uf041",       // an A needs no replacement
		"\uf000",       // a zero byte
		"a\uf02fb",     // a slash
		"a\uf02e.txt",  // a dot that is not the last
		"a\uf020b",     // likewise
		"x\uf043ON",    // no device
		"\uf0c3\uf0a4", // two bytes that are an ä
	} {
		if name, ok := hide(shown); ok {
			t.Errorf("%q means %q", shown, name)
		}
	}
}

func FuzzNames(f *testing.F) {
	for _, s := range []string{"a:b", "CON", "x.", "\uf03a", "\xff", "com1 .x", "\uf0ef\uf080\uf0ba"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		if s == "" || len(s) > 255 || strings.ContainsAny(s, "/\x00") {
			return
		}
		shown := show(s)
		if back, ok := hide(shown); !ok || back != s {
			t.Fatalf("%q is shown as %q, which means %q, %v", s, shown, back, ok)
		}
		units := utf16.Encode([]rune(shown))
		if !utf8.ValidString(shown) || len(units) > 255 || strings.ContainsAny(shown, "<>:\"\\|?*") ||
			strings.HasSuffix(shown, ".") || strings.HasSuffix(shown, " ") || device(shown) {
			t.Fatalf("%q is shown as %q, which Windows cannot have", s, shown)
		}
		// The other way: what Windows asks for is what it is shown, if it is there at all.
		if name, ok := hide(s); ok && show(name) != escape(s, false) {
			t.Fatalf("%q means %q, which is shown as %q", s, name, show(name))
		}
		// As WinFsp hands it on: reserved and control characters turned back.
		winfsp := strings.Map(func(r rune) rune {
			if c := r - private; private <= r && r <= privateEnd && (0 < c && c < ' ' || c < 0x80 && c > 0 && strings.ContainsRune(reserved, c)) {
				return c
			}
			return r
		}, shown)
		if back, ok := hide(winfsp); !ok || back != s {
			t.Fatalf("%q is shown as %q, which WinFsp gives back as %q, which means %q, %v", s, shown, winfsp, back, ok)
		}
	})
}
