package state

import (
	"fmt"
	"runtime/debug"
)

// Panic is what Try returns of a function that panicked.
type Panic struct {
	Value any
	Stack []byte
}

func (p *Panic) Error() string { return fmt.Sprintf("panic: %v", p.Value) }

// Try runs fn on tx. What fn writes counts only if it returns nil: an error drops it all, and so does a panic, which is
// returned as a *Panic. A part whose bugs shall stop nothing but itself carries its proposals out in it.
func Try(tx Tx, fn func(Tx) error) (err error) {
	o := newOverlay(tx)
	o.free = true // tx counts what it is given
	defer func() {
		if v := recover(); v != nil {
			err = &Panic{v, debug.Stack()}
		}
	}()
	if err := fn(o); err != nil {
		return err
	}
	return o.flush()
}
