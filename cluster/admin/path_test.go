package admin

import (
	"encoding/json"
	"testing"
)

// Names are bytes: every path arrives as it was sent.
func FuzzPath(f *testing.F) {
	for _, s := range []string{"", "/a/é", "/\xff\xfe", `/{"bytes":"eA=="}`, "/a\nb", "\xed\xa0\x80"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		b, err := json.Marshal(question{Path: Path(s)})
		if err != nil {
			t.Fatal(err)
		}
		var got question
		if err := json.Unmarshal(b, &got); err != nil || string(got.Path) != s {
			t.Fatalf("%q travelled as %s and became %q, %v", s, b, got.Path, err)
		}
	})
}
