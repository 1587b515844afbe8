package discipline

// plain is first come first served, and what the other rules are silent about.
type plain struct{}

func (plain) pick(int64, []*entity) int                    { return 0 }
func (plain) slice(int64, *entity, []*entity) int64        { return 0 }
func (plain) preempts(int64, []*entity, *entity) bool      { return false }
func (plain) join(*entity, func(func(*entity) bool), bool) {}
func (plain) charge(*entity, int64)                        {}
func (plain) next(int64, []*entity) int64                  { return 0 }
func (plain) advance(int64, func(func(*entity) bool))      {}

// least returns the index of the smallest item; the first of equals.
func least(waiting []*entity, less func(a, b *entity) bool) int {
	best := 0
	for i, e := range waiting {
		if less(e, waiting[best]) {
			best = i
		}
	}
	return best
}

// turns is round robin: first in, first out, a quantum at a time.
type turns struct {
	plain
	quantum int64
}

func (r turns) slice(int64, *entity, []*entity) int64 { return r.quantum }

// shortest is shortest job first, and with preemption shortest remaining time first.
type shortest struct {
	plain
	preemptive bool
}

func (shortest) pick(_ int64, waiting []*entity) int {
	return least(waiting, func(a, b *entity) bool {
		if a.Burst != b.Burst {
			return a.Burst < b.Burst
		}
		return a.before(b)
	})
}

func (r shortest) preempts(now int64, waiting []*entity, running *entity) bool {
	return r.preemptive && waiting[r.pick(now, waiting)].Burst < running.Burst
}

// important is priority scheduling. Aging counts from when an item began to wait; what it gained it keeps until it
// gives up the CPU, or the one it has overtaken would take the CPU back at once.
type important struct {
	plain
	lowerFirst, preemptive bool
	aging, quantum         int64
}

// rank is higher for the more important.
func (r important) rank(now int64, e *entity) int64 {
	rank := int64(e.Priority)
	if r.lowerFirst {
		rank = -rank
	}
	if r.aging > 0 {
		rank += (now - e.since) / r.aging
	}
	return rank
}

func (r important) pick(now int64, waiting []*entity) int {
	return least(waiting, func(a, b *entity) bool {
		ra, rb := r.rank(now, a), r.rank(now, b)
		if ra != rb {
			return ra > rb
		}
		return r.quantum == 0 && a.before(b) // those who take turns stand in the order of entry
	})
}

func (r important) slice(now int64, e *entity, _ []*entity) int64 {
	if r.aging > 0 {
		e.raised = int((now - e.since) / r.aging)
	}
	return r.quantum
}

func (r important) preempts(now int64, waiting []*entity, running *entity) bool {
	if !r.preemptive {
		return false
	}
	mine := int64(running.Priority)
	if r.lowerFirst {
		mine = -mine
	}
	return r.rank(now, waiting[r.pick(now, waiting)]) > mine+int64(running.raised)
}

func (r important) next(now int64, waiting []*entity) int64 {
	if !r.preemptive || r.aging == 0 {
		return 0
	}
	var next int64
	for _, e := range waiting {
		if at := e.since + ((now-e.since)/r.aging+1)*r.aging; next == 0 || at < next {
			next = at
		}
	}
	return next
}
