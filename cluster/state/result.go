package state

import (
	"errors"
	"unicode/utf8"

	"dfs/cluster/fault"
	"dfs/net/wire"
)

// resultMax bounds what an error may carry home.
const resultMax = 512

// EncodeResult encodes the answer to a proposal: a payload, or an error by kind, operation and detail.
func EncodeResult(payload []byte, err error) []byte {
	if err == nil {
		return append([]byte{0}, payload...)
	}
	op, detail := "apply", err.Error()
	var f *fault.Error
	if errors.As(err, &f) {
		op, detail = f.Op, f.Detail
		if f.Err != nil {
			if detail != "" {
				detail += ": "
			}
			detail += f.Err.Error()
		}
	}
	b := []byte{1, byte(fault.KindOf(err))}
	b = wire.AppendString(b, clip(op))
	return wire.AppendString(b, clip(detail))
}

// DecodeResult returns the payload, or the error the proposal was answered with, its kind as it was.
func DecodeResult(b []byte) ([]byte, error) {
	if len(b) == 0 {
		return nil, fault.New("decode result", fault.Invalid, "empty")
	}
	if b[0] == 0 {
		return b[1:], nil
	}
	d := wire.NewReader(b[1:])
	e := &fault.Error{Kind: fault.Kind(d.Byte()), Op: d.String(resultMax), Detail: d.String(resultMax)}
	if err := d.Done(); err != nil || b[0] != 1 {
		return nil, fault.New("decode result", fault.Invalid, "%d bytes", len(b))
	}
	return nil, e
}

func clip(s string) string {
	if len(s) <= resultMax {
		return s
	}
	s = s[:resultMax]
	for !utf8.ValidString(s) && len(s) > resultMax-utf8.UTFMax {
		s = s[:len(s)-1]
	}
	return s
}
