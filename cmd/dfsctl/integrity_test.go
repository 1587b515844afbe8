package main

import (
	"encoding/json"
	"strings"
	"testing"

	"dfs/cluster/admin"
	"dfs/cluster/admin/admintest"
	"dfs/cmd/internal/cli"
)

func TestScrub(t *testing.T) {
	b := serve(t)
	for verb, want := range map[string]string{"start": "running", "status": "idle", "pause": "paused"} {
		code, out, errs := b.ctl(t, "scrub", verb, "--data", b.data)
		if code != 0 || b.fake.Scrubbed() != verb || !strings.Contains(out, want) || !strings.Contains(out, "host-a") {
			t.Errorf("%s: %d %q %q", verb, code, out, errs)
		}
		code, out, _ = b.ctl(t, "scrub", verb, "--data", b.data, "--json")
		var doc admin.Scrub
		if err := json.Unmarshal([]byte(out), &doc); err != nil || code != 0 || doc.Schema != 1 || doc.Peers[0].State != want || doc.Peers[0].Rotten != 2 {
			t.Errorf("%s: %d %v %s", verb, code, err, out)
		}
	}
}

func TestRepairStatus(t *testing.T) {
	b := serve(t)
	code, out, errs := b.ctl(t, "repair", "status", "--data", b.data)
	if code != 0 || !strings.HasPrefix(out, "nothing to repair\n") || errs != "" {
		t.Errorf("%d %q %q", code, out, errs)
	}
	b.fake.Change(func(s *admin.Status) { s.Repair.BadReplicas, s.Repair.DamagedReplicas = 3, 1 })
	if _, out, _ = b.ctl(t, "repair", "status", "--data", b.data); !strings.HasPrefix(out, "rotten or missing replicas: 3, of which 1") {
		t.Errorf("%q", out)
	}
	_, out, _ = b.ctl(t, "repair", "status", "--data", b.data, "--json")
	var doc struct {
		Schema int
		Repair admin.RepairStatus
		Peers  []admin.ScrubPeer
	}
	if err := json.Unmarshal([]byte(out), &doc); err != nil || doc.Schema != 1 || doc.Repair.BadReplicas != 3 || len(doc.Peers) != 1 {
		t.Errorf("%v %s", err, out)
	}
}

func TestFsckNamesWhatCannotBeRead(t *testing.T) {
	b := serve(t)
	if code, out, errs := b.ctl(t, "fsck", b.mnt); code != 0 || !strings.Contains(out, "all can be read") {
		t.Errorf("%d %q %q", code, out, errs)
	}
	b.fake.SetDamaged(admin.DamagedFile{Path: "/a\n.txt", Ino: 2, Ranges: []admin.DamagedRange{{Offset: 512, Bytes: 1024, State: "damaged"}}})
	code, out, _ := b.ctl(t, "fsck", "--data", b.data)
	if code != cli.Degraded || !strings.Contains(out, `"/a\n.txt"`) || !strings.Contains(out, "512") {
		t.Errorf("%d %q", code, out)
	}
	code, out, _ = b.ctl(t, "fsck", b.mnt+admintest.File, "--quick", "--json")
	var doc admin.Fsck
	if err := json.Unmarshal([]byte(out), &doc); err != nil || code != cli.Degraded || doc.Schema != 1 || len(doc.Damaged) != 1 || doc.Path != admintest.File {
		t.Errorf("%d %v %s", code, err, out)
	}
}

func TestEvents(t *testing.T) {
	b := serve(t)
	if code, out, errs := b.ctl(t, "events", "--data", b.data); code != 0 || !strings.Contains(out, "replica rotten") {
		t.Errorf("%d %q %q", code, out, errs)
	}
}
