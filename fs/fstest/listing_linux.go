package fstest

import (
	"fmt"

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
		if err := p.mknod(at("new"), "file", 0o644, 0); err != nil {
			return err
		}
		if err := p.rename(at("new"), at("moved"), nil); err != nil {
			return err
		}
	}
	return nil
}
