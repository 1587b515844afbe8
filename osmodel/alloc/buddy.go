package alloc

import (
	"math/bits"
	"slices"
)

// buddySystem hands out blocks of 2^k units, k >= 0. The buddy of a block lies at its address XOR its size; two free buddies
// become one block. A memory that is no power of two is several blocks from the start.
type buddySystem struct {
	free  [48][]int64 // of each order, addresses ascending
	limit int64       // the largest block there ever is
	ledger
}

var _ Allocator = (*buddySystem)(nil)

func newBuddy(size int64) *buddySystem {
	b := &buddySystem{ledger: newLedger()}
	var at int64
	for k := bits.Len64(uint64(size)) - 1; k >= 0; k-- {
		if size&(1<<k) != 0 {
			b.free[k] = []int64{at}
			b.limit = max(b.limit, 1<<k)
			at += 1 << k
		}
	}
	return b
}

// Allocate takes the smallest free block that is large enough and halves it until it is just so.
func (b *buddySystem) Allocate(size int64) (Grant, error) {
	if err := check(size, b.limit); err != nil {
		return Grant{}, err
	}
	order := bits.Len64(uint64(size - 1))
	k := order
	for k < len(b.free) && len(b.free[k]) == 0 {
		k++
	}
	if k == len(b.free) {
		return Grant{}, ErrNoSpace
	}
	g := Grant{Address: b.free[k][0], Hole: 1 << k, Block: 1 << order}
	b.free[k] = b.free[k][1:]
	for k > order {
		k--
		g.Splits = append(g.Splits, 1<<k)
		b.insert(k, g.Address+1<<k)
	}
	b.grant(g.Address, Block{Start: g.Address, Size: g.Block, Requested: size})
	return g, nil
}

// Free merges buddies upwards for as long as both are free.
func (b *buddySystem) Free(address int64) (int64, error) {
	used, err := b.ledger.free(address)
	if err != nil {
		return 0, err
	}
	k := bits.Len64(uint64(used.Size)) - 1
	for ; k < len(b.free)-1; k++ {
		buddy := address ^ 1<<k
		i, free := slices.BinarySearch(b.free[k], buddy)
		if !free {
			break
		}
		b.free[k] = slices.Delete(b.free[k], i, i+1)
		address = min(address, buddy)
	}
	b.insert(k, address)
	return used.Size, nil
}

func (b *buddySystem) insert(order int, address int64) {
	i, _ := slices.BinarySearch(b.free[order], address)
	b.free[order] = slices.Insert(b.free[order], i, address)
}

// Blocks implements Allocator. Free blocks that touch without being buddies are separate holes.
func (b *buddySystem) Blocks() []Block {
	var holes []Block
	for k, addresses := range b.free {
		for _, a := range addresses {
			holes = append(holes, Block{Start: a, Size: 1 << k})
		}
	}
	return b.blocks(holes)
}
