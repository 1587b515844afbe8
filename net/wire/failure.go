package wire

import (
	"context"
	"errors"
	"os"

	"dfs/cluster/fault"
)

// Failed is an error on its way to the peer that asked: kind, operation and detail arrive, causes as text.
type Failed struct {
	For Kind // of the request
	Err error
}

const (
	failedOpMax     = 256  // bytes
	failedDetailMax = 2048 // bytes
)

// Kind is the request's.
func (f *Failed) Kind() Kind { return f.For }

// Append writes kind, operation and detail, the last two cut to their limits.
func (f *Failed) Append(b []byte) []byte {
	kind, op, detail := parts(f.Err)
	b = AppendUint(b, uint64(kind))
	b = AppendString(b, op[:min(len(op), failedOpMax)])
	return AppendString(b, detail[:min(len(detail), failedDetailMax)])
}

// Decode leaves a *fault.Error in Err. Kinds of a newer version keep their number.
func (f *Failed) Decode(b []byte) error {
	r := NewReader(b)
	kind, op, detail := r.Uint(), r.String(failedOpMax), r.String(failedDetailMax)
	if err := r.Done(); err != nil {
		return err
	}
	if kind > 255 {
		kind = uint64(fault.Other)
	}
	f.Err = &fault.Error{Op: op, Kind: fault.Kind(kind), Detail: detail}
	return nil
}

// FaultOf gives errors of contexts and time limits their kinds; all others keep what they have.
func FaultOf(err error) fault.Kind {
	switch {
	case fault.KindOf(err) != fault.Other:
		return fault.KindOf(err)
	case errors.Is(err, context.DeadlineExceeded), errors.Is(err, os.ErrDeadlineExceeded):
		return fault.Timeout
	case errors.Is(err, context.Canceled):
		return fault.Canceled
	}
	return fault.Other
}

func parts(err error) (kind fault.Kind, op, detail string) {
	var e *fault.Error
	if !errors.As(err, &e) {
		return FaultOf(err), "remote", err.Error()
	}
	detail = e.Detail
	if e.Err != nil {
		if detail != "" {
			detail += ": "
		}
		detail += e.Err.Error()
	}
	return e.Kind, e.Op, detail
}
