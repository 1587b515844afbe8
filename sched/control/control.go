// Package control is the sidecar's services as people and scripts use them: shared memory, queues, semaphores, the bank,
// simulated memories and the wait-for graph, over HTTP and JSON on a unix socket.
//
// A Service keeps nothing that must survive. What is shared lives in the plane's state (package plane), which it reaches
// over a link.Log. It adds what only a process beside its clients can do:
//
//	waiting     a call that waits asks once, then follows the news until what it waits for has changed
//	sessions    one that belongs to a process of this machine is renewed for as long as that process lives, and closed
//	            when it ends; a Service that is started again finds them in the state and goes on
//	repetition  an op of which nobody knows whether it happened is asked for again where that is harmless
//
// Client is the other end.
package control

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"time"

	"dfs/cluster/admin"
	"dfs/cluster/fault"
	"dfs/sched/plane"
	"dfs/sched/plane/link"
)

// Schema is the number every document carries.
const Schema = 1

const (
	askMax    = 4 << 20          // bytes in a question
	opWithin  = 30 * time.Second // an op or a question whose asker sets no bound
	endWithin = 5 * time.Second  // what is taken back after its asker has gone
)

// Service answers. Safe for concurrent use.
type Service struct {
	log    link.Log
	watch  *watch
	keeper *keeper
	logger *slog.Logger
}

// New makes a Service; logger may be nil. It answers while Run runs.
func New(log link.Log, logger *slog.Logger) *Service {
	if logger == nil {
		logger = slog.New(slog.DiscardHandler)
	}
	return &Service{log: log, watch: newWatch(), keeper: newKeeper(log, logger), logger: logger}
}

// Run follows the news and keeps sessions until ctx ends.
func (s *Service) Run(ctx context.Context) error {
	kept := make(chan struct{})
	go func() {
		defer close(kept)
		s.keeper.run(ctx)
	}()
	s.watch.run(ctx, s.log)
	<-kept
	return nil
}

// Register adds the service's answers to mux, each POST /v1/NOUN/VERB. They call admin.Asked: the server's handler is to be
// admin.Hurry of mux.
func (s *Service) Register(mux *http.ServeMux) {
	s.registerKV(mux)
	s.registerSemaphores(mux)
	s.registerQueues(mux)
	s.registerBank(mux)
	s.registerArenas(mux)
	s.registerPlane(mux)
}

// handle answers path with fn: a question of type A, a document of type D.
func handle[A, D any](mux *http.ServeMux, path string, fn func(context.Context, A) (D, error)) {
	mux.HandleFunc("POST /v1/"+path, func(w http.ResponseWriter, r *http.Request) {
		var a A
		d := json.NewDecoder(http.MaxBytesReader(w, r.Body, askMax))
		d.DisallowUnknownFields()
		err := d.Decode(&a)
		if err == nil {
			_, err = io.Copy(io.Discard, r.Body) // so that the end of the connection is noticed while it waits
		}
		if err != nil {
			admin.Refuse(w, fault.Because("plane", fault.Invalid, err))
			return
		}
		admin.Asked(w)
		doc, err := fn(r.Context(), a)
		if err != nil {
			admin.Refuse(w, err)
			return
		}
		w.Header().Set("Content-Type", "application/json")
		json.NewEncoder(w).Encode(doc) // an error means that the asker has gone
	})
}

// unsure reports whether err leaves open what happened.
func unsure(err error) bool {
	return errors.Is(err, fault.Unreachable) || errors.Is(err, fault.Timeout)
}

// within bounds ctx by what the asker says: 0 nothing.
func within(ctx context.Context, d time.Duration) (context.Context, context.CancelFunc) {
	if d > 0 {
		return context.WithTimeout(ctx, d)
	}
	return context.WithCancel(ctx)
}

// patient is within for what should not take long.
func patient(ctx context.Context, d time.Duration) (context.Context, context.CancelFunc) {
	if d <= 0 {
		d = opWithin
	}
	return context.WithTimeout(ctx, d)
}

// propose brings an op that asks for nothing to wait for into the log.
func (s *Service) propose(ctx context.Context, op plane.Op) (plane.Result, error) {
	ctx, cancel := context.WithTimeout(ctx, opWithin)
	defer cancel()
	return s.log.Propose(ctx, op)
}

// insist proposes an op that is harmless to repeat until it is known what became of it.
func (s *Service) insist(ctx context.Context, op plane.Op) (plane.Result, error) {
	res, _, err := s.repeat(ctx, op)
	return res, err
}

// repeat is insist, and says whether it had to: then an earlier try may still happen.
func (s *Service) repeat(ctx context.Context, op plane.Op) (res plane.Result, repeated bool, err error) {
	for {
		res, err = s.log.Propose(ctx, op)
		if !unsure(err) || ctx.Err() != nil {
			return res, repeated || err != nil && unsure(err), err
		}
		repeated = true
		t := time.NewTimer(followAgain)
		select {
		case <-t.C:
		case <-ctx.Done():
			t.Stop()
		}
	}
}

// question asks the cluster, fresh.
func (s *Service) question(ctx context.Context, a plane.Ask) (plane.Reply, error) {
	ctx, cancel := context.WithTimeout(ctx, opWithin)
	defer cancel()
	r, _, err := s.log.Ask(ctx, a, true)
	return r, err
}

// Done answers what has nothing to tell but that it is done.
type Done struct {
	Schema int    `json:"schema"`
	Name   string `json:"name,omitempty"`
	Again  bool   `json:"again,omitempty"` // it had been done before
}

// simple answers a verb that is one op.
func simple[A any](s *Service, mux *http.ServeMux, path string, op func(A) (plane.Op, string)) {
	handle(mux, path, func(ctx context.Context, a A) (Done, error) {
		o, name := op(a)
		res, err := s.propose(ctx, o)
		return Done{Schema: Schema, Name: name, Again: res.Outcome == plane.Repeat}, err
	})
}
