package draw

import (
	"bytes"
	"encoding/xml"
	"errors"
	"io"
	"testing"
)

func TestPicturesAreWellFormed(t *testing.T) {
	p := Picture{Width: 100, Height: 50}
	p.Box(0, 0, 40, 20, Colour(-1), `<&"evil">`)
	p.Text(1, 2, "start", 12, Ink, "a\x00b\x1b <tag>")
	p.Arrow(0, 0, 10, 10, Alarm, 1)
	p.Circle(5, 5, 20, Good, "P1")
	var b bytes.Buffer
	if _, err := p.WriteTo(&b); err != nil {
		t.Fatal(err)
	}
	d := xml.NewDecoder(&b)
	for {
		if _, err := d.Token(); errors.Is(err, io.EOF) {
			return
		} else if err != nil {
			t.Fatal(err)
		}
	}
}

func TestWordsFitTheirBox(t *testing.T) {
	for _, c := range []struct {
		words string
		width float64
		want  string
	}{{"P1", 40, "P1"}, {"P1", 5, ""}, {"P123", 19, "P1"}, {"editor", 30, "ed…"}, {"", 100, ""}} {
		if got := fit(c.words, c.width); got != c.want {
			t.Errorf("%q in %v: %q, want %q", c.words, c.width, got, c.want)
		}
	}
}
