package plane

import "dfs/osmodel/kv"

// Outcome is what became of a request that may not be met at once.
type Outcome uint8

// The outcomes.
const (
	Done   Outcome = iota // or granted
	Waits                 // its place in the queue is kept
	Empty                 // there is nothing to receive
	Denied                // it would make the state unsafe; nothing has changed
	Repeat                // it was done before, and is not done again
	More                  // a part is done: ask again
)

// Result is what an op answers. Which fields are set, the op says.
type Result struct {
	Index    uint64 // of the op in the log
	Stopped  string // the plane has stopped, and why
	ID       uint64 // session, message, token of a grant, receipt
	Outcome  Outcome
	Revision uint64      // of the shared memory
	KV       *kv.Outcome // of Commit; without its events
	Message  *Message    // of Receive
	Gone     []uint64    // of Renew: sessions that have ended
	Count    int64       // of copies, of what is left, an address
	Names    []string    // of processes: a safe sequence, those granted
}

func (r *Result) fields(f *fields) {
	f.uint(&r.Index)
	f.text(&r.Stopped, whyMax)
	f.uint(&r.ID)
	f.byte((*uint8)(&r.Outcome))
	f.uint(&r.Revision)
	optional(f, &r.KV, func(o *kv.Outcome) {
		f.bool(&o.Held)
		list(f, &o.Found, StepsMax, func(e **kv.Entry) { optional(f, e, func(e *kv.Entry) { (*entry)(e).fields(f) }) })
	})
	optional(f, &r.Message, func(m *Message) { m.fields(f) })
	list(f, &r.Gone, renewedMax, f.uint)
	f.int(&r.Count)
	list(f, &r.Names, HoldersMax, func(s *string) { f.text(s, NameMax) })
}
