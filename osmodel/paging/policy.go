package paging

import (
	"container/heap"
	"container/list"
	"fmt"
	"math"
)

func newPolicy(n Name, refs []Ref, frames int) (policy, error) {
	switch n {
	case FIFO:
		return &fifo{}, nil
	case LRU:
		return &lru{order: list.New()}, nil
	case Clock:
		return &clock{frames: frames}, nil
	case SecondChance:
		return &secondChance{}, nil
	case OPT:
		return newOPT(refs), nil
	case LFU:
		return &lfu{}, nil
	}
	return nil, fmt.Errorf("paging: %q is none of %v", n, Names)
}

// fifo replaces the page that came first. Frames are filled in order and each victim is filled at once, so the victims
// go round in the order of the first fills.
type fifo struct{ next, frames int }

func (p *fifo) hit(int, int) {}

func (p *fifo) fill(_, frame int, _ int64) { p.frames = max(p.frames, frame+1) }

func (p *fifo) victim(int) int {
	f := p.next
	p.next = (p.next + 1) % p.frames
	return f
}

// lru replaces the page whose last use is longest ago.
type lru struct {
	order *list.List // of frames, least recently used in front
	at    []*list.Element
}

func (p *lru) hit(_, frame int) { p.order.MoveToBack(p.at[frame]) }

func (p *lru) fill(_, frame int, _ int64) {
	if frame == len(p.at) {
		p.at = append(p.at, nil)
	}
	p.at[frame] = p.order.PushBack(frame)
}

func (p *lru) victim(int) int { return p.order.Remove(p.order.Front()).(int) }

// clock gives pages that were used since the hand came by a second chance.
type clock struct {
	used         []bool
	hand, frames int
}

func (p *clock) hit(_, frame int) { p.used[frame] = true }

func (p *clock) fill(_, frame int, _ int64) {
	if frame == len(p.used) {
		p.used = append(p.used, true)
	}
	p.used[frame] = true
	p.hand = (frame + 1) % p.frames
}

func (p *clock) victim(int) int {
	for p.used[p.hand] {
		p.used[p.hand] = false
		p.hand = (p.hand + 1) % p.frames
	}
	return p.hand
}

// secondChance keeps the frames in a queue: the first one goes, unless its bit is set; then it loses the bit and joins
// the end.
type secondChance struct {
	queue []int
	used  []bool
}

func (p *secondChance) hit(_, frame int) { p.used[frame] = true }

func (p *secondChance) fill(_, frame int, _ int64) {
	if frame == len(p.used) {
		p.used = append(p.used, true)
	}
	p.used[frame] = true
	p.queue = append(p.queue, frame)
}

func (p *secondChance) victim(int) int {
	for {
		f := p.queue[0]
		p.queue = p.queue[1:]
		if !p.used[f] {
			return f
		}
		p.used[f] = false
		p.queue = append(p.queue, f)
	}
}

// ranked is a heap of frames; entries that were overtaken by a newer one of the same frame are skipped.
type ranked struct {
	entries []rank
	version []int // of the valid entry of each frame
}

type rank struct {
	frame, version int
	first, second  int // smaller goes first
}

func (h *ranked) Len() int { return len(h.entries) }
func (h *ranked) Less(i, j int) bool {
	a, b := h.entries[i], h.entries[j]
	if a.first != b.first {
		return a.first < b.first
	}
	return a.second < b.second
}
func (h *ranked) Swap(i, j int) { h.entries[i], h.entries[j] = h.entries[j], h.entries[i] }
func (h *ranked) Push(x any)    { h.entries = append(h.entries, x.(rank)) }
func (h *ranked) Pop() any {
	last := h.entries[len(h.entries)-1]
	h.entries = h.entries[:len(h.entries)-1]
	return last
}

// set ranks frame anew.
func (h *ranked) set(frame, first, second int) {
	for frame >= len(h.version) {
		h.version = append(h.version, 0)
	}
	h.version[frame]++
	heap.Push(h, rank{frame, h.version[frame], first, second})
}

// take removes the frame with the smallest rank.
func (h *ranked) take() int {
	for {
		if r := heap.Pop(h).(rank); r.version == h.version[r.frame] {
			return r.frame
		}
	}
}

// opt replaces the page whose next use is furthest away.
type opt struct {
	next  []int // of each reference: when its page is used again
	ranks ranked
}

func newOPT(refs []Ref) *opt {
	p := &opt{next: make([]int, len(refs))}
	seen := map[int64]int{}
	for i := len(refs) - 1; i >= 0; i-- {
		if at, ok := seen[refs[i].Page]; ok {
			p.next[i] = at
		} else {
			p.next[i] = math.MaxInt
		}
		seen[refs[i].Page] = i
	}
	return p
}

func (p *opt) hit(i, frame int)           { p.ranks.set(frame, -p.next[i], frame) }
func (p *opt) fill(i, frame int, _ int64) { p.ranks.set(frame, -p.next[i], frame) }
func (p *opt) victim(int) int             { return p.ranks.take() }

// lfu replaces the page with the fewest uses since it came in.
type lfu struct {
	uses  []int
	ranks ranked
}

func (p *lfu) hit(i, frame int) {
	p.uses[frame]++
	p.ranks.set(frame, p.uses[frame], i)
}

func (p *lfu) fill(i, frame int, _ int64) {
	if frame == len(p.uses) {
		p.uses = append(p.uses, 0)
	}
	p.uses[frame] = 1
	p.ranks.set(frame, 1, i)
}

func (p *lfu) victim(int) int { return p.ranks.take() }
