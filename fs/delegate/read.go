package delegate

import (
	"context"
	"errors"
	"time"

	"dfs/fs/coherence"
	"dfs/fs/meta"
)

// At returns the state after index; 0 is the newest applied with all that was done here.
func (m *Mount) At(index uint64) (meta.View, error) {
	if index != 0 {
		return m.below.At(index)
	}
	m.lock()
	defer m.mu.Unlock()
	if m.writes.Len() == 0 {
		return m.below.At(0)
	}
	return m.view(), nil
}

// Read runs fn on a view in which obj may be answered now. What this mount has to itself waits for nothing but the lease; the
// attributes of what was changed a moment ago may not be kept by the kernel. Errors are those of coherence.Driver.Read.
func (m *Mount) Read(ctx context.Context, obj coherence.Object, fn func(meta.View) error) (time.Duration, error) {
	for {
		m.lock()
		alone, after := m.alone(obj.Ino()), m.touched[obj.Ino()]
		m.mu.Unlock()
		if !alone {
			if err := m.until(ctx, after); err != nil { // it is being given up, and what was done here is not in the log yet
				return 0, err
			}
			return m.coh.Read(ctx, obj, fn)
		}
		keep := true
		valid, err := m.coh.Own(ctx, obj, func() error {
			m.lock()
			if !m.alone(obj.Ino()) {
				m.mu.Unlock()
				return errGivenUp
			}
			v := m.view()
			keep = !obj.IsAttr() || m.still(v, obj.Ino())
			m.mu.Unlock()
			defer v.Close()
			return fn(v)
		})
		if err == errGivenUp {
			continue
		}
		if !keep {
			valid = 0
		}
		return valid, err
	}
}

var errGivenUp = errors.New("no longer this mount's alone")

// Hold is coherence.Driver.Hold.
func (m *Mount) Hold(exclusive bool, dirs ...meta.Ino) (end func()) {
	return m.coh.Hold(exclusive, dirs...)
}

// Doubt is coherence.Driver.Doubt.
func (m *Mount) Doubt(ino meta.Ino) { m.coh.Doubt(ino) }

// Clean reports whether nothing about obj is pending or unreleased. Names that are this mount's alone are always clean.
func (m *Mount) Clean(obj coherence.Object) bool {
	m.lock()
	defer m.mu.Unlock()
	switch {
	case m.alone(obj.Ino()):
		if !obj.IsAttr() {
			return true
		}
		v := m.view()
		defer v.Close()
		return m.still(v, obj.Ino())
	case m.touched[obj.Ino()] != 0:
		return false
	}
	return m.coh.Clean(obj)
}

// still reports whether the kernel may keep the attributes of ino, which is this mount's alone: not of what was changed a moment
// ago, unless that made it: there is no older answer. A directory's change with every name in it, which the kernel knows but for replies under way: Doubt settles those. The caller
// has mu.
func (m *Mount) still(v *meta.Image, ino meta.Ino) bool {
	h := m.held[ino]
	if h.typ == 0 {
		if st, err := v.Stat(ino); err == nil {
			h.typ = st.Type
		}
	}
	if last := m.touched[ino]; h.typ == 0 || last != 0 && last != h.made {
		return false
	}
	h.kept = true
	return true
}
