package admin

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"strings"
	"time"

	"dfs/cluster/fault"
)

// Limits of the control socket.
const (
	askMax    = 64 << 10 // bytes in a question
	answerMax = 64 << 20 // bytes in an answer: `where` of a huge file
	waitPoll  = 100 * time.Millisecond
)

// What can be waited for.
const (
	WaitReady   = "ready"
	WaitHealthy = "healthy"
	WaitDurable = "durable"
)

// question is the body of every POST on the control socket; verbs use what they need of it.
type question struct {
	Path    Path          `json:"path,omitempty"`
	Text    string        `json:"text,omitempty"` // of a layout, a token id, or what to wait for
	From    int64         `json:"from,omitempty"` // of where: an offset
	Token   *TokenAsk     `json:"token,omitempty"`
	Quick   bool          `json:"quick,omitempty"` // of fsck
	After   uint64        `json:"after,omitempty"` // of events
	Remove  *RemoveAsk    `json:"remove,omitempty"`
	Timeout time.Duration `json:"timeout_ns,omitempty"` // of wait; 0 is for ever
}

// refusal is the body of every answer that is not 200.
type refusal struct {
	Kind   fault.Kind `json:"kind"`
	Op     string     `json:"op"`
	Detail string     `json:"detail"`
	Next   string     `json:"next,omitempty"` // advice
}

// control serves the control socket for node. status wraps node's, stop ends the daemon.
type control struct {
	node   Node
	status func(context.Context) (Status, error)
	stop   func()
}

// verbs are the paths it serves, each below /v1/.
func (c *control) verbs() map[string]func(context.Context, question) (any, error) {
	n := c.node
	return map[string]func(context.Context, question) (any, error){
		"status": func(ctx context.Context, _ question) (any, error) { return c.status(ctx) },
		"where": func(ctx context.Context, q question) (any, error) {
			return stamped(whereFrom(ctx, n, string(q.Path), q.From))
		},
		"stat":   func(ctx context.Context, q question) (any, error) { return stamped(n.Stat(ctx, string(q.Path))) },
		"layout": func(ctx context.Context, q question) (any, error) { return stamped(n.Layout(ctx, string(q.Path))) },
		"setlayout": func(ctx context.Context, q question) (any, error) {
			return stamped(n.SetLayout(ctx, string(q.Path), q.Text))
		},
		"token": func(ctx context.Context, q question) (any, error) {
			if q.Token == nil || q.Token.TTL < 0 || q.Token.Uses < 0 {
				return nil, fault.New("token create", fault.Invalid, "ttl and uses are not negative")
			}
			return stamped(n.CreateToken(ctx, *q.Token))
		},
		"tokens":  func(ctx context.Context, _ question) (any, error) { return n.Tokens(ctx) },
		"revoke":  func(ctx context.Context, q question) (any, error) { return nil, n.RevokeToken(ctx, q.Text) },
		"durable": func(ctx context.Context, q question) (any, error) { return n.Durable(ctx, string(q.Path)) },
		"wait":    func(ctx context.Context, q question) (any, error) { return nil, c.wait(ctx, q) },
		"scrub":   func(ctx context.Context, q question) (any, error) { return stamped(n.Scrub(ctx, q.Text)) },
		"fsck": func(ctx context.Context, q question) (any, error) {
			return stamped(n.Fsck(ctx, string(q.Path), q.Quick))
		},
		"locks":   func(ctx context.Context, q question) (any, error) { return stamped(n.Locks(ctx, string(q.Path))) },
		"events":  func(ctx context.Context, q question) (any, error) { return stamped(n.Events(ctx, q.After)) },
		"unmount": func(ctx context.Context, _ question) (any, error) { return nil, n.Unmount(ctx) },
		"leave":   func(ctx context.Context, _ question) (any, error) { return nil, n.Leave(ctx) },
		"peer":    func(ctx context.Context, q question) (any, error) { return stamped(n.PeerInfo(ctx, q.Text)) },
		"remove": func(ctx context.Context, q question) (any, error) {
			if q.Remove == nil || q.Remove.Peer == "" {
				return nil, fault.New("peer remove", fault.Invalid, "which peer?")
			}
			return stamped(n.RemovePeer(ctx, *q.Remove))
		},
		"stop": func(context.Context, question) (any, error) { c.stop(); return nil, nil },
	}
}

// stamped sets the schema of a document that has one.
func stamped[T any](doc T, err error) (any, error) {
	switch d := any(&doc).(type) {
	case *Where:
		d.Schema = Schema
		d.Name = oddBytes(d.Path)
	case *FileStat:
		d.Schema = Schema
		d.Name = oddBytes(d.Path)
	case *Layout:
		d.Schema = Schema
	case *Token:
		d.Schema = Schema
	case *Scrub:
		d.Schema = Schema
	case *Fsck:
		d.Schema = Schema
		for i := range d.Damaged {
			d.Damaged[i].Name = oddBytes(d.Damaged[i].Path)
		}
	case *Locks:
		d.Schema = Schema
		for i := range d.Files {
			d.Files[i].Name = oddBytes(d.Files[i].Path)
		}
	case *Events:
	case *Removal:
		d.Schema = Schema
	case *PeerInfo:
		d.Schema = Schema
	}
	return doc, err
}

func (c *control) handler() http.Handler {
	mux := http.NewServeMux()
	for name, answer := range c.verbs() {
		mux.HandleFunc("POST /v1/"+name, func(w http.ResponseWriter, r *http.Request) {
			q, err := readQuestion(w, r)
			if err != nil {
				refuse(w, err)
				return
			}
			doc, err := answer(r.Context(), q)
			if err != nil {
				refuse(w, err)
				return
			}
			w.Header().Set("Content-Type", "application/json")
			json.NewEncoder(w).Encode(doc) // an error means that the asker has gone
		})
	}
	mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		refuse(w, fault.New("control", fault.Unsupported, "this dfsd does not know %s %s", r.Method, r.URL.Path))
	})
	serveProfiles(mux)
	return mux
}

func readQuestion(w http.ResponseWriter, r *http.Request) (question, error) {
	var q question
	// The answer may take long, the question may not.
	rc := http.NewResponseController(w)
	rc.SetReadDeadline(time.Now().Add(askWithin)) // an error of it only says that there are no deadlines
	defer rc.SetReadDeadline(time.Time{})
	d := json.NewDecoder(http.MaxBytesReader(w, r.Body, askMax))
	d.DisallowUnknownFields()
	if err := d.Decode(&q); err != nil {
		var big *http.MaxBytesError
		if errors.As(err, &big) {
			return q, fault.New("control", fault.TooBig, "a question has at most %d bytes", askMax)
		}
		return q, fault.Because("control", fault.Invalid, err)
	}
	if _, err := d.Token(); err != io.EOF {
		return q, fault.New("control", fault.Invalid, "one question a request")
	}
	return q, nil
}

func refuse(w http.ResponseWriter, err error) {
	f := refusal{Kind: fault.KindOf(err), Detail: err.Error(), Next: fault.NextStep(err)}
	err = fault.Plain(err)
	if e, ok := err.(*fault.Error); ok {
		f.Op, f.Detail = e.Op, e.Detail
		if e.Err != nil {
			f.Detail = joined(e.Detail, e.Err.Error())
		}
	}
	// The other end puts the kind behind the detail, as fault.Error does.
	f.Detail = strings.TrimSuffix(strings.TrimSuffix(f.Detail, f.Kind.String()), ": ")
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(http.StatusUnprocessableEntity)
	json.NewEncoder(w).Encode(f) // an error means that the asker has gone
}

func joined(a, b string) string {
	if a == "" {
		return b
	}
	return a + ": " + b
}

// wait returns when what q asks for holds. It looks again every waitPoll: the states it waits for come from many
// sources, and a tenth of a second is soon enough for people and scripts.
func (c *control) wait(ctx context.Context, q question) error {
	if q.Timeout > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, q.Timeout)
		defer cancel()
	}
	tick := time.NewTicker(waitPoll)
	defer tick.Stop()
	for {
		ok, why, err := c.holds(ctx, q)
		if ok {
			return nil
		}
		if err != nil && ctx.Err() == nil {
			return err
		}
		select {
		case <-ctx.Done():
			return fault.New("wait "+q.Text, fault.Timeout, "%s", why)
		case <-tick.C:
		}
	}
}

// holds reports whether q's state is reached and, if not, why.
func (c *control) holds(ctx context.Context, q question) (ok bool, why string, err error) {
	if q.Text == WaitDurable {
		ok, err = c.node.Durable(ctx, string(q.Path))
		return ok, string(q.Path) + " is not yet synced on all its peers", err
	}
	s, err := c.status(ctx)
	switch {
	case err != nil:
		return false, err.Error(), err
	case q.Text == WaitReady:
		return s.Self.Ready, joined("the mount does not serve yet", s.Self.Reason), nil
	case q.Text == WaitHealthy:
		return s.Cluster.Health == Healthy, joined("the cluster is "+s.Cluster.Health, s.Cluster.Reason), nil
	}
	return false, "", fault.New("wait", fault.Invalid, "%q: wait for ready, healthy or durable PATH", q.Text)
}
