package trace

import (
	"errors"
	"reflect"
	"strings"
	"testing"
)

func TestLines(t *testing.T) {
	got, err := Lines(strings.NewReader("# a title\nP1 0 24 # the long one\r\n\n  \tP2 0\t3\nlast"))
	want := []Line{{2, []string{"P1", "0", "24"}}, {4, []string{"P2", "0", "3"}}, {5, []string{"last"}}}
	if err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("%v, %v", got, err)
	}
}

func TestATraceIsBounded(t *testing.T) {
	_, err := Lines(strings.NewReader(strings.Repeat("a ", MaxBytes)))
	var e *Error
	if !errors.As(err, &e) || e.Line != 0 {
		t.Errorf("%v", err)
	}
}

func TestNumbersAndNames(t *testing.T) {
	l := Line{Number: 7}
	for _, c := range []struct {
		word string
		low  int64
		want string
	}{
		{"12", 0, ""},
		{"-3", -20, ""},
		{"x", 0, `trace: line 7: size "x" is not a whole number`},
		{"1.5", 0, `trace: line 7: size "1.5" is not a whole number`},
		{"0", 1, "trace: line 7: size is 0, below 1"},
		{"9000000000000", 0, "trace: line 7: size is 9000000000000, above 1000000000000"},
	} {
		_, err := l.Number64(c.word, "size", c.low)
		if got := text(err); got != c.want {
			t.Errorf("%s: %q, want %q", c.word, got, c.want)
		}
	}
	for word, good := range map[string]bool{"P1": true, "größer": true, "a\x00": false, "\xff": false, strings.Repeat("x", 65): false} {
		if _, err := l.Name(word, "process"); (err == nil) != good {
			t.Errorf("%q: %v", word, err)
		}
	}
}

func text(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}
