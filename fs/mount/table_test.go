package mount

import (
	"errors"
	"strings"
	"testing"

	"dfs/cluster/fault"
)

const sample = `22 27 0:21 / /proc rw,nosuid shared:5 - proc proc rw
44 27 0:39 / /mnt/my\040drive rw,nosuid,nodev,relatime - fuse.dfs /var/lib/a\134b rw,user_id=0
45 27 0:40 / /bare rw - tmpfs
`

func TestParse(t *testing.T) {
	got, err := Parse(strings.NewReader(sample))
	if err != nil || len(got) != 3 {
		t.Fatalf("%+v, %v", got, err)
	}
	want := Info{Device: "0:39", Point: "/mnt/my drive", Options: "rw,nosuid,nodev,relatime", Type: "fuse.dfs", Source: `/var/lib/a\b`}
	if got[1] != want {
		t.Fatalf("%+v, want %+v", got[1], want)
	}
	if _, err := Parse(strings.NewReader("nonsense\n")); !errors.Is(err, fault.Invalid) {
		t.Fatalf("nonsense: %v", err)
	}
}

func FuzzParse(f *testing.F) {
	f.Add(sample)
	f.Add(`1 2 3 / \777\1 rw - x \`)
	f.Fuzz(func(t *testing.T, s string) { _, _ = Parse(strings.NewReader(s)) })
}

func TestLetter(t *testing.T) {
	for point, want := range map[string]string{
		"X:": "X:", "x:": "X:", `z:\`: "Z:", "q:/": "Q:", "": "", "X": "", "7:": "", "XY:": "", "/x": "", `X:\drive`: "", "[:": "",
	} {
		if got, ok := Letter(point); got != want || ok != (want != "") {
			t.Errorf("%q is %q, %v; want %q", point, got, ok, want)
		}
	}
}
