package segment

import (
	"errors"

	"dfs/cluster/fault"
)

// VerifyIndex reads the index from the disk and checks its sums. fault.Corrupt: close the store and open it again, then
// the index is made anew from the segments.
func (s *Store) VerifyIndex() error {
	v, can := s.index.(interface{ Verify() error })
	if !can {
		return nil
	}
	return fault.Wrap("segment index", v.Verify())
}

// distrust tells of an index that cannot be right, and returns err.
func (s *Store) distrust(err error) error {
	if errors.Is(err, fault.Corrupt) {
		s.o.OnIndex(err)
	}
	return err
}
