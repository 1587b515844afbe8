package plane

import (
	"dfs/cluster/fault"
	"dfs/osmodel/kv"
)

// What can be asked.
const (
	AskEntry      uint8 = iota // Name: a key
	AskList                    // Name: a prefix; After, Limit
	AskSince                   // From: a revision; Limit
	AskSession                 // Number
	AskSessions                //
	AskSemaphore               // Name
	AskSemaphores              //
	AskQueue                   // Name; Limit messages that are ready, and as many that are received
	AskQueues                  //
	AskReady                   // Name of a queue, Number of a session: is there something to receive
	AskBank                    //
	AskArena                   // Name
	AskArenas                  //
	AskGraph                   // all that the wait-for graph is made of
)

const (
	askedMax   = 1_000   // elements of an answer
	askedBytes = 1 << 20 // of keys, values and bodies in it
)

// Ask is a question about the state.
type Ask struct {
	What   uint8
	Name   string
	After  string
	From   uint64
	Number uint64
	Own    bool // of AskReady: only copies of broadcasts
	Limit  uint64
}

func (a *Ask) fields(f *fields) {
	f.byte(&a.What)
	f.text(&a.Name, KeyMax)
	f.text(&a.After, KeyMax)
	f.uint(&a.From)
	f.uint(&a.Number)
	f.bool(&a.Own)
	f.uint(&a.Limit)
}

// Reply answers an Ask. Which fields are set, the question says.
type Reply struct {
	Revision   uint64
	More       bool // there is more than this
	Ready      bool
	Entries    []kv.Entry
	Events     []kv.Event
	Sessions   []Session
	Semaphores []Semaphore
	Queues     []Queue
	Messages   []Message // ready
	Flying     []Message
	Bank       Bank
	Arenas     []Arena
	Locks      []Lock // of AskGraph
}

// Lock is a file lock, or the wait for one, as the wait-for graph sees it.
type Lock struct {
	Process  string
	Resource string
	Waits    bool
}

func (r *Reply) fields(f *fields) {
	f.uint(&r.Revision)
	f.bool(&r.More)
	f.bool(&r.Ready)
	list(f, &r.Entries, replyMax, func(e *kv.Entry) { (*entry)(e).fields(f) })
	list(f, &r.Events, replyMax, func(e *kv.Event) { (*event)(e).fields(f) })
	list(f, &r.Sessions, SessionsMax, func(s *Session) { s.fields(f) })
	list(f, &r.Semaphores, SemaphoresMax, func(s *Semaphore) { s.fields(f) })
	list(f, &r.Queues, QueuesMax, func(q *Queue) { q.fields(f) })
	list(f, &r.Messages, replyMax, func(m *Message) { m.fields(f) })
	list(f, &r.Flying, replyMax, func(m *Message) { m.fields(f) })
	r.Bank.fields(f)
	list(f, &r.Arenas, ArenasMax, func(a *Arena) { a.fields(f) })
	list(f, &r.Locks, replyMax, func(l *Lock) {
		f.text(&l.Process, KeyMax)
		f.text(&l.Resource, 4*KeyMax)
		f.bool(&l.Waits)
	})
}

const replyMax = 100_000

// EncodeAsk and the like carry questions and answers between processes.
func EncodeAsk(a Ask) []byte { return encode(&a) }

// DecodeAsk is the inverse of EncodeAsk. fault.Invalid.
func DecodeAsk(b []byte) (a Ask, err error) { return a, decode(b, &a) }

// EncodeReply encodes an answer.
func EncodeReply(r Reply) []byte { return encode(&r) }

// DecodeReply is the inverse of EncodeReply. fault.Invalid.
func DecodeReply(b []byte) (r Reply, err error) { return r, decode(b, &r) }

func (a Ask) limit() int {
	if a.Limit == 0 || a.Limit > askedMax {
		return askedMax
	}
	return int(a.Limit)
}

// Answer answers a question. fault.NotExist, fault.Stale, fault.Invalid.
func (v View) Answer(a Ask) (r Reply, err error) {
	if why, stopped, err := v.Stopped(); err != nil || stopped {
		if err == nil {
			err = stoppedError(why)
		}
		return r, err
	}
	switch a.What {
	case AskEntry, AskList, AskSince:
		return v.answerKeys(a)
	case AskSession:
		r.Sessions = make([]Session, 1)
		r.Sessions[0], err = v.Session(a.Number)
	case AskSessions:
		r.Sessions, err = v.Sessions()
	case AskSemaphore:
		r.Semaphores = make([]Semaphore, 1)
		r.Semaphores[0], err = v.Semaphore(a.Name)
	case AskSemaphores:
		r.Semaphores, err = v.Semaphores()
	case AskQueue, AskReady:
		return v.answerQueue(a)
	case AskQueues:
		r.Queues, err = v.Queues()
	case AskBank:
		r.Bank, err = v.Bank()
	case AskArena:
		r.Arenas = make([]Arena, 1)
		r.Arenas[0], err = v.Arena(a.Name)
	case AskArenas:
		r.Arenas, err = v.Arenas()
	case AskGraph:
		return v.answerGraph()
	default:
		err = fault.New("plane ask", fault.Invalid, "a question that this version does not know")
	}
	return r, err
}

func (v View) answerKeys(a Ask) (r Reply, err error) {
	if r.Revision, err = v.Revision(); err != nil {
		return r, err
	}
	switch a.What {
	case AskEntry:
		e, ok, err := v.Get(a.Name)
		if err != nil {
			return r, err
		}
		if !ok {
			return r, fault.New("kv get", fault.NotExist, "%s", a.Name)
		}
		r.Entries = []kv.Entry{e}
	case AskList:
		r.Entries, err = v.List(a.Name, a.After, a.limit()+1)
		r.Entries, r.More = cut(r.Entries, a.limit(), func(e kv.Entry) int { return len(e.Key) + len(e.Value) })
	default:
		r.Events, err = v.Since(a.From, a.limit())
	}
	return r, err
}

// cut bounds a list by number and bytes, one element at least, and says whether it was longer.
func cut[T any](all []T, limit int, size func(T) int) ([]T, bool) {
	sum := 0
	for i, e := range all {
		sum += size(e)
		if i == limit || sum > askedBytes && i > 0 {
			return all[:i], true
		}
	}
	return all, false
}

func (v View) answerQueue(a Ask) (r Reply, err error) {
	q, err := v.Queue(a.Name)
	if err != nil {
		return r, err
	}
	r.Queues = []Queue{q}
	if a.What == AskReady {
		if r.Ready, err = v.HasCopy(a.Name, a.Number); err != nil || r.Ready || a.Own {
			return r, err
		}
		ms, err := v.Ready(q, 1)
		r.Ready = len(ms) > 0
		return r, err
	}
	size := func(m Message) int { return len(m.Body) }
	if r.Messages, err = v.Ready(q, a.limit()+1); err != nil {
		return r, err
	}
	r.Messages, r.More = cut(r.Messages, a.limit(), size)
	if r.Flying, err = v.Flying(q, a.limit()); err != nil {
		return r, err
	}
	r.Flying, _ = cut(r.Flying, a.limit(), size)
	return r, nil
}

func (v View) answerGraph() (r Reply, err error) {
	if r.Sessions, err = v.Sessions(); err != nil {
		return r, err
	}
	if r.Semaphores, err = v.Semaphores(); err != nil {
		return r, err
	}
	r.Bank, err = v.Bank()
	return r, err
}

// Graph makes the wait-for graph of an answer to AskGraph.
func (r Reply) Graph() *Graph {
	names := map[uint64]string{}
	for _, s := range r.Sessions {
		names[s.ID] = s.Process()
	}
	owner := func(id uint64) string { return names[id] }
	g := NewGraph()
	for _, s := range r.Semaphores {
		g.addSemaphore(s, owner)
	}
	g.addBank(r.Bank, owner)
	for _, l := range r.Locks {
		if l.Waits {
			g.Wants(l.Process, l.Resource, 1, 0)
		} else {
			g.Holds(l.Process, l.Resource, 1, 0)
		}
	}
	return g
}
