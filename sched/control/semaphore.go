package control

import (
	"context"
	"math/rand/v2"
	"net/http"
	"slices"
	"time"

	"dfs/cluster/fault"
	"dfs/sched/plane"
)

// SemaphoreAsk is what the verbs of semaphores are asked; each uses what it needs.
type SemaphoreAsk struct {
	Name    string        `json:"name"`
	Permits uint64        `json:"permits,omitempty"` // of create, wait (default 1) and signal without a grant (default 1)
	Binary  bool          `json:"binary,omitempty"`
	Force   bool          `json:"force,omitempty"`
	Try     bool          `json:"try,omitempty"`
	Avoid   bool          `json:"refuse_deadlock,omitempty"`
	Timeout time.Duration `json:"timeout_ns,omitempty"`
	Hold    Hold          `json:"hold"`
	Token   uint64        `json:"token,omitempty"` // of signal
	Add     bool          `json:"add,omitempty"`   // of signal: a permit that nobody held
}

// Grant is a granted wait.
type Grant struct {
	Schema  int    `json:"schema"`
	Name    string `json:"name"`
	Token   uint64 `json:"token"`   // fences: grows with every grant in the cluster
	Session uint64 `json:"session"` // whose end gives it back
}

// SemaphoreInfo is one semaphore.
type SemaphoreInfo struct {
	Schema  int        `json:"schema,omitempty"`
	Name    string     `json:"name"`
	Permits uint64     `json:"permits"`
	Free    uint64     `json:"value"`
	Binary  bool       `json:"binary"`
	Holders []Claimant `json:"holders"`
	Waiters []Claimant `json:"waiters"`
}

// Claimant holds permits or waits for them.
type Claimant struct {
	Process string `json:"process"`
	Session uint64 `json:"session"`
	Permits uint64 `json:"permits"`
	Token   uint64 `json:"token,omitempty"`
}

// Semaphores is a list of them.
type Semaphores struct {
	Schema     int             `json:"schema"`
	Semaphores []SemaphoreInfo `json:"semaphores"`
}

func (s *Service) registerSemaphores(mux *http.ServeMux) {
	simple(s, mux, "sem/create", func(a SemaphoreAsk) (plane.Op, string) {
		return &plane.CreateSemaphore{Name: a.Name, Permits: a.Permits, Binary: a.Binary}, a.Name
	})
	simple(s, mux, "sem/delete", func(a SemaphoreAsk) (plane.Op, string) {
		return &plane.DeleteSemaphore{Name: a.Name, Force: a.Force}, a.Name
	})
	handle(mux, "sem/wait", s.semWait)
	handle(mux, "sem/signal", s.semSignal)
	handle(mux, "sem/info", s.semInfo)
	handle(mux, "sem/list", s.semList)
}

// semWait waits for permits. What it was granted when its asker had given up is given back.
func (s *Service) semWait(ctx context.Context, a SemaphoreAsk) (Grant, error) {
	g := Grant{Schema: Schema, Name: a.Name}
	open, cancel := patient(ctx, 0)
	id, kept, err := s.keeper.session(open, a.Hold)
	cancel()
	if err != nil {
		return g, err
	}
	g.Session = id
	op := &plane.Wait{Name: a.Name, Session: id, Ask: rand.Uint64(), Permits: max(a.Permits, 1), Try: a.Try, Avoid: a.Avoid}
	bound, cancel := within(ctx, a.Timeout)
	defer cancel()
	var repeated bool
	g.Token, repeated, err = s.grant(bound, op)
	if ctx.Err() != nil || err != nil && (repeated || unsure(err) || fault.KindOf(err) == fault.Canceled) {
		g.Token, err = s.giveUp(ctx, op, err)
	}
	if err != nil && !kept {
		s.end(&plane.Close{Session: id})
	}
	return g, err
}

// grant returns the token once the wait is granted; repeated says that one of its tries may still happen.
func (s *Service) grant(ctx context.Context, op *plane.Wait) (token uint64, repeated bool, err error) {
	res, repeated, err := s.repeat(ctx, op)
	if err != nil || res.Outcome != plane.Waits {
		return res.ID, repeated, err
	}
	err = s.watch.until(ctx, plane.TopicSemaphore(op.Name), func(ctx context.Context) (bool, error) {
		r, _, err := s.log.Ask(ctx, plane.Ask{What: plane.AskSemaphore, Name: op.Name}, false)
		if err != nil {
			return false, err
		}
		its := func(c plane.Claimant) bool { return c.Session == op.Session && c.Ask == op.Ask }
		if i := slices.IndexFunc(r.Semaphores[0].Holders, its); i >= 0 {
			token = r.Semaphores[0].Holders[i].Token
			return true, nil
		}
		if !slices.ContainsFunc(r.Semaphores[0].Waiters, its) {
			return false, fault.New("sem wait", fault.Stale, "the session that waited has ended")
		}
		return false, nil
	})
	return token, repeated, err
}

// giveUp takes a wait back whose time is over. It may have been granted meanwhile: that counts if somebody is there to take it.
func (s *Service) giveUp(ctx context.Context, op *plane.Wait, why error) (uint64, error) {
	bound, cancel := context.WithTimeout(context.WithoutCancel(ctx), endWithin)
	defer cancel()
	res, err := s.insist(bound, &plane.CancelWait{Name: op.Name, Session: op.Session, Ask: op.Ask})
	switch {
	case err != nil || res.Outcome == plane.Waits:
		if fault.KindOf(why) == fault.Timeout {
			why = fault.Advise(fault.New("sem wait", fault.Timeout, "%s", op.Name), "dfsctl sem info %s", op.Name)
		}
		return 0, why
	case ctx.Err() != nil:
		s.end(&plane.Signal{Name: op.Name, Token: res.ID})
		return 0, waited(ctx)
	}
	return res.ID, nil
}

// semSignal gives a grant back: the one with the token, or the newest that the caller's process has.
func (s *Service) semSignal(ctx context.Context, a SemaphoreAsk) (SemaphoreInfo, error) {
	op := &plane.Signal{Name: a.Name, Token: a.Token}
	if a.Add {
		op.Permits = max(a.Permits, 1)
	} else if a.Token == 0 {
		info, err := s.semInfo(ctx, a)
		if err != nil {
			return info, err
		}
		me := a.Hold.Owner
		if me == "" {
			me = processName(s.log.Self(), a.Hold.PID)
		}
		for _, h := range info.Holders {
			if h.Process == me {
				op.Token = max(op.Token, h.Token)
			}
		}
		if op.Token == 0 {
			err := fault.New("sem signal", fault.Refused, "%s holds nothing of %s", me, a.Name)
			return info, fault.Advise(err, "dfsctl sem signal %s --token TOKEN, or --add to add a permit", a.Name)
		}
	}
	if _, err := s.propose(ctx, op); err != nil {
		return SemaphoreInfo{}, err
	}
	return s.semInfo(ctx, a)
}

func (s *Service) semInfo(ctx context.Context, a SemaphoreAsk) (SemaphoreInfo, error) {
	r, err := s.question(ctx, plane.Ask{What: plane.AskGraph})
	if err != nil {
		return SemaphoreInfo{}, err
	}
	for _, sem := range r.Semaphores {
		if sem.Name == a.Name {
			info := semaphoreInfo(sem, r)
			info.Schema = Schema
			return info, nil
		}
	}
	return SemaphoreInfo{}, fault.Advise(fault.New("semaphore", fault.NotExist, "%s", a.Name), "dfsctl sem list")
}

func (s *Service) semList(ctx context.Context, _ struct{}) (Semaphores, error) {
	r, err := s.question(ctx, plane.Ask{What: plane.AskGraph})
	doc := Semaphores{Schema: Schema, Semaphores: []SemaphoreInfo{}}
	for _, sem := range r.Semaphores {
		doc.Semaphores = append(doc.Semaphores, semaphoreInfo(sem, r))
	}
	return doc, err
}

func semaphoreInfo(sem plane.Semaphore, r plane.Reply) SemaphoreInfo {
	claimants := func(cs []plane.Claimant) []Claimant {
		out := []Claimant{}
		for _, c := range cs {
			x := Claimant{Session: c.Session, Permits: c.Permits, Token: c.Token}
			for _, s := range r.Sessions {
				if s.ID == c.Session {
					x.Process = s.Process()
				}
			}
			out = append(out, x)
		}
		return out
	}
	return SemaphoreInfo{Name: sem.Name, Permits: sem.Permits, Free: sem.Free(), Binary: sem.Binary,
		Holders: claimants(sem.Holders), Waiters: claimants(sem.Waiters)}
}
