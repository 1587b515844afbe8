package ipc

import (
	"fmt"
	"math/rand/v2"
	"strings"
)

// Next says what becomes of an actor after a line of its script.
type Next uint8

// What can become of an actor.
const (
	Goes   Next = iota // on to its next line
	Blocks             // it waits; when it is woken it goes on to its next line
	Again              // it waits; when it is woken it plays the same line again: while loops around a wait
)

// Line is one step of a script. It runs in one piece; who is the actor. The wakes are those of the calls it made.
type Line func(who string) (Next, []Wake)

// Actor plays its script once, or over and over if it is Endless: then it may sleep when all others are done.
type Actor struct {
	Name    string
	Script  []Line
	Endless bool
}

// Stage lets actors play, one line at a time, in an order that a seed decides or in turns, until all are done or none
// can go on.
type Stage struct {
	actors []*player
	Log    []string // what Say noted
	Moves  []Move   // every line that was played
	doing  string   // what the line that is played now does
}

// Move is one line as it was played.
type Move struct {
	Who     string
	What    string // "" where the line does not say
	Blocked bool   // it made the actor wait
	Woke    []string
}

type player struct {
	Actor
	at      int
	blocked bool
}

// Outcome is how a play ended.
type Outcome struct {
	Lines   int      // played
	Blocked []string // who waits for ever: a deadlock if there is anybody
}

// NewStage makes a stage with actors.
func NewStage(actors ...Actor) *Stage {
	s := &Stage{}
	for _, a := range actors {
		s.actors = append(s.actors, &player{Actor: a})
	}
	return s
}

// Say notes a remark.
func (s *Stage) Say(format string, args ...any) {
	s.Log = append(s.Log, fmt.Sprintf(format, args...))
	s.doing = s.Log[len(s.Log)-1]
}

// Play runs to the end. With a nil random the actors that can go on take turns, a line each; else random picks. It stops
// after limit lines even if some could go on.
func (s *Stage) Play(random *rand.Rand, limit int) (o Outcome) {
	turn := 0
	for o.Lines < limit {
		ready := s.ready()
		if len(ready) == 0 {
			break
		}
		k := turn % len(s.actors)
		if random != nil {
			k = ready[random.IntN(len(ready))]
		} else {
			for !s.can(k) {
				k = (k + 1) % len(s.actors)
			}
		}
		turn = k + 1
		s.line(s.actors[k])
		o.Lines++
	}
	stuck := false
	for _, p := range s.actors {
		if p.blocked && p.at < len(p.Script) {
			o.Blocked = append(o.Blocked, p.Name)
			stuck = stuck || !p.Endless
		}
	}
	if !stuck {
		o.Blocked = nil
	}
	return o
}

func (s *Stage) can(k int) bool {
	p := s.actors[k]
	return !p.blocked && p.at < len(p.Script)
}

func (s *Stage) ready() (ks []int) {
	for k := range s.actors {
		if s.can(k) {
			ks = append(ks, k)
		}
	}
	return ks
}

func (s *Stage) line(p *player) {
	s.doing = ""
	next, wakes := p.Script[p.at](p.Name)
	s.Moves = append(s.Moves, Move{p.Name, strings.TrimPrefix(s.doing, p.Name+" "), next != Goes, names(wakes)})
	if next != Again {
		p.at++
	}
	if p.Endless {
		p.at %= len(p.Script)
	}
	p.blocked = next != Goes
	for _, w := range wakes {
		for _, o := range s.actors {
			if o.Name == w.Who {
				o.blocked = false
			}
		}
	}
}

// repeat returns n times the lines of a script.
func repeat(n int, lines ...Line) (script []Line) {
	for range n {
		script = append(script, lines...)
	}
	return script
}

// wait is a line that takes one of a semaphore that is called name, post one that gives one.
func (s *Stage) wait(sem *Semaphore, name string) Line {
	return func(who string) (Next, []Wake) {
		s.doing = "wants " + name
		if blocked, _ := sem.Wait(who); blocked {
			return Blocks, nil
		}
		s.doing = "takes " + name
		return Goes, nil
	}
}

func (s *Stage) post(sem *Semaphore, name string) Line {
	return func(string) (Next, []Wake) {
		s.doing = "gives " + name
		wakes, _ := sem.Post()
		return Goes, wakes
	}
}

// act is a line that only does something.
func (s *Stage) act(do func(who string)) Line {
	return func(who string) (Next, []Wake) {
		do(who)
		return Goes, nil
	}
}
