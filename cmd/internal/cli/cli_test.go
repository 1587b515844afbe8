package cli

import (
	"bytes"
	"errors"
	"fmt"
	"testing"

	"github.com/spf13/cobra"

	"dfs/cluster/fault"
)

func TestExitCodes(t *testing.T) {
	for _, c := range []struct {
		err  error
		want int
	}{
		{nil, 0},
		{errors.New("anything"), 1},
		{fault.New("x", fault.Corrupt, ""), 1},
		{fault.New("x", fault.Unreachable, ""), 1},
		{fault.New("x", fault.Invalid, ""), 2},
		{fault.New("x", fault.NotExist, ""), 3},
		{fault.New("x", fault.Refused, ""), 4},
		{fault.New("x", fault.Permission, ""), 4},
		{fault.New("x", fault.Timeout, ""), 5},
		{Code(Degraded), 6},
		{fault.New("x", fault.Conflict, ""), 7},
		{fault.New("x", fault.Exist, ""), 7},
		{fault.New("x", fault.Busy, ""), 7},
		{Hint(fault.New("x", fault.NotExist, ""), "look elsewhere"), 3},
		{fmt.Errorf("outside: %w", fault.New("x", fault.Timeout, "")), 5},
	} {
		if got := ExitCode(c.err); got != c.want {
			t.Errorf("%v: %d, want %d", c.err, got, c.want)
		}
	}
}

func TestErrorsEndWithOneNextStep(t *testing.T) {
	for _, c := range []struct {
		err  error
		want string
	}{
		{Hint(fault.New("where", fault.NotExist, "/x"), "ls %s", "/"), "p: where: /x: does not exist\nnext: ls /\n"},
		{fault.New("write", fault.Invalid, "y"), "p: write: y: invalid\nnext: p --help\n"},
		{Code(Degraded), ""},
		{nil, ""},
	} {
		var b bytes.Buffer
		PrintError(&b, "p", c.err)
		if b.String() != c.want {
			t.Errorf("%v printed %q, want %q", c.err, b.String(), c.want)
		}
	}
}

func TestUsageErrors(t *testing.T) {
	root := func() *cobra.Command {
		r := &cobra.Command{Use: "prog"}
		Group(r, &cobra.Command{Use: "one ARG", Args: cobra.ExactArgs(1), RunE: func(*cobra.Command, []string) error {
			return errors.New("inside")
		}})
		return r
	}
	for _, c := range []struct {
		args []string
		code int
	}{
		{[]string{}, Usage},
		{[]string{"two"}, Usage},
		{[]string{"one"}, Usage},
		{[]string{"one", "a", "b"}, Usage},
		{[]string{"one", "--nonsense"}, Usage},
		{[]string{"one", "a"}, Failed},
		{[]string{"--help"}, OK},
	} {
		r := root()
		r.SetArgs(c.args)
		r.SetOut(new(bytes.Buffer))
		var stderr bytes.Buffer
		if code := Main(t.Context(), r, &stderr); code != c.code {
			t.Errorf("%q: exit code %d, want %d; %s", c.args, code, c.code, &stderr)
		}
	}
}
