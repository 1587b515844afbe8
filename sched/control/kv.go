package control

import (
	"context"
	"net/http"
	"strings"
	"time"
	"unicode/utf8"

	"dfs/cluster/fault"
	"dfs/osmodel/kv"
	"dfs/sched/plane"
)

// Text is bytes in a document: as a string where they are UTF-8, else in base64.
type Text struct {
	Value string `json:"value"`
	Bytes []byte `json:"value_base64,omitempty"`
}

// TextOf makes one.
func TextOf(b []byte) Text {
	if utf8.Valid(b) {
		return Text{Value: string(b)}
	}
	return Text{Bytes: b}
}

// Raw returns the bytes.
func (t Text) Raw() []byte {
	if t.Bytes != nil {
		return t.Bytes
	}
	return []byte(t.Value)
}

// Entry is a key and its value.
type Entry struct {
	Key string `json:"key"`
	Text
	Created  uint64 `json:"created"`
	Modified uint64 `json:"modified"`
	Version  uint64 `json:"version"`
	Lease    uint64 `json:"lease,omitempty"`
	Deleted  bool   `json:"deleted,omitempty"` // of a watch
}

func entryOf(e kv.Entry) Entry {
	return Entry{Key: e.Key, Text: TextOf(e.Value), Created: e.Created, Modified: e.Modified, Version: e.Version, Lease: e.Lease}
}

// KVAsk reads keys. Peer names a peer whose own memory is meant; nil the cluster's.
type KVAsk struct {
	Peer    *string       `json:"peer,omitempty"`
	Key     string        `json:"key,omitempty"` // of get
	Prefix  string        `json:"prefix,omitempty"`
	After   string        `json:"after,omitempty"`
	From    uint64        `json:"from,omitempty"` // of watch: a revision; 0: from now on
	Limit   uint64        `json:"limit,omitempty"`
	Stale   bool          `json:"stale,omitempty"`
	Timeout time.Duration `json:"timeout_ns,omitempty"`
}

// Entries is the answer of get, list and watch.
type Entries struct {
	Schema   int     `json:"schema"`
	Revision uint64  `json:"revision"`
	Entries  []Entry `json:"entries"`
	More     bool    `json:"more,omitempty"`
	Next     uint64  `json:"next,omitempty"` // of watch: go on from here
	AgeNS    int64   `json:"age_ns"`         // with stale: how old this is at most
}

// KVTxn is a transaction. TTL binds what it sets to a lease that is not renewed; Lease to one that is there.
type KVTxn struct {
	Peer    *string       `json:"peer,omitempty"`
	If      []KVIf        `json:"if,omitempty"`
	Then    []KVStep      `json:"then,omitempty"`
	Else    []KVStep      `json:"else,omitempty"`
	Fences  []KVFence     `json:"fences,omitempty"`
	TTL     time.Duration `json:"ttl_ns,omitempty"`
	Hold    *Hold         `json:"hold,omitempty"`
	Lease   uint64        `json:"lease,omitempty"`
	Timeout time.Duration `json:"timeout_ns,omitempty"`
}

// KVIf is a condition: field is value, version, created or modified; is one of = != < >.
type KVIf struct {
	Key    string `json:"key"`
	Field  string `json:"field,omitempty"`
	Is     string `json:"is,omitempty"`
	Number uint64 `json:"number,omitempty"`
	Value  []byte `json:"bytes,omitempty"`
	Absent bool   `json:"absent,omitempty"`
}

// KVStep is get, set or delete.
type KVStep struct {
	Do    string `json:"do"`
	Key   string `json:"key"`
	Value []byte `json:"bytes,omitempty"`
}

// KVFence is the condition that a grant of a semaphore is not over.
type KVFence struct {
	Semaphore string `json:"semaphore"`
	Token     uint64 `json:"token"`
}

// Committed is what became of a transaction.
type Committed struct {
	Schema    int      `json:"schema"`
	Succeeded bool     `json:"succeeded"`
	Revision  uint64   `json:"revision"`
	Lease     uint64   `json:"lease,omitempty"`
	Found     []*Entry `json:"found"` // for each step: what get found, what set and delete found in their place (without its value); null nothing
}

func (s *Service) registerKV(mux *http.ServeMux) {
	handle(mux, "kv/get", s.kvGet)
	handle(mux, "kv/list", s.kvList)
	handle(mux, "kv/watch", s.kvWatch)
	handle(mux, "kv/txn", s.kvTxn)
}

// ask asks the cluster's memory or a peer's own.
func (s *Service) ask(ctx context.Context, q KVAsk, a plane.Ask) (Entries, plane.Reply, error) {
	ctx, cancel := patient(ctx, q.Timeout)
	defer cancel()
	var r plane.Reply
	var age time.Duration
	var err error
	if q.Peer != nil {
		r, err = s.log.AskAt(ctx, *q.Peer, a)
	} else {
		r, age, err = s.log.Ask(ctx, a, !q.Stale)
	}
	doc := Entries{Schema: Schema, Revision: r.Revision, More: r.More, Entries: []Entry{}}
	if q.Stale {
		doc.AgeNS = int64(age)
	}
	for _, e := range r.Entries {
		doc.Entries = append(doc.Entries, entryOf(e))
	}
	return doc, r, err
}

func (s *Service) kvGet(ctx context.Context, q KVAsk) (Entries, error) {
	doc, _, err := s.ask(ctx, q, plane.Ask{What: plane.AskEntry, Name: q.Key})
	return doc, err
}

func (s *Service) kvList(ctx context.Context, q KVAsk) (Entries, error) {
	doc, _, err := s.ask(ctx, q, plane.Ask{What: plane.AskList, Name: q.Prefix, After: q.After, Limit: q.Limit})
	return doc, err
}

// kvWatch returns the next changes of keys with the prefix, as soon as there are any, and where to go on.
func (s *Service) kvWatch(ctx context.Context, q KVAsk) (doc Entries, err error) {
	if q.Peer != nil {
		return doc, fault.New("kv watch", fault.Unsupported, "a peer's own memory has nobody who follows it: kv get, or kv list")
	}
	next := q.From
	if next == 0 {
		now, _, err := s.ask(ctx, KVAsk{}, plane.Ask{What: plane.AskList, Limit: 1})
		if err != nil {
			return doc, err
		}
		next = now.Revision + 1
	}
	bound, cancel := within(ctx, q.Timeout)
	defer cancel()
	err = s.watch.until(bound, plane.TopicKeys, func(ctx context.Context) (bool, error) {
		for {
			var r plane.Reply
			doc, r, err = s.ask(ctx, KVAsk{Stale: true}, plane.Ask{What: plane.AskSince, From: next})
			if err != nil || len(r.Events) == 0 {
				return false, err
			}
			for _, e := range r.Events {
				if strings.HasPrefix(e.Key, q.Prefix) {
					x := entryOf(e.Entry)
					x.Deleted = e.Deleted
					doc.Entries = append(doc.Entries, x)
				}
			}
			next = r.Events[len(r.Events)-1].Modified + 1
			if len(doc.Entries) > 0 {
				return true, nil
			}
		}
	})
	if fault.KindOf(err) == fault.Timeout { // nothing has changed: ask again from there
		doc, err = Entries{Schema: Schema, Entries: []Entry{}}, nil
	}
	doc.AgeNS, doc.Next = 0, next
	return doc, err
}

func (s *Service) kvTxn(ctx context.Context, q KVTxn) (doc Committed, err error) {
	op, err := q.op()
	if err != nil {
		return doc, err
	}
	bound, cancel := patient(ctx, q.Timeout)
	defer cancel()
	doc.Schema = Schema
	if q.Peer != nil {
		if q.TTL > 0 || q.Hold != nil {
			return doc, fault.New("kv", fault.Unsupported, "a peer's own memory knows no leases")
		}
		res, err := s.log.ProposeAt(bound, *q.Peer, op)
		return doc.of(res), err
	}
	doc.Lease = q.Lease
	if q.TTL > 0 || q.Hold != nil {
		h := Hold{TTL: q.TTL}
		if q.Hold != nil {
			h = *q.Hold
		}
		if doc.Lease, _, err = s.keeper.session(bound, h); err != nil {
			return doc, err
		}
	}
	for _, steps := range [][]kv.Step{op.Then, op.Else} {
		for i := range steps {
			if steps[i].Do == kv.Set {
				steps[i].Lease = doc.Lease
			}
		}
	}
	res, err := s.log.Propose(bound, op)
	if doc.Lease != 0 && q.TTL > 0 && !unsure(err) && (err != nil || !res.KV.Held) {
		s.end(&plane.Close{Session: doc.Lease}) // nothing is bound to it
		doc.Lease = 0
	}
	return doc.of(res), err
}

// of fills in what the op answered.
func (c Committed) of(res plane.Result) Committed {
	c.Revision, c.Found = res.Revision, []*Entry{}
	if res.KV == nil {
		return c
	}
	c.Succeeded = res.KV.Held
	for _, e := range res.KV.Found {
		if e == nil {
			c.Found = append(c.Found, nil)
			continue
		}
		x := entryOf(*e)
		c.Found = append(c.Found, &x)
	}
	return c
}

var (
	fieldNames    = map[string]kv.Field{"": kv.Value, "value": kv.Value, "version": kv.Version, "created": kv.Created, "modified": kv.Modified}
	relationNames = map[string]kv.Relation{"": kv.Equal, "=": kv.Equal, "!=": kv.Unequal, "<": kv.Less, ">": kv.Greater}
	actionNames   = map[string]kv.Action{"get": kv.Get, "set": kv.Set, "delete": kv.Delete}
)

func (q KVTxn) op() (*plane.Commit, error) {
	op := &plane.Commit{}
	for _, c := range q.If {
		field, known := fieldNames[c.Field]
		is, also := relationNames[c.Is]
		if !known || !also {
			return nil, fault.New("kv", fault.Invalid, "a condition on %q that is %q: value, version, created or modified; = != < >", c.Field, c.Is)
		}
		op.If = append(op.If, kv.Condition{Key: c.Key, Field: field, Is: is, Number: c.Number, Value: c.Value, Absent: c.Absent})
	}
	for i, steps := range [][]KVStep{q.Then, q.Else} {
		for _, x := range steps {
			do, known := actionNames[x.Do]
			if !known {
				return nil, fault.New("kv", fault.Invalid, "%q is none of get, set and delete", x.Do)
			}
			step := kv.Step{Do: do, Key: x.Key, Value: x.Value}
			if i == 0 {
				op.Then = append(op.Then, step)
			} else {
				op.Else = append(op.Else, step)
			}
		}
	}
	for _, f := range q.Fences {
		op.Fences = append(op.Fences, plane.Fence{Semaphore: f.Semaphore, Token: f.Token})
	}
	return op, nil
}

// end does what its asker no longer waits for.
func (s *Service) end(op plane.Op) {
	ctx, cancel := context.WithTimeout(context.Background(), endWithin)
	defer cancel()
	if _, err := s.log.Propose(ctx, op); err != nil {
		s.logger.Warn("something is left to expire", "err", err)
	}
}
