package waitfor

import "slices"

// Meeting is a request under a rule of prevention.
type Meeting struct {
	Process, Resource string
	Holder            string  // "" if nobody held it: then the process has it now
	Verdict           Verdict // of a request that met a holder
}

// Prevention is what a rule makes of a graph's requests.
type Prevention struct {
	Meetings   []Meeting
	RolledBack []string // in order; with their old stamps they would start anew
	Waiting    []Edge   // who waits for whom in the end
}

// Prevent lets the processes ask for what they want one after the other, in the order of the graph, under WaitDie or
// WoundWait. Processes are the older the earlier they were named. Who is rolled back lets go of everything; what is let
// go of passes to the first that waits for it, and the others that wait for it meet the new holder.
func (g *Graph) Prevent(rule func(requester, holder Stamp) Verdict) Prevention {
	m := &meetings{rule: rule, age: map[string]Stamp{}, holder: map[string]string{}}
	for i, p := range g.processes {
		m.age[p] = Stamp{Time: uint64(i), Node: p}
		for _, r := range g.holds[p] {
			m.holder[r] = p
			m.held = append(m.held, r)
		}
	}
	for _, p := range g.processes {
		for _, r := range g.wants[p] {
			if !slices.Contains(m.RolledBack, p) && m.holder[r] != p {
				m.meet(p, r)
			}
		}
	}
	for _, w := range m.waits {
		m.Waiting = append(m.Waiting, Edge{w.From, m.holder[w.Over], w.Over})
	}
	return m.Prevention
}

// meetings is a Prevention in the making.
type meetings struct {
	Prevention
	rule   func(requester, holder Stamp) Verdict
	age    map[string]Stamp
	holder map[string]string // of each resource that is held
	held   []string          // resources in the order they were first held
	waits  []Edge            // From and Over, in the order they began to wait
}

// meet decides what becomes of process's request for resource.
func (m *meetings) meet(process, resource string) {
	h, held := m.holder[resource]
	if !held {
		m.Meetings = append(m.Meetings, Meeting{Process: process, Resource: resource})
		m.take(process, resource)
		return
	}
	v := m.rule(m.age[process], m.age[h])
	m.Meetings = append(m.Meetings, Meeting{process, resource, h, v})
	switch v {
	case Wait:
		m.waits = append(m.waits, Edge{From: process, Over: resource})
	case Die:
		m.rollback(process)
	case Wound:
		m.waits = slices.Insert(m.waits, 0, Edge{From: process, Over: resource}) // the first in line for what the holder lets go of
		m.rollback(h)
	}
}

func (m *meetings) take(process, resource string) {
	m.holder[resource] = process
	if !slices.Contains(m.held, resource) {
		m.held = append(m.held, resource)
	}
}

// rollback ends process and passes on what it held.
func (m *meetings) rollback(process string) {
	m.RolledBack = append(m.RolledBack, process)
	m.waits = slices.DeleteFunc(m.waits, func(w Edge) bool { return w.From == process })
	for _, r := range slices.Clone(m.held) {
		if m.holder[r] == process {
			delete(m.holder, r)
			m.pass(r)
		}
	}
}

// pass gives a free resource to the first that waits for it; the others meet the new holder.
func (m *meetings) pass(resource string) {
	var line []Edge
	m.waits = slices.DeleteFunc(m.waits, func(w Edge) bool {
		if w.Over == resource {
			line = append(line, w)
		}
		return w.Over == resource
	})
	for _, w := range line {
		if !slices.Contains(m.RolledBack, w.From) {
			m.meet(w.From, resource)
		}
	}
}
