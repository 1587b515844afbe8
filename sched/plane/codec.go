package plane

import (
	"fmt"
	"reflect"
	"slices"
	"strings"

	"dfs/cluster/fault"
	"dfs/cluster/state"
	"dfs/net/wire"
	"dfs/osmodel/kv"
)

// fields reads or writes the fields of an op, a result or a record. Each has one list of its fields, for both ways.
type fields struct {
	out []byte
	in  *wire.Reader // nil: write
}

// message is what has fields.
type message interface{ fields(*fields) }

func encode(m message) []byte {
	f := &fields{}
	m.fields(f)
	return f.out
}

func decode(b []byte, m message) error {
	f := &fields{in: wire.NewReader(b)}
	m.fields(f)
	return f.in.Done()
}

func (f *fields) uint(v *uint64) {
	if f.in == nil {
		f.out = wire.AppendUint(f.out, *v)
	} else {
		*v = f.in.Uint()
	}
}

func (f *fields) int(v *int64) {
	if f.in == nil {
		f.out = wire.AppendInt(f.out, *v)
	} else {
		*v = f.in.Int()
	}
}

func (f *fields) bool(v *bool) {
	if f.in == nil {
		f.out = wire.AppendBool(f.out, *v)
	} else {
		*v = f.in.Bool()
	}
}

func (f *fields) byte(v *uint8) {
	if f.in == nil {
		f.out = append(f.out, *v)
	} else {
		*v = f.in.Byte()
	}
}

func (f *fields) text(v *string, limit int) {
	if f.in == nil {
		f.out = wire.AppendString(f.out, *v)
	} else {
		*v = f.in.String(limit)
	}
}

// bytes reads a slice of its own; none and empty are the same.
func (f *fields) bytes(v *[]byte, limit int) {
	if f.in == nil {
		f.out = wire.AppendBytes(f.out, *v)
	} else if b := f.in.Bytes(limit); len(b) > 0 {
		*v = append([]byte(nil), b...)
	}
}

// list is a list of at most limit elements.
func list[T any](f *fields, v *[]T, limit int, one func(*T)) {
	if f.in == nil {
		f.out = wire.AppendUint(f.out, uint64(len(*v)))
		for i := range *v {
			one(&(*v)[i])
		}
		return
	}
	n := f.in.Count(limit)
	for range n {
		var e T
		one(&e)
		if f.in.Err() != nil {
			return
		}
		*v = append(*v, e)
	}
}

// optional is a value that may be missing.
func optional[T any](f *fields, v **T, one func(*T)) {
	there := *v != nil
	f.bool(&there)
	if there && *v == nil {
		*v = new(T)
	}
	if there {
		one(*v)
	}
}

// Op is one change of the plane's state.
type Op interface {
	message
	check() error // what can be seen without the state
	apply(m *machine) (Result, error)
}

// verbs are the ops by their number in the log: append only.
var verbs = []func() Op{
	1:  func() Op { return &Resume{} },
	2:  func() Op { return &Open{} },
	3:  func() Op { return &Renew{} },
	4:  func() Op { return &Close{} },
	5:  func() Op { return &Ring{} },
	6:  func() Op { return &Commit{} },
	7:  func() Op { return &CreateSemaphore{} },
	8:  func() Op { return &DeleteSemaphore{} },
	9:  func() Op { return &Wait{} },
	10: func() Op { return &CancelWait{} },
	11: func() Op { return &Signal{} },
	12: func() Op { return &CreateQueue{} },
	13: func() Op { return &DeleteQueue{} },
	14: func() Op { return &Send{} },
	15: func() Op { return &Broadcast{} },
	16: func() Op { return &Subscribe{} },
	17: func() Op { return &Receive{} },
	18: func() Op { return &Settle{} },
	19: func() Op { return &SetResource{} },
	20: func() Op { return &Register{} },
	21: func() Op { return &RequestUnits{} },
	22: func() Op { return &ReleaseUnits{} },
	23: func() Op { return &CancelRequest{} },
	24: func() Op { return &CreateArena{} },
	25: func() Op { return &DeleteArena{} },
	26: func() Op { return &Allocate{} },
	27: func() Op { return &Free{} },
	28: func() Op { return &Compact{} },
}

// Encode returns the body of op's proposal: the part's tag, the op's number, its fields.
func Encode(op Op) []byte { return append([]byte{state.TagPlane, verbOf(op)}, encode(op)...) }

// Decode is the inverse of Encode. It checks what can be checked without the state. fault.Invalid, fault.TooBig.
func Decode(body []byte) (Op, error) {
	if len(body) == 0 || body[0] != state.TagPlane {
		return nil, fault.New("decode op", fault.Invalid, "no op of the plane")
	}
	return decodeOp(body[1:])
}

func decodeOp(b []byte) (Op, error) {
	if len(b) == 0 || int(b[0]) >= len(verbs) || verbs[b[0]] == nil {
		return nil, fault.New("decode op", fault.Invalid, "an op of the plane that this version does not know")
	}
	op := verbs[b[0]]()
	if err := decode(b[1:], op); err != nil {
		return nil, err
	}
	return op, op.check()
}

func verbOf(op Op) byte {
	for n, fresh := range verbs {
		if fresh != nil && reflect.TypeOf(fresh()) == reflect.TypeOf(op) {
			return byte(n)
		}
	}
	panic("plane: an op without a number: " + nameOf(op))
}

func nameOf(op Op) string { return strings.TrimPrefix(fmt.Sprintf("%T", op), "*plane.") }

// Grows reports whether op needs room for ever; others end something, or change little.
func Grows(op Op) bool {
	switch o := op.(type) {
	case *Commit:
		return slices.ContainsFunc(slices.Concat(o.Then, o.Else), func(s kv.Step) bool { return s.Do == kv.Set })
	case *CreateSemaphore, *CreateQueue, *Send, *Broadcast, *CreateArena, *Open:
		return true
	}
	return false
}

// Check returns what is wrong with op, whatever the state.
func Check(op Op) error { return op.check() }

// ResultOf decodes what applying a proposal answered: the op's result, or its error with its kind.
func ResultOf(raw []byte) (r Result, err error) {
	b, err := state.DecodeResult(raw)
	if err != nil {
		return r, err
	}
	if err := decode(b, &r); err != nil {
		return r, err
	}
	if r.Stopped != "" {
		return r, stoppedError(r.Stopped)
	}
	return r, nil
}
