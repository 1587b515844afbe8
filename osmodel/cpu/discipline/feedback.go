package discipline

// feedback is the multi-level feedback queue in the rules of OSTEP: the highest level runs, within a level in turns; new
// items start at the top; who has used up its allotment, however often it gave up the CPU in between, goes one down;
// every Boost ticks all go back to the top, and their allotments start anew. A boost takes the CPU from nobody.
type feedback struct {
	plain
	quantum, allotment, boost int64
	levels                    int
	boosts                    *int64 // how many boosts have been done
}

func newFeedback(quantum int64, levels int, allotment, boost int64) feedback {
	if levels == 0 {
		levels = 3
	}
	if allotment == 0 {
		allotment = quantum
	}
	return feedback{quantum: quantum, allotment: allotment, boost: boost, levels: levels, boosts: new(int64)}
}

func (r feedback) pick(_ int64, waiting []*entity) int {
	return least(waiting, func(a, b *entity) bool { return a.level < b.level })
}

func (r feedback) slice(_ int64, e *entity, _ []*entity) int64 {
	return min(r.quantum, r.allotment-e.used)
}

func (r feedback) preempts(now int64, waiting []*entity, running *entity) bool {
	return waiting[r.pick(now, waiting)].level < running.level
}

func (r feedback) charge(e *entity, ticks int64) {
	e.used += ticks
	if e.used >= r.allotment {
		e.level, e.used = min(e.level+1, r.levels-1), 0
	}
}

func (r feedback) next(now int64, _ []*entity) int64 {
	if r.boost == 0 {
		return 0
	}
	return (now/r.boost + 1) * r.boost
}

func (r feedback) advance(now int64, everyone func(func(*entity) bool)) {
	if r.boost == 0 || now/r.boost <= *r.boosts {
		return
	}
	*r.boosts = now / r.boost
	for e := range everyone {
		e.level, e.used = 0, 0
	}
}
