package ipc

import "fmt"

// Philosophers dine: each of n takes the fork on the left, then that on the right, eats, and puts both back, rounds
// times (Dijkstra 1965). When all take their left forks first, each waits for the next one for ever; with ordered, the
// last one takes the right fork first, so that forks are always taken in the order of their numbers.
func Philosophers(n, rounds int, ordered bool) *Stage {
	forks := make([]*Semaphore, n)
	for i := range forks {
		forks[i] = &Semaphore{value: 1, limit: 1}
	}
	s := &Stage{}
	fork := func(i int) string { return fmt.Sprintf("fork %d", i+1) }
	for i := range n {
		first, second := i, (i+1)%n
		if ordered && i == n-1 {
			first, second = second, first
		}
		s.actors = append(s.actors, &player{Actor: Actor{
			Name: fmt.Sprintf("P%d", i+1),
			Script: repeat(rounds, s.wait(forks[first], fork(first)), s.wait(forks[second], fork(second)),
				s.act(func(who string) { s.Say("%s eats", who) }), s.post(forks[second], fork(second)), s.post(forks[first], fork(first))),
		}})
	}
	return s
}

// Buffer has producers and consumers share places for goods: each of the makers makes goods pieces, and as many are
// consumed by one consumer. With wrong, the makers take the lock before they wait for a free place: when all places are
// taken they hold the lock that the consumer needs to free one.
func Buffer(makers, goods, places int, wrong bool) *Stage {
	free, full, lock := &Semaphore{value: places, limit: places}, &Semaphore{limit: MaxSemaphore}, &Semaphore{value: 1, limit: 1}
	s := &Stage{}
	var shelf []string
	made := 0
	put := s.act(func(who string) {
		made++
		shelf = append(shelf, fmt.Sprintf("%d", made))
		s.Say("%s puts %d", who, made)
	})
	first, second := s.wait(free, "a free place"), s.wait(lock, "the lock")
	if wrong {
		first, second = second, first
	}
	for i := range makers {
		s.actors = append(s.actors, &player{Actor: Actor{
			Name:   fmt.Sprintf("maker%d", i+1),
			Script: repeat(goods, first, second, put, s.post(lock, "the lock"), s.post(full, "a full place")),
		}})
	}
	s.actors = append(s.actors, &player{Actor: Actor{
		Name: "consumer",
		Script: repeat(goods*makers, s.wait(full, "a full place"), s.wait(lock, "the lock"), s.act(func(who string) {
			s.Say("%s takes %s", who, shelf[0])
			shelf = shelf[1:]
		}), s.post(lock, "the lock"), s.post(free, "a free place")),
	}})
	return s
}

// ReadersWriters read and write a text rounds times under a read-write lock (Courtois, Heymans, Parnas 1971). With
// upgrades, each writer reads first and then wants to write without letting go: two of them wait for each other.
func ReadersWriters(readers, writers, rounds int, p Preference, upgrades bool) *Stage {
	lock := NewRWLock(p)
	s := &Stage{}
	text := 0
	ask := func(how func(string) (bool, error), what string) Line {
		return func(who string) (Next, []Wake) {
			s.doing = "wants " + what
			if blocked, _ := how(who); blocked {
				return Blocks, nil
			}
			s.doing = "takes " + what
			return Goes, nil
		}
	}
	release := func(who string) (Next, []Wake) {
		s.doing = "lets go"
		wakes, _ := lock.Release(who)
		return Goes, wakes
	}
	for i := range readers {
		s.actors = append(s.actors, &player{Actor: Actor{
			Name:   fmt.Sprintf("reader%d", i+1),
			Script: repeat(rounds, ask(lock.Read, "the lock to read"), s.act(func(who string) { s.Say("%s reads %d", who, text) }), release),
		}})
	}
	for i := range writers {
		write := []Line{s.act(func(who string) { text++; s.Say("%s writes %d", who, text) }), release}
		script := append([]Line{ask(lock.Write, "the lock to write")}, write...)
		if upgrades {
			script = append([]Line{ask(lock.Read, "the lock to read"), ask(lock.Upgrade, "to write as well")}, write...)
		}
		s.actors = append(s.actors, &player{Actor: Actor{Name: fmt.Sprintf("writer%d", i+1), Script: repeat(rounds, script...)}})
	}
	return s
}

// Barber serves customers, who leave when all chairs are taken (Dijkstra 1965). With wrong, the barber waits for a
// customer while holding the lock on the chairs: the first customer cannot sit down, and both wait for ever.
func Barber(customers, chairs int, wrong bool) *Stage {
	waiting, ready, lock := &Semaphore{limit: MaxSemaphore}, &Semaphore{limit: MaxSemaphore}, &Semaphore{value: 1, limit: 1}
	seated := 0
	s := &Stage{}
	first, second := s.wait(waiting, "a customer"), s.wait(lock, "the lock")
	if wrong {
		first, second = second, first
	}
	s.actors = append(s.actors, &player{Actor: Actor{
		Name:    "barber",
		Script:  []Line{first, second, s.act(func(string) { seated--; s.doing = "calls the next one" }), s.post(ready, "a haircut"), s.post(lock, "the lock")},
		Endless: true,
	}})
	for i := range customers {
		s.actors = append(s.actors, &player{Actor: Actor{Name: fmt.Sprintf("customer%d", i+1)}})
		me := s.actors[i+1]
		away := func(who string) (Next, []Wake) { // all chairs are taken: skip the rest of the script
			if seated < chairs {
				s.doing = "finds a chair"
				return Goes, nil
			}
			s.Say("%s goes away", who)
			wakes, _ := lock.Post()
			me.at = len(me.Script) - 1 // this line is the last one
			return Goes, wakes
		}
		me.Script = []Line{
			s.wait(lock, "the lock"), away, s.act(func(string) { seated++; s.doing = "sits down" }), s.post(waiting, "the barber a sign"),
			s.post(lock, "the lock"), s.wait(ready, "a haircut"),
			s.act(func(who string) { s.Say("%s is served", who) }),
		}
	}
	return s
}
