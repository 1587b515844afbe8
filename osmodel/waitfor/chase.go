package waitfor

import "slices"

// Probe is one message of edge chasing: Initiator asks whether it waits for itself, and From, which waits for To, hands
// the question on.
type Probe struct {
	Initiator, From, To string
	epoch               uint64 // of the wait From -> To: how phantoms are told apart afterwards
}

// Sites is a model of processes on several sites that detect deadlocks by edge chasing (Chandy, Misra, Haas 1983, AND
// model). Messages arrive in the order they were sent. No site sees the whole graph: the initiator learns from its own
// probe coming back. Between the sending and the coming back waits may have ended, so a declared deadlock is confirmed
// before anybody is killed for it.
type Sites struct {
	waits     map[string][]wait
	epochs    uint64
	dependent map[string]map[string]Probe // by initiator and process: the probe that told it
	queue     []Probe                     // sent, not delivered
	declared  []string
}

type wait struct {
	on    string
	epoch uint64
}

// NewSites makes a model in which nobody waits.
func NewSites() *Sites {
	return &Sites{waits: map[string][]wait{}, dependent: map[string]map[string]Probe{}}
}

// Wait lets process wait for others, from now on and in addition to what it waits for already.
func (s *Sites) Wait(process string, on ...string) {
	for _, o := range on {
		s.epochs++
		s.waits[process] = append(s.waits[process], wait{o, s.epochs})
	}
}

// Stop ends every wait of process: it was granted what it wanted, or gave up.
func (s *Sites) Stop(process string) { delete(s.waits, process) }

// Chase lets initiator ask anew, and returns the probes it sends: none if it does not wait.
func (s *Sites) Chase(initiator string) []Probe {
	s.dependent[initiator] = map[string]Probe{}
	return s.send(initiator, initiator)
}

func (s *Sites) send(initiator, from string) []Probe {
	var probes []Probe
	for _, w := range s.waits[from] {
		probes = append(probes, Probe{initiator, from, w.on, w.epoch})
	}
	s.queue = append(s.queue, probes...)
	return probes
}

// Deliver hands the oldest probe to its receiver. A receiver that waits passes it on along its own waits, once for each
// initiator; one that does not wait drops it. ok is false when no probe is under way.
func (s *Sites) Deliver() (p Probe, ok bool) {
	if len(s.queue) == 0 {
		return Probe{}, false
	}
	p, s.queue = s.queue[0], s.queue[1:]
	told := s.dependent[p.Initiator]
	if _, before := told[p.To]; before || len(s.waits[p.To]) == 0 {
		return p, true
	}
	told[p.To] = p
	if p.To == p.Initiator {
		s.declared = append(s.declared, p.Initiator)
		return p, true
	}
	s.send(p.Initiator, p.To)
	return p, true
}

// Run delivers all probes and returns them in order.
func (s *Sites) Run() (delivered []Probe) {
	for p, ok := s.Deliver(); ok; p, ok = s.Deliver() {
		delivered = append(delivered, p)
	}
	return delivered
}

// Declared returns the initiators whose probes came back, in order.
func (s *Sites) Declared() []string { return slices.Clone(s.declared) }

// Confirm asks the owner of every wait on the way of the probe that came back whether it is still the same wait, and
// returns the cycle if all are. If not, the deadlock was a phantom.
func (s *Sites) Confirm(initiator string) (cycle []string, real bool) {
	told := s.dependent[initiator]
	at := initiator
	for {
		p, ok := told[at]
		if !ok || !slices.Contains(s.waits[p.From], wait{p.To, p.epoch}) {
			return nil, false
		}
		cycle = append(cycle, p.From)
		if at = p.From; at == initiator {
			slices.Reverse(cycle)
			return cycle, true
		}
	}
}
