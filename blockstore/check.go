package blockstore

import "dfs/cluster/fault"

// Shape returns fault.Invalid unless b has 1..MaxBlocks whole blocks and one sum for each.
func (b *Batch) Shape() error {
	n := len(b.Data) / Size
	if n == 0 || n > MaxBlocks || len(b.Data)%Size != 0 || len(b.Sums) != n {
		return fault.New("put", fault.Invalid, "extent %v of %d bytes with %d sums", b.ID, len(b.Data), len(b.Sums))
	}
	return nil
}

// Check returns what Shape does, and fault.Corrupt unless the blocks match their sums. Every Store that keeps bytes
// begins its Put with it.
func (b *Batch) Check() error {
	if err := b.Shape(); err != nil {
		return err
	}
	return Verify(b.Data, b.Sums)
}

// Check returns fault.Invalid unless s is a possible span of 1..MaxBlocks blocks and p has its length. Every Store's
// Get begins with it.
func (s Span) Check(p []byte) error {
	if s.Count == 0 || s.Count > MaxBlocks || s.First > MaxBlocks-s.Count || int64(len(p)) != s.Bytes() {
		return fault.New("get", fault.Invalid, "%v into %d bytes", s, len(p))
	}
	return nil
}
