package main

import (
	"encoding/json"
	"testing"

	"dfs/cluster/admin"
	"dfs/cluster/admin/admintest"
)

func TestLockList(t *testing.T) {
	b := serve(t)
	const head = "1 locks held, 1 waited for\n"
	for _, c := range []struct {
		args []string
		want string
	}{
		{nil, head + `FILE     STATE    KIND   MODE       BYTES  PEER    PID
inode 2  held     range  exclusive  10-14  host-a  42
inode 2  waiting  range  shared     all    host-a  43
`},
		{[]string{admintest.File}, head + `FILE    STATE    KIND   MODE       BYTES  PEER    PID
/a.txt  held     range  exclusive  10-14  host-a  42
/a.txt  waiting  range  shared     all    host-a  43
`},
	} {
		code, out, errs := b.ctl(t, append([]string{"lock", "list", "--data", b.data}, c.args...)...)
		if code != 0 || out != c.want {
			t.Errorf("%v: %d\n%s\n%s", c.args, code, out, errs)
		}
	}
	code, out, _ := b.ctl(t, "lock", "list", "--json", "--data", b.data)
	var doc admin.Locks
	if err := json.Unmarshal([]byte(out), &doc); code != 0 || err != nil || doc.Schema != 1 || len(doc.Files) != 1 || doc.Files[0].Held[0].Length != 5 {
		t.Errorf("%d %q: %+v, %v", code, out, doc, err)
	}
	if code, _, _ = b.ctl(t, "lock", "list", "/none", "--data", b.data); code != 3 {
		t.Errorf("exit code %d", code)
	}
}
