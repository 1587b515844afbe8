package kv

import "dfs/cluster/fault"

// Bounds of what a Store takes.
const (
	MaxKey   = 1024    // bytes in a key
	MaxValue = 1 << 16 // bytes in a value
)

// Check returns fault.Invalid for a key, and fault.TooBig for a value, that no Store takes.
func Check(key, value []byte) error {
	if len(key) == 0 || len(key) > MaxKey {
		return fault.New("kv set", fault.Invalid, "key of %d bytes", len(key))
	}
	if len(value) > MaxValue {
		return fault.New("kv set", fault.TooBig, "value of %d bytes", len(value))
	}
	return nil
}
