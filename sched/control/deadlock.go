package control

import (
	"context"
	"net/http"

	"dfs/sched/plane"
)

// Deadlock is what a check finds.
type Deadlock struct {
	Schema        int        `json:"schema"`
	Deadlocked    []string   `json:"deadlocked"`
	BlockedBehind []string   `json:"blocked_behind"`
	Cycles        [][]string `json:"cycles"`
	Victims       []string   `json:"victims"` // whom to end, one after the other, until nothing is deadlocked
}

// Graph is the wait-for graph.
type Graph struct {
	Schema int    `json:"schema"`
	DOT    string `json:"dot"`
	Edges  []Edge `json:"edges"`
}

// Edge says that one process waits for another.
type Edge struct {
	From string `json:"from"`
	To   string `json:"to"`
	Over string `json:"over"`
}

func (s *Service) registerPlane(mux *http.ServeMux) {
	handle(mux, "deadlock/check", s.deadlockCheck)
	handle(mux, "deadlock/graph", s.deadlockGraph)
	simple(s, mux, "plane/resume", func(struct{}) (plane.Op, string) { return &plane.Resume{}, "" })
}

func (s *Service) deadlockCheck(ctx context.Context, _ struct{}) (Deadlock, error) {
	r, err := s.question(ctx, plane.Ask{What: plane.AskGraph})
	if err != nil {
		return Deadlock{}, err
	}
	d := r.Graph().Check()
	none := func(s []string) []string { return append([]string{}, s...) }
	return Deadlock{Schema, none(d.Deadlocked), none(d.BlockedBehind), append([][]string{}, d.Cycles...), none(d.Victims)}, nil
}

func (s *Service) deadlockGraph(ctx context.Context, _ struct{}) (Graph, error) {
	r, err := s.question(ctx, plane.Ask{What: plane.AskGraph})
	if err != nil {
		return Graph{}, err
	}
	g := r.Graph()
	doc := Graph{Schema: Schema, DOT: g.DOT(), Edges: []Edge{}}
	for _, e := range g.Edges() {
		doc.Edges = append(doc.Edges, Edge{e.From, e.To, e.Over})
	}
	return doc, nil
}
