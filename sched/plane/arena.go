package plane

import (
	"errors"
	"slices"

	"dfs/cluster/fault"
	"dfs/osmodel/alloc"
)

const keyArena = 'a' // 03 'a' name

// Arena is a simulated memory that several clients allocate from. Addresses only: there are no bytes behind them.
type Arena struct {
	Name   string
	Fit    string
	Size   int64
	Rover  int64
	Failed uint64 // requests that were refused for want of a hole
	Blocks []ArenaBlock
}

// ArenaBlock is a block in use.
type ArenaBlock struct {
	Name                   string
	Start, Size, Requested int64
}

func (a *Arena) fields(f *fields) {
	f.text(&a.Name, NameMax)
	f.text(&a.Fit, NameMax)
	f.int(&a.Size)
	f.int(&a.Rover)
	f.uint(&a.Failed)
	list(f, &a.Blocks, BlocksMax, func(b *ArenaBlock) {
		f.text(&b.Name, NameMax)
		f.int(&b.Start)
		f.int(&b.Size)
		f.int(&b.Requested)
	})
}

// Model returns the model's allocator.
func (a *Arena) Model() (alloc.Allocator, error) {
	var used []alloc.Block
	for _, b := range a.Blocks {
		used = append(used, alloc.Block{Start: b.Start, Size: b.Size, Used: true, Requested: b.Requested})
	}
	return alloc.Restore(alloc.Name(a.Fit), a.Size, used, a.Rover)
}

// CreateArena makes a memory of Size units.
type CreateArena struct {
	Name, Fit string
	Size      int64
}

func (o *CreateArena) fields(f *fields) {
	f.text(&o.Name, NameMax+1)
	f.text(&o.Fit, NameMax)
	f.int(&o.Size)
}

func (o *CreateArena) check() error {
	if !slices.Contains(alloc.Names, alloc.Name(o.Fit)) {
		return fault.New("memory", fault.Invalid, "%q is none of %v", o.Fit, alloc.Names)
	}
	if o.Size < 1 || o.Size > alloc.MaxSize {
		return fault.New("memory", fault.Invalid, "1 to %d units", int64(alloc.MaxSize))
	}
	return checkName("memory", o.Name)
}

func (o *CreateArena) apply(m *machine) (Result, error) {
	var a Arena
	if m.load(key(keyArena, o.Name), &a) {
		return Result{}, fault.New("memory", fault.Exist, "%s", o.Name)
	}
	c := m.counters()
	if c.Arenas >= ArenasMax {
		return Result{}, over("memory", ArenasMax, "memories")
	}
	c.Arenas++
	m.save(key(keyArena, o.Name), &Arena{Name: o.Name, Fit: o.Fit, Size: o.Size})
	return Result{}, nil
}

// DeleteArena removes a memory with all that is allocated in it.
type DeleteArena struct{ Name string }

func (o *DeleteArena) fields(f *fields) { f.text(&o.Name, NameMax) }
func (o *DeleteArena) check() error     { return checkName("memory", o.Name) }

func (o *DeleteArena) apply(m *machine) (Result, error) {
	if _, err := m.arena(o.Name); err != nil {
		return Result{}, err
	}
	m.counters().Arenas--
	m.delete(key(keyArena, o.Name))
	return Result{}, nil
}

// Allocate takes Size units under a name of its own. Result: Count, the address; Outcome Empty if no hole is large enough.
type Allocate struct {
	Arena, Name string
	Size        int64
}

func (o *Allocate) fields(f *fields) {
	f.text(&o.Arena, NameMax)
	f.text(&o.Name, NameMax+1)
	f.int(&o.Size)
}

func (o *Allocate) check() error {
	if err := checkName("memory", o.Arena); err != nil {
		return err
	}
	return checkName("memory", o.Name)
}

func (o *Allocate) apply(m *machine) (Result, error) {
	a, err := m.arena(o.Arena)
	if err != nil {
		return Result{}, err
	}
	if slices.ContainsFunc(a.Blocks, func(b ArenaBlock) bool { return b.Name == o.Name }) {
		return Result{}, fault.New("memory", fault.Exist, "%s in %s", o.Name, o.Arena)
	}
	if len(a.Blocks) >= BlocksMax {
		return Result{}, over("memory", BlocksMax, "blocks in one memory")
	}
	model, err := a.Model()
	if err != nil {
		return Result{}, err
	}
	g, err := model.Allocate(o.Size)
	switch {
	case errors.Is(err, alloc.ErrNoSpace):
		a.Failed++
		m.save(key(keyArena, a.Name), &a)
		return Result{Outcome: Empty}, nil
	case errors.Is(err, alloc.ErrTooBig):
		return Result{}, fault.New("memory", fault.TooBig, "%d units: %v", o.Size, err)
	case err != nil:
		return Result{}, fault.New("memory", fault.Invalid, "%d units: %v", o.Size, err)
	}
	a.Blocks = append(a.Blocks, ArenaBlock{o.Name, g.Address, g.Block, o.Size})
	a.Rover = alloc.Rover(model)
	m.save(key(keyArena, a.Name), &a)
	return Result{Count: g.Address}, nil
}

// Free gives back what was allocated under a name. fault.NotExist: never, or freed already.
type Free struct{ Arena, Name string }

func (o *Free) fields(f *fields) {
	f.text(&o.Arena, NameMax)
	f.text(&o.Name, NameMax+1)
}

func (o *Free) check() error { return (&Allocate{Arena: o.Arena, Name: o.Name}).check() }

func (o *Free) apply(m *machine) (Result, error) {
	a, err := m.arena(o.Arena)
	if err != nil {
		return Result{}, err
	}
	i := slices.IndexFunc(a.Blocks, func(b ArenaBlock) bool { return b.Name == o.Name })
	if i < 0 {
		return Result{}, fault.New("memory", fault.NotExist, "%s in %s: never allocated, or freed already", o.Name, o.Arena)
	}
	size := a.Blocks[i].Size
	a.Blocks = slices.Delete(a.Blocks, i, i+1)
	m.save(key(keyArena, a.Name), &a)
	return Result{Count: size}, nil
}

// Compact slides the blocks to the low end. fault.Unsupported where the policy cannot. Result: Count, of blocks that moved.
type Compact struct{ Arena string }

func (o *Compact) fields(f *fields) { f.text(&o.Arena, NameMax) }
func (o *Compact) check() error     { return checkName("memory", o.Arena) }

func (o *Compact) apply(m *machine) (Result, error) {
	a, err := m.arena(o.Arena)
	if err != nil {
		return Result{}, err
	}
	model, err := a.Model()
	if err != nil {
		return Result{}, err
	}
	fit, ok := model.(*alloc.Fit)
	if !ok {
		return Result{}, fault.New("memory", fault.Unsupported, "%s blocks stay where they are", a.Fit)
	}
	moves := fit.Compact()
	for i, b := range a.Blocks {
		for _, mv := range moves {
			if mv.From == b.Start {
				a.Blocks[i].Start = mv.To
			}
		}
	}
	a.Rover = alloc.Rover(model)
	m.save(key(keyArena, a.Name), &a)
	return Result{Count: int64(len(moves))}, nil
}

func (m *machine) arena(name string) (a Arena, err error) {
	if !m.load(key(keyArena, name), &a) {
		return a, fault.New("memory", fault.NotExist, "%s", name)
	}
	return a, nil
}
