package control

import (
	"context"
	"maps"
	"net/http"
	"slices"
	"time"

	"dfs/cluster/fault"
	"dfs/sched/plane"
)

// BankAsk is what the verbs of the bank are asked; each uses what it needs.
type BankAsk struct {
	Process string           `json:"process,omitempty"`
	Amounts map[string]int64 `json:"amounts,omitempty"`
	All     bool             `json:"all,omitempty"` // of release: everything, and the registration
	Try     bool             `json:"try,omitempty"`
	Timeout time.Duration    `json:"timeout_ns,omitempty"`
	Hold    *Hold            `json:"hold,omitempty"` // of register: whose end gives everything back
}

// BankDone is what became of a request or release.
type BankDone struct {
	Schema  int      `json:"schema"`
	Process string   `json:"process"`
	Outcome string   `json:"outcome"`           // granted, waits, denied, done
	Granted []string `json:"granted,omitempty"` // of release: who got what they had waited for
}

// BankState is the bank.
type BankState struct {
	Schema       int        `json:"schema"`
	Resources    []Resource `json:"resources"`
	Processes    []Banker   `json:"processes"`
	Waiting      []BankWait `json:"waiting"`
	Safe         bool       `json:"safe"`
	SafeSequence []string   `json:"safe_sequence"`
}

// Resource is what there is of one.
type Resource struct {
	Name      string `json:"name"`
	Total     int64  `json:"total"`
	Available int64  `json:"available"`
}

// Banker is a process with a claim.
type Banker struct {
	Process   string           `json:"process"`
	Claim     map[string]int64 `json:"claim"`
	Allocated map[string]int64 `json:"allocated"`
}

// BankWait is a request that waits.
type BankWait struct {
	Process string           `json:"process"`
	Want    map[string]int64 `json:"want"`
}

func (s *Service) registerBank(mux *http.ServeMux) {
	handle(mux, "bank/resource", s.bankResource)
	handle(mux, "bank/register", s.bankRegister)
	handle(mux, "bank/request", s.bankRequest)
	handle(mux, "bank/release", s.bankRelease)
	handle(mux, "bank/state", s.bankState)
}

func (a BankAsk) list() (as []plane.Amount) {
	for _, name := range slices.Sorted(maps.Keys(a.Amounts)) {
		as = append(as, plane.Amount{Resource: name, N: a.Amounts[name]})
	}
	return as
}

func (s *Service) bankResource(ctx context.Context, a BankAsk) (BankState, error) {
	for _, x := range a.list() {
		if _, err := s.propose(ctx, &plane.SetResource{Name: x.Resource, Total: x.N}); err != nil {
			return BankState{}, err
		}
	}
	return s.bankState(ctx, a)
}

func (s *Service) bankRegister(ctx context.Context, a BankAsk) (BankDone, error) {
	op := &plane.Register{Name: a.Process, Claim: a.list()}
	if a.Hold != nil {
		open, cancel := patient(ctx, 0)
		defer cancel()
		var err error
		if op.Session, _, err = s.keeper.session(open, *a.Hold); err != nil {
			return BankDone{}, err
		}
	}
	_, err := s.propose(ctx, op)
	return BankDone{Schema: Schema, Process: a.Process, Outcome: "done"}, err
}

// bankRequest asks for more, and waits for what is not there.
func (s *Service) bankRequest(ctx context.Context, a BankAsk) (BankDone, error) {
	doc := BankDone{Schema: Schema, Process: a.Process, Outcome: "granted"}
	res, err := s.propose(ctx, &plane.RequestUnits{Name: a.Process, Want: a.list(), Try: a.Try})
	if err != nil {
		return doc, err
	}
	switch res.Outcome {
	case plane.Denied:
		err := fault.New("bank request", fault.Refused, "granting it to %s would be unsafe: there may be no order in which all can finish", a.Process)
		return doc, fault.Advise(err, "ask again when others have released something; dfsctl bank safe")
	case plane.Waits:
		bound, cancel := within(ctx, a.Timeout)
		defer cancel()
		err = s.bankWait(bound, a.Process)
	}
	if err == nil || !unsure(err) && fault.KindOf(err) != fault.Canceled {
		return doc, err
	}
	return doc, s.bankGiveUp(ctx, a.Process, err)
}

// bankWait returns when the request of process no longer waits: then it is granted.
func (s *Service) bankWait(ctx context.Context, process string) error {
	return s.watch.until(ctx, plane.TopicBank, func(ctx context.Context) (bool, error) {
		r, _, err := s.log.Ask(ctx, plane.Ask{What: plane.AskBank}, false)
		if err != nil {
			return false, err
		}
		if !slices.ContainsFunc(r.Bank.Processes, func(p plane.Banker) bool { return p.Name == process }) {
			return false, fault.New("bank request", fault.Stale, "%s is not registered any more", process)
		}
		return !slices.ContainsFunc(r.Bank.Waiting, func(w plane.BankWait) bool { return w.Name == process }), nil
	})
}

// bankGiveUp takes a request back; if there is none any more it was granted, which is what was asked for.
func (s *Service) bankGiveUp(ctx context.Context, process string, why error) error {
	bound, cancel := context.WithTimeout(context.WithoutCancel(ctx), endWithin)
	defer cancel()
	res, err := s.insist(bound, &plane.CancelRequest{Name: process})
	if err == nil && res.Outcome == plane.Empty && ctx.Err() == nil {
		return nil
	}
	if fault.KindOf(why) == fault.Timeout {
		return fault.Advise(fault.New("bank request", fault.Timeout, "%s still waited", process), "dfsctl bank state")
	}
	return why
}

func (s *Service) bankRelease(ctx context.Context, a BankAsk) (BankDone, error) {
	res, err := s.propose(ctx, &plane.ReleaseUnits{Name: a.Process, Give: a.list(), All: a.All})
	return BankDone{Schema: Schema, Process: a.Process, Outcome: "done", Granted: res.Names}, err
}

func (s *Service) bankState(ctx context.Context, _ BankAsk) (BankState, error) {
	r, err := s.question(ctx, plane.Ask{What: plane.AskBank})
	doc := BankState{Schema: Schema, Resources: []Resource{}, Processes: []Banker{}, Waiting: []BankWait{}, Safe: true, SafeSequence: []string{}}
	if err != nil || len(r.Bank.Types) == 0 {
		return doc, err
	}
	model, err := r.Bank.Model()
	if err != nil {
		return doc, err
	}
	available := model.Available()
	named := func(v []int64) map[string]int64 {
		m := map[string]int64{}
		for i, n := range v {
			m[r.Bank.Types[i]] = n
		}
		return m
	}
	for i, name := range r.Bank.Types {
		doc.Resources = append(doc.Resources, Resource{name, r.Bank.Total[i], available[i]})
	}
	for _, p := range r.Bank.Processes {
		doc.Processes = append(doc.Processes, Banker{p.Name, named(p.Claim), named(p.Allocated)})
	}
	for _, w := range r.Bank.Waiting {
		doc.Waiting = append(doc.Waiting, BankWait{w.Name, named(w.Want)})
	}
	if order, safe := model.Safe(); safe {
		doc.SafeSequence = order
	} else {
		doc.Safe = false
	}
	return doc, nil
}
