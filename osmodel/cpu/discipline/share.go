package discipline

import "math/rand/v2"

// strideOne is the big number: a stride is strideOne / tickets, so nobody holds more tickets than that.
const strideOne = 10_000

func tickets(e *entity) int64 { return max(1, int64(e.Priority)) }

// draw is the lottery: each slice goes to the holder of a ticket drawn by chance.
type draw struct {
	plain
	quantum int64
	random  *rand.Rand
}

func newDraw(quantum int64, seed uint64) draw {
	return draw{quantum: quantum, random: rand.New(rand.NewPCG(seed, 0x10773e))}
}

func (r draw) pick(_ int64, waiting []*entity) int {
	var total int64
	for _, e := range waiting {
		total += tickets(e)
	}
	winner := r.random.Int64N(total)
	for i, e := range waiting {
		if winner -= tickets(e); winner < 0 {
			return i
		}
	}
	return 0
}

func (r draw) slice(int64, *entity, []*entity) int64 { return r.quantum }

// strides is the lottery without chance: who has the smallest pass runs, and its pass grows by its stride a quantum,
// in proportion for a part of one. Who joins starts at the pass of the last one picked, so that nobody catches up.
type strides struct {
	plain
	quantum int64
	global  int64
}

func stride(e *entity) int64 { return strideOne / tickets(e) }

func (r *strides) pick(_ int64, waiting []*entity) int {
	i := least(waiting, func(a, b *entity) bool {
		if a.pass != b.pass {
			return a.pass < b.pass
		}
		return a.before(b)
	})
	r.global = max(r.global, waiting[i].pass)
	return i
}

func (r *strides) slice(int64, *entity, []*entity) int64 { return r.quantum }

func (r *strides) join(e *entity, _ func(func(*entity) bool), _ bool) { e.pass = max(e.pass, r.global) }

func (r *strides) charge(e *entity, ticks int64) { e.pass += stride(e) * ticks }
