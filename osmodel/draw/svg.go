// Package draw writes the small SVG pictures of the simulators: boxes, lines, arrows and words on a white ground.
//
// Pictures need no style sheet, no script and no font of their own, so that any viewer shows them alike. Units are
// pixels from the upper left corner.
package draw

import (
	"fmt"
	"io"
	"math"
	"strings"
	"unicode/utf8"
)

// Picture collects shapes; later ones lie above earlier ones.
type Picture struct {
	Width, Height float64
	shapes        strings.Builder
}

// palette holds light colours that black words can be read on. Colour k is the k-th, around again after the last.
var palette = []string{"#a6cee3", "#fdbf6f", "#b2df8a", "#fb9a99", "#cab2d6", "#ffff99", "#8dd3c7", "#e5c494", "#d9d9d9", "#fccde5"}

// Colours that mean something in every picture.
const (
	Empty  = "#f4f4f4" // nothing there
	Alarm  = "#e86a5e" // faults, members of a deadlock
	Behind = "#fdbf6f" // waits for what is in alarm
	Good   = "#7fc97f"
	Ink    = "#222222"
	Faint  = "#999999"
)

// Colour returns the k-th colour of the palette.
func Colour(k int) string {
	return palette[((k%len(palette))+len(palette))%len(palette)]
}

// Box draws a rectangle with a thin border and words in its middle, shortened to what fits.
func (p *Picture) Box(x, y, w, h float64, fill, words string) {
	fmt.Fprintf(&p.shapes, `<rect x="%s" y="%s" width="%s" height="%s" fill="%s" stroke="%s" stroke-width="1"/>`+"\n",
		num(x), num(y), num(w), num(h), fill, Ink)
	if words = fit(words, w); words != "" {
		p.Text(x+w/2, y+h/2+4, "middle", 12, Ink, words)
	}
}

// Text writes words; anchor is start, middle or end and (x, y) the place of the anchor on the base line.
func (p *Picture) Text(x, y float64, anchor string, size int, colour, words string) {
	fmt.Fprintf(&p.shapes, `<text x="%s" y="%s" text-anchor="%s" font-family="sans-serif" font-size="%d" fill="%s">%s</text>`+"\n",
		num(x), num(y), anchor, size, colour, escape(words))
}

// Label writes words on a small white ground with its middle at (x, y): upon a line, say.
func (p *Picture) Label(x, y float64, words string) {
	w := float64(7*utf8.RuneCountInString(words) + 4)
	fmt.Fprintf(&p.shapes, `<rect x="%s" y="%s" width="%s" height="14" fill="#ffffff"/>`+"\n", num(x-w/2), num(y-7), num(w))
	p.Text(x, y+4, "middle", 12, Ink, words)
}

// Line draws a straight line.
func (p *Picture) Line(x1, y1, x2, y2 float64, colour string, width float64) {
	fmt.Fprintf(&p.shapes, `<line x1="%s" y1="%s" x2="%s" y2="%s" stroke="%s" stroke-width="%s"/>`+"\n",
		num(x1), num(y1), num(x2), num(y2), colour, num(width))
}

// Arrow draws a line with a head at its end.
func (p *Picture) Arrow(x1, y1, x2, y2 float64, colour string, width float64) {
	p.Line(x1, y1, x2, y2, colour, width)
	a := math.Atan2(y2-y1, x2-x1)
	head := func(turn float64) string {
		return num(x2-10*math.Cos(a+turn)) + "," + num(y2-10*math.Sin(a+turn))
	}
	fmt.Fprintf(&p.shapes, `<polygon points="%s,%s %s %s" fill="%s"/>`+"\n", num(x2), num(y2), head(0.4), head(-0.4), colour)
}

// Circle draws a disc with words in its middle.
func (p *Picture) Circle(x, y, r float64, fill, words string) {
	fmt.Fprintf(&p.shapes, `<circle cx="%s" cy="%s" r="%s" fill="%s" stroke="%s" stroke-width="1"/>`+"\n", num(x), num(y), num(r), fill, Ink)
	if words = fit(words, 2*r); words != "" {
		p.Text(x, y+4, "middle", 12, Ink, words)
	}
}

// WriteTo writes the picture as one SVG document.
func (p *Picture) WriteTo(w io.Writer) (int64, error) {
	n, err := fmt.Fprintf(w, `<svg xmlns="http://www.w3.org/2000/svg" width="%s" height="%s" viewBox="0 0 %s %s">
<rect width="100%%" height="100%%" fill="#ffffff"/>
%s</svg>
`, num(p.Width), num(p.Height), num(p.Width), num(p.Height), p.shapes.String())
	return int64(n), err
}

// Short cuts words to about width pixels of 12 pixel letters, with an ellipsis where room allows; "" where not even one
// fits.
func Short(words string, width float64) string { return fit(words, width) }

// fit cuts words to about width pixels of 12 pixel letters; "" where not even one fits.
func fit(words string, width float64) string {
	runes := []rune(words)
	if room := int((width - 4) / 7); room < len(runes) {
		if room < 1 {
			return ""
		}
		if room < 3 {
			return string(runes[:room])
		}
		return string(runes[:room-1]) + "…"
	}
	return words
}

func num(f float64) string {
	return strings.TrimSuffix(strings.TrimRight(fmt.Sprintf("%.2f", f), "0"), ".")
}

// escape makes words safe inside an element; what XML cannot carry becomes the replacement character.
func escape(words string) string {
	var b strings.Builder
	for _, r := range words {
		switch {
		case r == '<':
			b.WriteString("&lt;")
		case r == '>':
			b.WriteString("&gt;")
		case r == '&':
			b.WriteString("&amp;")
		case r == '"':
			b.WriteString("&quot;")
		case r < 0x20 && r != '\t' || r == 0xFFFE || r == 0xFFFF:
			b.WriteRune('\uFFFD')
		default:
			b.WriteRune(r)
		}
	}
	return b.String()
}
