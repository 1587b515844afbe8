package fault

import (
	"errors"
	"fmt"
)

// Advise puts one next step behind err, for people: a command to try, or what to change. It is said where it is known, and
// shown by the commands. The outermost advice counts. Advise of nil is nil.
func Advise(err error, format string, args ...any) error {
	if err == nil {
		return nil
	}
	return &advised{err, fmt.Sprintf(format, args...)}
}

type advised struct {
	error
	next string
}

func (a *advised) Unwrap() error { return a.error }

// NextStep returns the advice in err's chain, "" if there is none.
func NextStep(err error) string {
	var a *advised
	if errors.As(err, &a) {
		return a.next
	}
	return ""
}

// Plain returns err without the advice put around it.
func Plain(err error) error {
	for {
		a, ok := err.(*advised)
		if !ok {
			return err
		}
		err = a.error
	}
}
