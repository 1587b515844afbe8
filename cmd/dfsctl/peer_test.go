package main

import (
	"encoding/json"
	"strings"
	"testing"

	"dfs/cluster/admin"
)

func TestPeerRemove(t *testing.T) {
	b := serve(t)
	b.fake.Change(func(s *admin.Status) {
		s.Peers = append(s.Peers, admin.PeerStatus{ID: strings.Repeat("b", 32), Name: "host-b", State: "dead"},
			admin.PeerStatus{ID: strings.Repeat("c", 32), Name: "host-c", State: "alive"})
	})
	for _, c := range []struct {
		args []string
		code int
		out  string // beginning
	}{
		{[]string{"host-x"}, 3, ""},
		{[]string{}, 2, ""},
		{[]string{"host-c"}, 4, ""},
		{[]string{"host-c", "--yes", "--dry-run"}, 0, "host-c is alive and was not removed\n"},
		{[]string{"host-c", "--yes"}, 0, "removed host-c\n"},
		{[]string{"host-b"}, 0, "removed host-b\n3 extents that it held have other replicas"},
		{[]string{"host-b"}, 3, ""},
	} {
		code, out, errs := b.ctl(t, append(append([]string{"peer", "remove"}, c.args...), "--data", b.data)...)
		if code != c.code || !strings.HasPrefix(out, c.out) || (errs == "") != (code == 0) {
			t.Errorf("%v: %d %q %q", c.args, code, out, errs)
		}
	}
}

func TestPeerInfo(t *testing.T) {
	b := serve(t)
	code, out, errs := b.ctl(t, "peer", "info", "host-a", "--data", b.data)
	if code != 0 || !strings.HasPrefix(out, "host-a is alive, voter\n") || !strings.Contains(out, "3 extents") {
		t.Errorf("%d %q %q", code, out, errs)
	}
	code, out, _ = b.ctl(t, "peer", "info", "aaa", "--json", "--data", b.data)
	var i admin.PeerInfo
	if err := json.Unmarshal([]byte(out), &i); code != 0 || err != nil || i.Schema != 1 || i.Name != "host-a" || i.HeldExtents != 3 {
		t.Errorf("%d %q: %+v, %v", code, out, i, err)
	}
	if code, _, _ = b.ctl(t, "peer", "info", "host-x", "--data", b.data); code != 3 {
		t.Errorf("exit code %d", code)
	}
}
