package plane

import (
	"errors"
	"slices"

	"dfs/cluster/fault"
	"dfs/osmodel/banker"
)

const keyBank = 'b' // 03 'b'

// Bank is the cluster's one bank: what there is of each resource, and the processes with a claim. Banker's algorithm
// (osmodel/banker) decides.
type Bank struct {
	Types     []string
	Total     []int64
	Processes []Banker
	Waiting   []BankWait
}

// Banker is a process with a claim.
type Banker struct {
	Name      string
	Session   uint64 // whose end gives everything back; 0 none
	Claim     []int64
	Allocated []int64
}

// BankWait is a request that waits.
type BankWait struct {
	Name      string
	Want      []int64
	Overtaken uint64
}

func (b *Bank) fields(f *fields) {
	list(f, &b.Types, ResourcesMax, func(s *string) { f.text(s, NameMax) })
	amounts(f, &b.Total)
	list(f, &b.Processes, BankersMax, func(p *Banker) {
		f.text(&p.Name, NameMax)
		f.uint(&p.Session)
		amounts(f, &p.Claim)
		amounts(f, &p.Allocated)
	})
	list(f, &b.Waiting, BankersMax, func(w *BankWait) {
		f.text(&w.Name, NameMax)
		amounts(f, &w.Want)
		f.uint(&w.Overtaken)
	})
}

func amounts(f *fields, v *[]int64) { list(f, v, ResourcesMax, f.int) }

// Model returns the model's bank.
func (b *Bank) Model() (*banker.Bank, error) {
	var ps []banker.Process
	for _, p := range b.Processes {
		ps = append(ps, banker.Process{ID: p.Name, Max: p.Claim, Allocated: p.Allocated})
	}
	var ws []banker.Request
	for _, w := range b.Waiting {
		ws = append(ws, banker.Request{ID: w.Name, Want: w.Want, Overtaken: int(w.Overtaken)})
	}
	return banker.Restore(b.Total, ps, ws)
}

// Amount is a number of one resource.
type Amount struct {
	Resource string
	N        int64
}

func amountList(f *fields, v *[]Amount) {
	list(f, v, ResourcesMax, func(a *Amount) {
		f.text(&a.Resource, NameMax)
		f.int(&a.N)
	})
}

// vector turns amounts into a number for each resource. fault.NotExist.
func (b *Bank) vector(as []Amount) ([]int64, error) {
	v := make([]int64, len(b.Types))
	for _, a := range as {
		i := slices.Index(b.Types, a.Resource)
		if i < 0 {
			return nil, fault.New("bank", fault.NotExist, "resource %s", a.Resource)
		}
		v[i] += a.N
	}
	return v, nil
}

// SetResource says how much of a resource there is. Less than is claimed by one process, or held by all, is fault.Conflict.
type SetResource struct {
	Name  string
	Total int64
}

func (o *SetResource) fields(f *fields) {
	f.text(&o.Name, NameMax+1)
	f.int(&o.Total)
}

func (o *SetResource) check() error {
	if o.Total < 0 || o.Total > banker.MaxUnits {
		return fault.New("bank", fault.Invalid, "0 to %d units", int64(banker.MaxUnits))
	}
	return checkName("bank", o.Name)
}

func (o *SetResource) apply(m *machine) (Result, error) {
	b := m.bank()
	i := slices.Index(b.Types, o.Name)
	if i < 0 {
		if len(b.Types) >= ResourcesMax {
			return Result{}, over("bank", ResourcesMax, "resources")
		}
		i = len(b.Types)
		b.grow(o.Name)
	}
	b.Total[i] = o.Total
	if _, err := b.Model(); err != nil {
		return Result{}, fault.New("bank", fault.Conflict, "%d %s is less than is claimed or held", o.Total, o.Name)
	}
	return m.bankResult(b, nil)
}

// grow adds a resource nobody has claimed.
func (b *Bank) grow(name string) {
	b.Types, b.Total = append(b.Types, name), append(b.Total, 0)
	for i := range b.Processes {
		p := &b.Processes[i]
		p.Claim, p.Allocated = append(p.Claim, 0), append(p.Allocated, 0)
	}
	for i := range b.Waiting {
		b.Waiting[i].Want = append(b.Waiting[i].Want, 0)
	}
}

// Register admits a process with the most it will ever hold. fault.Refused: more than there is.
type Register struct {
	Name    string
	Session uint64 // 0: until it is released with All
	Claim   []Amount
}

func (o *Register) fields(f *fields) {
	f.text(&o.Name, NameMax+1)
	f.uint(&o.Session)
	amountList(f, &o.Claim)
}

func (o *Register) check() error { return checkBank(o.Name, o.Claim) }

func checkBank(name string, as []Amount) error {
	for _, a := range as {
		if a.N < 0 || a.N > banker.MaxUnits {
			return fault.New("bank", fault.Invalid, "0 to %d units", int64(banker.MaxUnits))
		}
	}
	if len(as) > ResourcesMax {
		return over("bank", ResourcesMax, "resources")
	}
	return checkName("bank", name)
}

func (o *Register) apply(m *machine) (Result, error) {
	b := m.bank()
	claim, err := b.vector(o.Claim)
	if err != nil {
		return Result{}, err
	}
	if len(b.Processes) >= BankersMax {
		return Result{}, over("bank", BankersMax, "processes")
	}
	if o.Session != 0 {
		if err := m.own(o.Session, keyBank, o.Name); err != nil {
			return Result{}, err
		}
	}
	b.Processes = append(b.Processes, Banker{Name: o.Name, Session: o.Session, Claim: claim, Allocated: make([]int64, len(claim))})
	if _, err := b.Model(); err != nil {
		return Result{}, bankError(o.Name, err)
	}
	return m.bankResult(b, nil)
}

// RequestUnits asks for more. Result: Done, Waits or Denied. Try does not wait: fault.Refused.
type RequestUnits struct {
	Name string
	Want []Amount
	Try  bool
}

func (o *RequestUnits) fields(f *fields) {
	f.text(&o.Name, NameMax+1)
	amountList(f, &o.Want)
	f.bool(&o.Try)
}

func (o *RequestUnits) check() error { return checkBank(o.Name, o.Want) }

func (o *RequestUnits) apply(m *machine) (Result, error) {
	b := m.bank()
	want, err := b.vector(o.Want)
	if err != nil {
		return Result{}, err
	}
	model, err := b.Model()
	if err != nil {
		return Result{}, err
	}
	outcome, err := model.Request(o.Name, want)
	if err != nil {
		return Result{}, bankError(o.Name, err)
	}
	if outcome == banker.Waits && o.Try {
		return Result{}, fault.New("bank", fault.Refused, "%s would have to wait", o.Name)
	}
	b.take(model)
	res, err := m.bankResult(b, nil)
	switch outcome {
	case banker.Waits:
		res.Outcome = Waits
	case banker.Denied:
		res.Outcome = Denied
	}
	return res, err
}

// ReleaseUnits gives back. All gives back everything and ends the registration. Result: Names, whose requests are granted with it.
type ReleaseUnits struct {
	Name string
	Give []Amount
	All  bool
}

func (o *ReleaseUnits) fields(f *fields) {
	f.text(&o.Name, NameMax+1)
	amountList(f, &o.Give)
	f.bool(&o.All)
}

func (o *ReleaseUnits) check() error { return checkBank(o.Name, o.Give) }

func (o *ReleaseUnits) apply(m *machine) (Result, error) {
	b := m.bank()
	give, err := b.vector(o.Give)
	if err != nil {
		return Result{}, err
	}
	model, err := b.Model()
	if err != nil {
		return Result{}, err
	}
	var granted []banker.Request
	if o.All {
		granted, err = model.Exit(o.Name)
	} else {
		granted, err = model.Release(o.Name, give)
	}
	if err != nil {
		return Result{}, bankError(o.Name, err)
	}
	if o.All {
		m.disown(b.session(o.Name), keyBank, o.Name)
	}
	b.take(model)
	return m.bankResult(b, granted)
}

// CancelRequest takes back a request that waits. Result: Done if there was one, Empty if not: it may have been granted.
type CancelRequest struct{ Name string }

func (o *CancelRequest) fields(f *fields) { f.text(&o.Name, NameMax+1) }
func (o *CancelRequest) check() error     { return checkName("bank", o.Name) }

func (o *CancelRequest) apply(m *machine) (Result, error) {
	b := m.bank()
	model, err := b.Model()
	if err != nil {
		return Result{}, err
	}
	granted, err := model.Cancel(o.Name)
	if err != nil {
		return Result{Outcome: Empty}, nil
	}
	b.take(model)
	return m.bankResult(b, granted)
}

// leaveBank is the end of a process whose session has ended.
func (m *machine) leaveBank(name string) {
	b := m.bank()
	model, err := b.Model()
	if err != nil {
		m.fail(err)
		return
	}
	if _, err := model.Exit(name); err == nil {
		b.take(model)
		m.save(key(keyBank), b)
		m.topic(TopicBank)
	}
}

func (m *machine) bank() *Bank {
	var b Bank
	m.load(key(keyBank), &b)
	return &b
}

func (m *machine) bankResult(b *Bank, granted []banker.Request) (Result, error) {
	m.save(key(keyBank), b)
	m.topic(TopicBank)
	var res Result
	for _, r := range granted {
		res.Names = append(res.Names, r.ID)
	}
	return res, nil
}

func (b *Bank) session(name string) uint64 {
	for _, p := range b.Processes {
		if p.Name == name {
			return p.Session
		}
	}
	return 0
}

// take stores what the model has become.
func (b *Bank) take(model *banker.Bank) {
	var ps []Banker
	for _, p := range model.Processes() {
		ps = append(ps, Banker{Name: p.ID, Session: b.session(p.ID), Claim: p.Max, Allocated: p.Allocated})
	}
	b.Processes, b.Waiting = ps, nil
	for _, r := range model.Waiting() {
		b.Waiting = append(b.Waiting, BankWait{r.ID, r.Want, uint64(r.Overtaken)})
	}
}

// bankError says what the model refuses in the words and kinds of this package.
func bankError(name string, err error) error {
	kind := fault.Invalid
	switch {
	case errors.Is(err, banker.ErrKnown):
		kind = fault.Exist
	case errors.Is(err, banker.ErrUnknown):
		kind = fault.NotExist
	case errors.Is(err, banker.ErrClaim), errors.Is(err, banker.ErrNeed), errors.Is(err, banker.ErrNotHeld):
		kind = fault.Refused
	case errors.Is(err, banker.ErrWaiting):
		kind = fault.Conflict
	case errors.Is(err, banker.ErrShape):
		if name != "" {
			return fault.New("bank", fault.NotExist, "any resource: there is none yet")
		}
	}
	return fault.New("bank", kind, "%s: %v", name, err)
}
