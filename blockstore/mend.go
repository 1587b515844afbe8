package blockstore

import (
	"context"

	"dfs/blockstore/runs"
	"dfs/cluster/fault"
)

// Condition is what a store found of one extent when it looked at its disk.
type Condition struct {
	Blocks uint32   // the extent had when it was put; 0: the store does not know it
	Live   runs.Set // blocks that a Get should find
	Bad    runs.Set // of those, the rotten: wrong bytes, or a right one's of another place
	Note   Note     // what the extent was put with
	Noted  bool     // Note can be trusted
}

// Patch is some blocks of an extent on their way back into a store that has lost them or let them rot.
type Patch struct {
	ID     ID
	Blocks uint32   // of the whole extent
	Set    runs.Set // the blocks of the patch, not empty
	Data   []byte   // their bytes, in order
	Sums   []Sum    // one a block of Set
	Note   Note     // for a store that has no note of the extent any more
}

// Check returns fault.Invalid unless p makes sense, and fault.Corrupt unless its blocks match their sums. Every Mender
// begins its Mend with it.
func (p *Patch) Check() error {
	n := int(p.Set.Len())
	if n == 0 || p.Blocks > MaxBlocks || len(p.Set.Minus(runs.Of(0, p.Blocks))) > 0 || len(p.Data) != n*Size || len(p.Sums) != n {
		return fault.New("mend", fault.Invalid, "%d of %d blocks of extent %v in %d bytes", n, p.Blocks, p.ID, len(p.Data))
	}
	return Verify(p.Data, p.Sums)
}

// Mender is implemented by stores that can look for rot and put good blocks in its place. An extent is immutable, so
// a replica that is made whole again is the same replica: nobody else has to agree to it.
type Mender interface {
	// Examine reads all that the store keeps of an extent from the disk itself, past every cache, and verifies the
	// blocks, their sums, and that both belong there. Rot and an extent that is unknown are no errors.
	Examine(ctx context.Context, id ID) (Condition, error)

	// Mend makes p's blocks readable again and leaves the extent's other live blocks as they are, rotten ones
	// included. Blocks that were deleted stay so. What replaces a block is stored before the block goes; the
	// bytes survive a crash of the machine once Sync has returned. fault.NoSpace, fault.ReadOnly; fault.Conflict when
	// the extent kept changing meanwhile.
	Mend(ctx context.Context, p Patch) error
}
