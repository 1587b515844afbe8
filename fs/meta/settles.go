package meta

// Settles reports whether applying op to this state would find any commit stable.
func (v *Image) Settles(op Stable) (ripe bool, err error) {
	members, err := readMembers(v.r)
	if err != nil {
		return false, err
	}
	marks := op.marks()
	looked := 0
	var failed error
	err = v.r.Scan(prefix('v'), nil, func(k, b []byte) bool {
		if looked++; looked > stableLook {
			return false
		}
		var w waiting
		if w, failed = decodeWaiting(k, b); failed != nil {
			return false
		}
		ripe = isStable(w, marks, op.Absent, members)
		return !ripe
	})
	if err == nil {
		err = failed
	}
	return ripe, err
}
