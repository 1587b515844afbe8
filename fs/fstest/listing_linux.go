package fstest

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"golang.org/x/sys/unix"
)

// callListing lists a directory of files called 0 to N-1 (fill) in small steps, while others come and go between them, and answers "whole" if each
// file that was there all the time was listed once: listing DIR N, of an even N.
func callListing(p *player, a []string) (any, error) {
	dir, n := a[0], int(num(a, 1))
	fd, err := unix.Open(dir, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, err
	}
	defer unix.Close(fd)
	seen := map[string]int{}
	for step := 0; ; step++ {
		list, err := entries(fd, 4096)
		if err != nil {
			return nil, err
		}
		if len(list) == 0 {
			break
		}
		for _, e := range list {
			seen[e.name]++
		}
		if err := churn(p, dir, n, step); err != nil {
			return nil, err
		}
	}
	for i := range n {
		k := seen[fmt.Sprint(i)]
		if stayed := i%2 == 0; stayed && k != 1 || k > 1 {
			return fmt.Sprintf("%d was listed %d times", i, k), nil
		}
	}
	return "whole", nil
}

// churn removes files with odd numbers, makes others, and renames some.
func churn(p *player, dir string, n, step int) error {
	for i := range 3 {
		at := func(what string) string { return fmt.Sprintf("%s/%s%d.%d", dir, what, step, i) }
		if err := p.unlink(fmt.Sprintf("%s/%d", dir, (step*6+2*i+1)%n)); err != nil && err != unix.ENOENT {
			return err
		}
		if err := p.link(dir+"/0", at("new")); err != nil {
			return err
		}
		if err := p.rename(at("new"), at("moved"), nil); err != nil {
			return err
		}
	}
	return nil
}

// rest makes getdents64(2) with room for size bytes until there is no more.
func rest(fd, size int) (all []entry, err error) {
	for {
		list, err := entries(fd, size)
		if err != nil || len(list) == 0 {
			return all, err
		}
		all = append(all, list...)
	}
}

func namesOf(list []entry) []string {
	var names []string
	for _, e := range list {
		names = append(names, e.name)
	}
	return names
}

// callSteps lists an open directory in steps of SIZE bytes: steps NAME SIZE.
func callSteps(p *player, a []string) (any, error) {
	list, err := rest(kernel{p}.fd(a[0]), int(num(a, 1)))
	names := namesOf(list)
	slices.Sort(names)
	return strings.Join(names, " "), err
}

// onDir opens a directory for call.
func onDir(path string, call func(fd int) (any, error)) (any, error) {
	fd, err := unix.Open(path, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, err
	}
	defer unix.Close(fd)
	return call(fd)
}

// callSeekdir goes back to each place of a listing, the last first, and answers "same" if what follows there is what followed before.
func callSeekdir(_ *player, a []string) (any, error) {
	return onDir(a[0], func(fd int) (any, error) {
		all, err := rest(fd, 1024)
		if err != nil {
			return nil, err
		}
		for i := len(all) - 1; i >= 0; i -= 7 {
			if _, err := unix.Seek(fd, all[i].next, 0); err != nil {
				return nil, err
			}
			list, err := rest(fd, 32<<10)
			if err != nil {
				return nil, err
			}
			if !slices.Equal(namesOf(list), namesOf(all[i+1:])) {
				return fmt.Sprintf("behind %s: %q", all[i].name, namesOf(list)), nil
			}
		}
		return "same", nil
	})
}

// dirTypes are the types of entries, as getdents64(2) has them.
var dirTypes = map[byte]string{
	unix.DT_REG: "file", unix.DT_DIR: "dir", unix.DT_LNK: "link", unix.DT_FIFO: "fifo", unix.DT_SOCK: "socket", unix.DT_CHR: "char", unix.DT_BLK: "block",
}

// callTypes compares what a listing says of types and inode numbers with stat, dots included: "right".
func callTypes(p *player, a []string) (any, error) {
	return onDir(a[0], func(fd int) (any, error) {
		all, err := rest(fd, 1024)
		if err != nil {
			return nil, err
		}
		for _, e := range all {
			st, err := p.stat(a[0]+"/"+e.name, false)
			if err != nil {
				return nil, err
			}
			if st.ino != e.ino || dirTypes[e.kind] != st.kind {
				return fmt.Sprintf("%s: inode %d of type %d, stat says %d, %s", e.name, e.ino, e.kind, st.ino, st.kind), nil
			}
		}
		return "right", nil
	})
}

// callEmpty removes what it lists, while it lists, and answers how much that was.
func callEmpty(p *player, a []string) (any, error) {
	return onDir(a[0], func(fd int) (any, error) {
		n := 0
		for {
			list, err := entries(fd, 1024)
			if err != nil || len(list) == 0 {
				return fmt.Sprint(n), err
			}
			for _, e := range list {
				if e.name == "." || e.name == ".." {
					continue
				}
				if err := p.unlink(a[0] + "/" + e.name); err != nil {
					return nil, errors.Join(fmt.Errorf("unlink %s", e.name), err)
				}
				n++
			}
		}
	})
}
