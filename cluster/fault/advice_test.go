package fault

import (
	"errors"
	"fmt"
	"testing"
)

// Advice changes nothing about an error but what to do next; the outermost counts.
func TestAdvice(t *testing.T) {
	err := New("join", Refused, "no")
	advised := Advise(Wrap("up", Advise(err, "ask")), "ask %s", "again")
	if !errors.Is(advised, Refused) || KindOf(advised) != Refused || advised.Error() != Wrap("up", err).Error() {
		t.Errorf("%v", advised)
	}
	if got := NextStep(fmt.Errorf("outside: %w", advised)); got != "ask again" {
		t.Errorf("next step %q", got)
	}
	if NextStep(err) != "" || NextStep(nil) != "" || Advise(nil, "x") != nil {
		t.Error("advice from nowhere")
	}
	if Plain(Advise(Advise(err, "a"), "b")) != err || Plain(err) != err {
		t.Error("Plain is not plain")
	}
}
