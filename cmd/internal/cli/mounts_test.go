package cli

import "testing"

const table = `22 1 254:1 / / rw,relatime shared:1 - ext4 /dev/vda1 rw
51 22 0:45 / /home/a/my\040drive rw,nosuid shared:9 master:2 - fuse.dfs /home/a/.local/share/dfs rw,user_id=0
52 22 0:46 / /mnt rw - fuse.dfs /run/2/data\134x rw
53 52 0:47 / /mnt/inner rw - tmpfs tmpfs rw
54 22 0:48 / /mnt/inner2 rw - fuse.dfs /run/3/data rw
55 22 0:49 / /other rw - fuse.sshfs host: rw
garbage
- - - - - - -
`

func TestMountTable(t *testing.T) {
	ms := ParseMounts([]byte(table))
	if len(ms) != 3 || ms[0].Point != "/home/a/my drive" || ms[0].Data != "/home/a/.local/share/dfs" || ms[1].Data != `/run/2/data\x` {
		t.Fatalf("%+v", ms)
	}
	for _, c := range []struct{ path, data, inside string }{
		{"/home/a/my drive", "/home/a/.local/share/dfs", "/"},
		{"/home/a/my drive/d/f", "/home/a/.local/share/dfs", "/d/f"},
		{"/mnt/x", `/run/2/data\x`, "/x"},
		{"/mnt/inner2/y", "/run/3/data", "/y"},
		{"/mntx", "", ""},
		{"/other/z", "", ""},
	} {
		m, inside, ok := Containing(ms, c.path)
		if ok != (c.data != "") || m.Data != c.data || inside != c.inside {
			t.Errorf("%s: %+v, %q, %v", c.path, m, inside, ok)
		}
	}
}

func TestMountedAtTheRoot(t *testing.T) {
	m, inside, ok := Containing([]Mount{{Point: "/", Data: "d"}}, "/a/b")
	if !ok || m.Data != "d" || inside != "/a/b" {
		t.Errorf("%+v %q %v", m, inside, ok)
	}
}

func FuzzMounts(f *testing.F) {
	f.Add([]byte(table))
	f.Fuzz(func(t *testing.T, text []byte) {
		for _, m := range ParseMounts(text) {
			Containing([]Mount{m}, "/a")
		}
	})
}
