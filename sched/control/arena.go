package control

import (
	"context"
	"net/http"

	"dfs/cluster/fault"
	"dfs/osmodel/alloc"
	"dfs/sched/plane"
)

// ArenaAsk is what the verbs of simulated memories are asked; each uses what it needs.
type ArenaAsk struct {
	Name  string `json:"name"`
	Fit   string `json:"fit,omitempty"`
	Size  int64  `json:"size,omitempty"`
	Block string `json:"block,omitempty"` // of allocate and free
}

// Allocated is what became of an allocation, a free or a compaction.
type Allocated struct {
	Schema  int    `json:"schema"`
	Name    string `json:"name"`
	Block   string `json:"block,omitempty"`
	Address int64  `json:"address"`
	Size    int64  `json:"size,omitempty"`
	Moved   int64  `json:"moved,omitempty"`
}

// ArenaInfo is one memory.
type ArenaInfo struct {
	Schema        int          `json:"schema,omitempty"`
	Name          string       `json:"name"`
	Fit           string       `json:"fit"`
	Size          int64        `json:"size"`
	Failed        uint64       `json:"failed"`
	Blocks        []ArenaBlock `json:"blocks"`
	Fragmentation struct {
		External    float64 `json:"external"`
		Internal    float64 `json:"internal"`
		LargestHole int64   `json:"largest_hole"`
		Holes       int     `json:"holes"`
		Free        int64   `json:"free"`
	} `json:"fragmentation"`
}

// ArenaBlock is a block in use, or a hole (no name).
type ArenaBlock struct {
	Name      string `json:"name,omitempty"`
	Address   int64  `json:"address"`
	Size      int64  `json:"size"`
	Requested int64  `json:"requested,omitempty"`
}

// Arenas is a list of them.
type Arenas struct {
	Schema   int         `json:"schema"`
	Memories []ArenaInfo `json:"memories"`
}

func (s *Service) registerArenas(mux *http.ServeMux) {
	simple(s, mux, "mem/create", func(a ArenaAsk) (plane.Op, string) {
		return &plane.CreateArena{Name: a.Name, Fit: a.Fit, Size: a.Size}, a.Name
	})
	simple(s, mux, "mem/delete", func(a ArenaAsk) (plane.Op, string) { return &plane.DeleteArena{Name: a.Name}, a.Name })
	handle(mux, "mem/allocate", s.memAllocate)
	handle(mux, "mem/free", func(ctx context.Context, a ArenaAsk) (Allocated, error) {
		res, err := s.propose(ctx, &plane.Free{Arena: a.Name, Name: a.Block})
		return Allocated{Schema: Schema, Name: a.Name, Block: a.Block, Size: res.Count}, err
	})
	handle(mux, "mem/compact", func(ctx context.Context, a ArenaAsk) (Allocated, error) {
		res, err := s.propose(ctx, &plane.Compact{Arena: a.Name})
		return Allocated{Schema: Schema, Name: a.Name, Moved: res.Count}, err
	})
	handle(mux, "mem/show", s.memShow)
	handle(mux, "mem/list", s.memList)
}

func (s *Service) memAllocate(ctx context.Context, a ArenaAsk) (Allocated, error) {
	res, err := s.propose(ctx, &plane.Allocate{Arena: a.Name, Name: a.Block, Size: a.Size})
	if err == nil && res.Outcome == plane.Empty {
		err = fault.Advise(fault.New("mem allocate", fault.Refused, "no hole of %s takes %d units", a.Name, a.Size),
			"dfsctl mem show %s; dfsctl mem compact %s", a.Name, a.Name)
	}
	return Allocated{Schema: Schema, Name: a.Name, Block: a.Block, Address: res.Count, Size: a.Size}, err
}

func (s *Service) memShow(ctx context.Context, a ArenaAsk) (ArenaInfo, error) {
	r, err := s.question(ctx, plane.Ask{What: plane.AskArena, Name: a.Name})
	if err != nil {
		return ArenaInfo{}, err
	}
	doc, err := arenaInfo(r.Arenas[0])
	doc.Schema = Schema
	return doc, err
}

func (s *Service) memList(ctx context.Context, _ struct{}) (Arenas, error) {
	doc := Arenas{Schema: Schema, Memories: []ArenaInfo{}}
	r, err := s.question(ctx, plane.Ask{What: plane.AskArenas})
	for _, a := range r.Arenas {
		i, err := arenaInfo(a)
		if err != nil {
			return doc, err
		}
		doc.Memories = append(doc.Memories, i)
	}
	return doc, err
}

func arenaInfo(a plane.Arena) (ArenaInfo, error) {
	doc := ArenaInfo{Name: a.Name, Fit: a.Fit, Size: a.Size, Failed: a.Failed, Blocks: []ArenaBlock{}}
	model, err := a.Model()
	if err != nil {
		return doc, err
	}
	names := map[int64]string{}
	for _, b := range a.Blocks {
		names[b.Start] = b.Name
	}
	blocks := model.Blocks()
	for _, b := range blocks {
		x := ArenaBlock{Address: b.Start, Size: b.Size}
		if b.Used {
			x.Name, x.Requested = names[b.Start], b.Requested
		}
		doc.Blocks = append(doc.Blocks, x)
	}
	st := alloc.Measure(blocks)
	f := &doc.Fragmentation
	f.External, f.Internal, f.LargestHole, f.Holes, f.Free = st.External, st.Internal, st.LargestHole, st.Holes, st.Free
	return doc, nil
}
