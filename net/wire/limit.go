package wire

import "dfs/cluster/fault"

// Limit is the most bytes a message of some kind may have.
type Limit struct{ Fields, Payload int }

// Limits says how big messages of a kind may be. The zero Limit refuses the kind altogether unless it is empty.
type Limits func(Kind) Limit

// DefaultLimits are the bounds every peer sends and accepts by.
func DefaultLimits(k Kind) Limit {
	switch {
	case k < KindJoin:
		return Limit{Fields: 64 << 10}
	case k < KindRaft:
		return Limit{Fields: 1 << 20} // a join's reply lists all members
	case k < KindLease:
		return Limit{Fields: 2 << 20, Payload: 2 << 20}
	case k < KindBlock:
		return Limit{Fields: 64 << 10}
	case k < KindRecall:
		return Limit{Fields: 1 << 20, Payload: 4<<20 + 64<<10} // 8192 extents of one block, or one of 4 MiB and its sums
	case k < KindAdmin:
		return Limit{Fields: 64 << 10}
	case k < KindPlane:
		return Limit{Fields: 1 << 20}
	case k < KindPlane+0x100:
		return Limit{Fields: 1 << 20, Payload: 1 << 20}
	}
	return Limit{}
}

// errorLimit bounds a frame that carries an error, whatever its kind.
var errorLimit = Limit{Fields: 4 << 10}

// For returns the limit of a frame.
func (l Limits) For(t Type, k Kind) Limit {
	if t == Failure {
		return errorLimit
	}
	return l(k)
}

func (l Limit) check(h Header) error {
	if h.Fields > l.Fields || h.Payload > l.Payload {
		return fault.New("frame", fault.TooBig, "%v of kind %v: %d+%d bytes, at most %d+%d",
			h.Type, h.Kind, h.Fields, h.Payload, l.Fields, l.Payload)
	}
	return nil
}
