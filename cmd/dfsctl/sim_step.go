package main

import (
	"bufio"
	"fmt"
	"io"
	"strconv"
	"strings"
)

// walk shows a solution step by step. A line of input moves: nothing or n forward, b or p back, a number there, q ends
// it, as the end of the input does.
func walk(in io.Reader, out io.Writer, s *solution) error {
	keys := bufio.NewScanner(in)
	for i := 0; s.steps > 0; {
		fmt.Fprintf(out, "--- step %d of %d ---\n", i+1, s.steps)
		s.step(out, i)
		for moved := false; !moved; {
			if _, err := fmt.Fprint(out, "[Enter forward, b back, NUMBER, q end] "); err != nil {
				return err
			}
			if !keys.Scan() {
				fmt.Fprintln(out)
				return keys.Err()
			}
			key := strings.TrimSpace(keys.Text())
			to, err := strconv.Atoi(key)
			switch {
			case key == "q":
				return nil
			case key == "" || key == "n":
				if i == s.steps-1 {
					fmt.Fprintln(out, "this is the last step")
					continue
				}
				to = i + 2
			case key == "b" || key == "p":
				if i == 0 {
					fmt.Fprintln(out, "this is the first step")
					continue
				}
				to = i
			case err != nil || to < 1 || to > s.steps:
				fmt.Fprintf(out, "there are steps 1 to %d\n", s.steps)
				continue
			}
			i, moved = to-1, true
		}
	}
	return nil
}
