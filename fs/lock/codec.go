package lock

import (
	"dfs/cluster/fault"
	"dfs/net/wire"
)

// decodeMax bounds what a decoded table may have of locks and of waits.
const decodeMax = 1 << 16

const (
	flagWhole = 1 << iota
	flagWrite
	flagPolite
	flags = flagWhole | flagWrite | flagPolite
)

// Append appends l; ReadLock is its inverse.
func (l Lock) Append(b []byte) []byte { return appendLock(b, l, 0) }

func appendLock(b []byte, l Lock, flag byte) []byte {
	if l.Whole {
		flag |= flagWhole
	}
	if l.Write {
		flag |= flagWrite
	}
	b = append(b, flag)
	for _, v := range [...]uint64{l.Owner.Session, l.Owner.ID, uint64(l.PID), l.From, l.End - l.From} {
		b = wire.AppendUint(b, v)
	}
	return b
}

// ReadLock reads what Append wrote. fault.Invalid where that makes no sense as a lock.
func ReadLock(d *wire.Reader) (Lock, error) {
	l, flag, err := readLock(d)
	if err == nil && flag&flagPolite != 0 {
		err = invalid(flag)
	}
	return l, err
}

func readLock(d *wire.Reader) (l Lock, flag byte, err error) {
	flag = d.Byte()
	l = Lock{Whole: flag&flagWhole != 0, Write: flag&flagWrite != 0}
	l.Owner.Session, l.Owner.ID, l.PID, l.From = d.Uint(), d.Uint(), d.Uint32(), d.Uint()
	n := d.Uint()
	l.End = l.From + n
	switch {
	case d.Err() != nil:
		return Lock{}, 0, d.Err()
	case flag&^flags != 0:
		return Lock{}, 0, invalid(flag)
	case n > EndOfAll || !l.Valid():
		return Lock{}, 0, fault.New("decode lock", fault.Invalid, "bytes [%d, %d)", l.From, l.End)
	}
	return l, flag, nil
}

func invalid(flag byte) error { return fault.New("decode lock", fault.Invalid, "flags %x", flag) }

// Append appends t; Decode is its inverse.
func (t *Table) Append(b []byte) []byte {
	b = wire.AppendUint(b, uint64(len(t.Held)))
	for _, l := range t.Held {
		b = appendLock(b, l, 0)
	}
	b = wire.AppendUint(b, uint64(len(t.Waits)))
	for _, w := range t.Waits {
		flag := byte(0)
		if w.Polite {
			flag = flagPolite
		}
		b = wire.AppendUint(appendLock(b, w.Lock, flag), w.ID)
	}
	return b
}

// Decode reads a table and checks it. fault.Invalid.
func Decode(b []byte) (t Table, err error) {
	d := wire.NewReader(b)
	for range d.Count(decodeMax) {
		l, err := ReadLock(d)
		if err != nil {
			return Table{}, err
		}
		t.Held = append(t.Held, l)
	}
	for range d.Count(decodeMax) {
		l, flag, err := readLock(d)
		if err != nil {
			return Table{}, err
		}
		t.Waits = append(t.Waits, Wait{Lock: l, Polite: flag&flagPolite != 0, ID: d.Uint()})
	}
	if err := d.Done(); err != nil {
		return Table{}, err
	}
	return t, t.check()
}

// check reports a table that no requests make. fault.Invalid.
func (t *Table) check() error {
	last := map[ofKind]Lock{}
	for i, l := range t.Held {
		switch {
		case !l.Valid(), i > 0 && t.Held[i-1].compare(l) >= 0:
			return fault.New("locks", fault.Invalid, "lock %d of %d is out of order", i, len(t.Held))
		}
		k := ofKind{l.Owner, l.Whole}
		if o, ok := last[k]; ok && (o.End > l.From || o.End == l.From && o.Write == l.Write) {
			return fault.New("locks", fault.Invalid, "an owner's locks overlap or are not joined at %d", l.From)
		}
		last[k] = l
	}
	return nil
}

// ofKind is an owner's locks of one kind.
type ofKind struct {
	Owner
	whole bool
}
