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
	for i := range n {
		first, second := forks[i], forks[(i+1)%n]
		if ordered && i == n-1 {
			first, second = second, first
		}
		s.actors = append(s.actors, &player{Actor: Actor{
			Name: fmt.Sprintf("P%d", i+1),
			Script: repeat(rounds, wait(first), wait(second),
				act(func(who string) { s.Say("%s eats", who) }), post(second), post(first)),
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
	put := act(func(who string) {
		made++
		shelf = append(shelf, fmt.Sprintf("%d", made))
		s.Say("%s puts %d", who, made)
	})
	first, second := free, lock
	if wrong {
		first, second = lock, free
	}
	for i := range makers {
		s.actors = append(s.actors, &player{Actor: Actor{
			Name:   fmt.Sprintf("maker%d", i+1),
			Script: repeat(goods, wait(first), wait(second), put, post(lock), post(full)),
		}})
	}
	s.actors = append(s.actors, &player{Actor: Actor{
		Name: "consumer",
		Script: repeat(goods*makers, wait(full), wait(lock), act(func(who string) {
			s.Say("%s takes %s", who, shelf[0])
			shelf = shelf[1:]
		}), post(lock), post(free)),
	}})
	return s
}

// ReadersWriters read and write a text rounds times under a read-write lock (Courtois, Heymans, Parnas 1971). With
// upgrades, each writer reads first and then wants to write without letting go: two of them wait for each other.
func ReadersWriters(readers, writers, rounds int, p Preference, upgrades bool) *Stage {
	lock := NewRWLock(p)
	s := &Stage{}
	text := 0
	ask := func(how func(string) (bool, error)) Line {
		return func(who string) (Next, []Wake) {
			if blocked, _ := how(who); blocked {
				return Blocks, nil
			}
			return Goes, nil
		}
	}
	release := func(who string) (Next, []Wake) {
		wakes, _ := lock.Release(who)
		return Goes, wakes
	}
	for i := range readers {
		s.actors = append(s.actors, &player{Actor: Actor{
			Name:   fmt.Sprintf("reader%d", i+1),
			Script: repeat(rounds, ask(lock.Read), act(func(who string) { s.Say("%s reads %d", who, text) }), release),
		}})
	}
	for i := range writers {
		write := []Line{act(func(who string) { text++; s.Say("%s writes %d", who, text) }), release}
		script := append([]Line{ask(lock.Write)}, write...)
		if upgrades {
			script = append([]Line{ask(lock.Read), ask(lock.Upgrade)}, write...)
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
	first, second := wait(waiting), wait(lock)
	if wrong {
		first, second = second, first
	}
	s.actors = append(s.actors, &player{Actor: Actor{
		Name:    "barber",
		Script:  []Line{first, second, act(func(string) { seated-- }), post(ready), post(lock)},
		Endless: true,
	}})
	for i := range customers {
		s.actors = append(s.actors, &player{Actor: Actor{Name: fmt.Sprintf("customer%d", i+1)}})
		me := s.actors[i+1]
		away := func(who string) (Next, []Wake) { // all chairs are taken: skip the rest of the script
			if seated < chairs {
				return Goes, nil
			}
			s.Say("%s goes away", who)
			wakes, _ := lock.Post()
			me.at = len(me.Script) - 1 // this line is the last one
			return Goes, wakes
		}
		me.Script = []Line{
			wait(lock), away, act(func(string) { seated++ }), post(waiting), post(lock), wait(ready),
			act(func(who string) { s.Say("%s is served", who) }),
		}
	}
	return s
}
