package plane

import (
	"errors"
	"sync"

	"dfs/cluster/fault"
	"dfs/osmodel/kv"
)

// Local is one peer's own memory of keys and values: nobody else keeps it, and it ends with the process. Safe for concurrent use.
type Local struct {
	mu    sync.Mutex
	store *kv.Store
}

// NewLocal makes an empty one.
func NewLocal() *Local { return &Local{store: kv.NewStore(kv.Options{})} }

// Do carries out a Commit. Nothing there is bound to a session, and nothing fenced: fault.Unsupported.
func (l *Local) Do(o *Commit) (Result, error) {
	if err := o.check(); err != nil {
		return Result{}, err
	}
	for _, s := range append(o.Then[:len(o.Then):len(o.Then)], o.Else...) {
		if s.Lease != 0 || len(o.Fences) > 0 {
			return Result{}, fault.New("kv", fault.Unsupported, "a peer's own memory knows no leases and no fences")
		}
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	out, err := l.store.Commit(o.Txn)
	if err != nil {
		return Result{}, fault.New("kv", fault.Quota, "%v", err)
	}
	out.Events = nil
	out.Found = shown(o.Txn, out)
	return Result{KV: &out, Revision: l.store.Revision()}, nil
}

// Answer answers AskEntry, AskList and AskSince.
func (l *Local) Answer(a Ask) (r Reply, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	r.Revision = l.store.Revision()
	switch a.What {
	case AskEntry:
		e, ok := l.store.Get(a.Name)
		if !ok {
			return r, fault.New("kv get", fault.NotExist, "%s", a.Name)
		}
		r.Entries = []kv.Entry{e}
	case AskList:
		r.Entries, r.More = cut(l.store.List(a.Name, a.After, a.limit()+1), a.limit(), func(e kv.Entry) int { return len(e.Key) + len(e.Value) })
	case AskSince:
		if r.Events, err = l.store.Since(a.From, a.limit()); errors.Is(err, kv.ErrCompacted) {
			err = fault.New("kv watch", fault.Stale, "revision %d: the history no longer reaches back so far", a.From)
		}
	default:
		err = fault.New("kv", fault.Unsupported, "a peer's own memory has only keys and values")
	}
	return r, err
}

// EncodeResult and DecodeResult carry what Local answers; what the log answers is ResultOf's.
func EncodeResult(r Result) []byte { return encode(&r) }

// DecodeResult is the inverse of EncodeResult. fault.Invalid.
func DecodeResult(b []byte) (r Result, err error) { return r, decode(b, &r) }
