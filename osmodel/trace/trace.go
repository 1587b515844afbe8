// Package trace reads the plain text that every simulator takes: lines of words.
//
// '#' starts a comment that ends with its line; lines without words are skipped. What is wrong is reported with the
// number of its line, as *Error. Readers are bounded: a trace is at most MaxBytes long.
package trace

import (
	"bytes"
	"fmt"
	"io"
	"strconv"
	"strings"
	"unicode"
)

// MaxBytes is the longest trace that is read, MaxNumber the largest number in one.
const (
	MaxBytes  = 16 << 20
	MaxNumber = 1_000_000_000_000
)

// Line is one line that holds words.
type Line struct {
	Number int // from 1
	Words  []string
}

// Error says what is wrong with a trace, and where.
type Error struct {
	Line   int // from 1; 0: the trace as a whole
	Detail string
}

func (e *Error) Error() string {
	if e.Line == 0 {
		return "trace: " + e.Detail
	}
	return fmt.Sprintf("trace: line %d: %s", e.Line, e.Detail)
}

// Errorf returns an *Error about the whole trace.
func Errorf(format string, args ...any) error { return &Error{Detail: fmt.Sprintf(format, args...)} }

// Errorf returns an *Error about l.
func (l Line) Errorf(format string, args ...any) error {
	return &Error{l.Number, fmt.Sprintf(format, args...)}
}

// Lines reads all of r. An error of r comes back as it is.
func Lines(r io.Reader) ([]Line, error) {
	data, err := io.ReadAll(io.LimitReader(r, MaxBytes+1))
	if err != nil {
		return nil, err
	}
	if len(data) > MaxBytes {
		return nil, Errorf("longer than %d bytes", MaxBytes)
	}
	var lines []Line
	for n := 1; len(data) > 0; n++ {
		line, rest, _ := bytes.Cut(data, []byte{'\n'})
		data = rest
		line, _, _ = bytes.Cut(line, []byte{'#'})
		if words := strings.Fields(string(line)); len(words) > 0 {
			lines = append(lines, Line{n, words})
		}
	}
	return lines, nil
}

// Number64 reads a whole number in [low, MaxNumber]; what names it in the error.
func (l Line) Number64(word, what string, low int64) (int64, error) {
	n, err := strconv.ParseInt(word, 10, 64)
	switch {
	case err != nil:
		return 0, l.Errorf("%s %q is not a whole number", what, word)
	case n < low:
		return 0, l.Errorf("%s is %d, below %d", what, n, low)
	case n > MaxNumber:
		return 0, l.Errorf("%s is %d, above %d", what, n, int64(MaxNumber))
	}
	return n, nil
}

// Name checks a name: printable, at most 64 bytes.
func (l Line) Name(word, what string) (string, error) {
	if len(word) > 64 {
		return "", l.Errorf("%s %.16q... is longer than 64 bytes", what, word)
	}
	if strings.ContainsFunc(word, func(r rune) bool { return !unicode.IsPrint(r) || r == unicode.ReplacementChar }) {
		return "", l.Errorf("%s %q is not printable", what, word)
	}
	return word, nil
}
