package identity_test

import (
	"errors"
	"strings"
	"testing"
	"time"

	"dfs/cluster/fault"
	"dfs/cluster/identity"
)

func TestATokenSurvivesPeople(t *testing.T) {
	i, _ := create(t, (&clock{t: noon}).now)
	for _, token := range []identity.Token{
		i.NewToken(noon.Add(24*time.Hour), []string{"10.0.0.1:9001", "[fe80::1]:9001", "host.example:9001", "a fourth:1"}),
		i.NewToken(time.Time{}, nil),
	} {
		text := token.Text()
		if !strings.HasPrefix(text, "dfs1") || len(text) > 400 {
			t.Errorf("%q", text)
		}
		for name, s := range map[string]string{
			"as printed": text, "in capitals": strings.ToUpper(text), "with white space": "  " + text[:50] + "\n  " + text[50:] + "\r\n",
		} {
			back, err := identity.ParseToken(s)
			if err != nil || back.Text() != text || !back.Expiry.Equal(token.Expiry) || len(back.Addrs) != len(token.Addrs) || len(back.Addrs) > 3 {
				t.Errorf("%s: %v", name, err)
			}
		}
	}
}

func TestATypingErrorIsNoRefusal(t *testing.T) {
	i, _ := create(t, nil)
	text := i.NewToken(noon, []string{"10.0.0.1:9001"}).Text()
	bad := map[string]string{
		"nothing": "", "a word": "hello", "the prefix": "dfs1", "cut off": text[:len(text)-3], "doubled": text + text,
		"longer": text + "a", "a foreign character": text[:20] + "!" + text[21:], "huge": strings.Repeat("dfs1", 10000),
	}
	for at := 4; at < len(text); at += 7 {
		c := byte('a')
		if text[at] == c {
			c = 'b'
		}
		bad["one character at "+text[at:]] = text[:at] + string(c) + text[at+1:]
	}
	for name, s := range bad {
		if _, err := identity.ParseToken(s); !errors.Is(err, fault.Invalid) || errors.Is(err, fault.Refused) {
			t.Errorf("%s: %v, want Invalid", name, err)
		}
	}
}

func TestTheClusterStoresOnlyAHash(t *testing.T) {
	i, _ := create(t, nil)
	a, b := i.NewToken(noon, nil), i.NewToken(noon, nil)
	if a.ID == b.ID || a.Secret == b.Secret || a.Key() == b.Key() {
		t.Error("two tokens are alike")
	}
	id, err := identity.ParseTokenID(a.ID.String())
	if err != nil || id != a.ID {
		t.Errorf("%v, %v", id, err)
	}
	if _, err := identity.ParseTokenID("x"); !errors.Is(err, fault.Invalid) {
		t.Errorf("%v, want Invalid", err)
	}
}

func FuzzToken(f *testing.F) {
	i, _ := create(f, nil)
	f.Add(i.NewToken(noon, []string{"10.0.0.1:9001", "b:2"}).Text())
	f.Add(i.NewToken(time.Time{}, nil).Text())
	f.Add("dfs1aaaa")
	f.Fuzz(func(t *testing.T, s string) {
		token, err := identity.ParseToken(s)
		if err != nil {
			return
		}
		back, err := identity.ParseToken(token.Text())
		if err != nil || back.Text() != token.Text() {
			t.Fatalf("%q: %v", s, err)
		}
	})
}

// FuzzTokenFields tries what lies behind the checksum.
func FuzzTokenFields(f *testing.F) {
	f.Add(make([]byte, 74))
	f.Fuzz(func(t *testing.T, b []byte) {
		token, err := identity.ParseTokenFields(b)
		if err != nil {
			return
		}
		if _, err := identity.ParseToken(token.Text()); err != nil {
			t.Fatalf("%x: %v", b, err)
		}
	})
}
