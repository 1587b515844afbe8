package discipline

import (
	"math"
	"math/bits"
	"slices"
)

// The nice values and the weights they stand for in Linux: one step is about a quarter.
const (
	minNice = -20
	maxNice = 19
)

var weights = [maxNice - minNice + 1]int64{
	88761, 71755, 56483, 46273, 36291,
	29154, 23254, 18705, 14949, 11916,
	9548, 7620, 6100, 4904, 3906,
	3121, 2501, 1991, 1586, 1277,
	1024, 820, 655, 526, 423,
	335, 272, 215, 172, 137,
	110, 87, 70, 56, 45,
	36, 29, 23, 18, 15,
}

// Weight returns the weight of a nice value, which is cut to [-20, 19]. Nice 0 weighs 1024.
func Weight(nice int) int64 { return weights[min(max(nice, minNice), maxNice)-minNice] }

// Slice returns the share of latency that weight has among total, in the same unit, whole ticks or not.
func Slice(latency float64, weight, total int64) float64 {
	return latency * float64(weight) / float64(total)
}

// vUnit is the resolution of virtual time: parts of a tick. Virtual times stay below 2^62 while no more than 10^12
// ticks have been charged to one queue.
const vUnit = 1 << 15

// virtual converts ticks of real time to the virtual time of an item: heavy items age slowly.
func virtual(e *entity, ticks int64) int64 {
	w := Weight(e.Priority)
	return ticks/w*1024*vUnit + ticks%w*1024*vUnit/w
}

// fair is CFS-like: the smallest virtual run time runs, for its share of the latency. Who joins starts at the least
// virtual run time there is. Wakers do not preempt: decisions fall at the ends of slices.
type fair struct {
	plain
	latency, granularity, fixed int64
	floor                       *int64 // the least virtual run time, never falling
}

func newFair(latency, granularity, fixed int64) fair {
	if latency == 0 {
		latency = 48
	}
	if granularity == 0 {
		granularity = min(6, latency)
	}
	return fair{latency: latency, granularity: granularity, fixed: fixed, floor: new(int64)}
}

func (r fair) pick(_ int64, waiting []*entity) int {
	i := least(waiting, func(a, b *entity) bool {
		if a.vruntime != b.vruntime {
			return a.vruntime < b.vruntime
		}
		return a.before(b)
	})
	*r.floor = max(*r.floor, waiting[i].vruntime)
	return i
}

func (r fair) slice(_ int64, e *entity, waiting []*entity) int64 {
	if r.fixed > 0 {
		return r.fixed
	}
	total := Weight(e.Priority)
	for _, o := range waiting {
		total += Weight(o.Priority)
	}
	share := int64(math.Round(Slice(float64(r.latency), Weight(e.Priority), total)))
	return max(share, r.granularity, 1)
}

func (r fair) join(e *entity, _ func(func(*entity) bool), _ bool) {
	e.vruntime = max(e.vruntime, *r.floor)
}

func (r fair) charge(e *entity, ticks int64) { e.vruntime += virtual(e, ticks) }

// eligible is EEVDF-like: among the items that have not had more than their share (virtual run time at most the
// weighted mean), the one whose virtual deadline, virtual run time + request/weight, comes first. Who joins starts at
// the mean, with no lag.
type eligible struct {
	plain
	request int64
}

// mean is the weighted mean of virtual run times, rounded down; false where there are no items. The sums have 128
// bits, so the order of the items does not matter.
func mean(items func(func(*entity) bool)) (int64, bool) {
	var low int64 = math.MaxInt64
	for e := range items {
		low = min(low, e.vruntime)
	}
	var high, sum, total uint64
	for e := range items {
		w := uint64(Weight(e.Priority))
		h, l := bits.Mul64(uint64(e.vruntime-low), w)
		var carry uint64
		sum, carry = bits.Add64(sum, l, 0)
		high += h + carry
		total += w
	}
	if total == 0 {
		return 0, false
	}
	quotient, _ := bits.Div64(high, sum, total)
	return low + int64(quotient), true
}

func (r eligible) pick(_ int64, waiting []*entity) int {
	v, _ := mean(slices.Values(waiting))
	best := -1
	for i, e := range waiting {
		if e.vruntime > v {
			continue
		}
		if best < 0 || r.earlier(e, waiting[best]) {
			best = i
		}
	}
	return max(best, 0)
}

func (r eligible) earlier(a, b *entity) bool {
	da, db := a.vruntime+virtual(a, r.request), b.vruntime+virtual(b, r.request)
	if da != db {
		return da < db
	}
	return a.before(b)
}

func (r eligible) slice(int64, *entity, []*entity) int64 { return r.request }

func (r eligible) join(e *entity, others func(func(*entity) bool), _ bool) {
	if v, ok := mean(others); ok {
		e.vruntime = v
	}
}

func (r eligible) charge(e *entity, ticks int64) { e.vruntime += virtual(e, ticks) }
