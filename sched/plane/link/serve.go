package link

import (
	"encoding/json"
	"io"
	"net/http"
	"strconv"
	"time"

	"dfs/cluster/admin"
	"dfs/cluster/fault"
	"dfs/sched/plane"
)

const (
	bodyMax   = 2 << 20
	beatEvery = time.Second // a line of the news at least: both ends notice a way that is broken
	ageHeader = "Dfs-Age"   // of an answer, nanoseconds
)

// Serve answers a Dial for l.
func Serve(l Log) http.Handler {
	mux := http.NewServeMux()
	handle := func(path string, answer func(w http.ResponseWriter, r *http.Request, body []byte) ([]byte, error)) {
		mux.HandleFunc("POST "+path, func(w http.ResponseWriter, r *http.Request) {
			body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, bodyMax))
			if err != nil {
				admin.Refuse(w, fault.Because("plane", fault.TooBig, err))
				return
			}
			admin.Asked(w)
			out, err := answer(w, r, body)
			if err != nil {
				admin.Refuse(w, err)
				return
			}
			w.Write(out) // an error means that the asker has gone
		})
	}
	handle("/propose", func(_ http.ResponseWriter, r *http.Request, body []byte) ([]byte, error) {
		op, err := plane.Decode(body)
		if err != nil {
			return nil, err
		}
		res, err := propose(r, l, op)
		return plane.EncodeResult(res), err
	})
	handle("/ask", func(w http.ResponseWriter, r *http.Request, body []byte) ([]byte, error) {
		a, err := plane.DecodeAsk(body)
		if err != nil {
			return nil, err
		}
		if r.URL.Query().Has("peer") {
			reply, err := l.AskAt(r.Context(), r.URL.Query().Get("peer"), a)
			return plane.EncodeReply(reply), err
		}
		reply, age, err := l.Ask(r.Context(), a, r.URL.Query().Has("fresh"))
		w.Header().Set(ageHeader, strconv.FormatInt(int64(age), 10))
		return plane.EncodeReply(reply), err
	})
	mux.HandleFunc("GET /self", func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, l.Self()) })
	mux.HandleFunc("GET /news", func(w http.ResponseWriter, r *http.Request) {
		admin.Asked(w)
		news(w, r, l)
	})
	return admin.Hurry(mux)
}

func propose(r *http.Request, l Log, op plane.Op) (plane.Result, error) {
	if !r.URL.Query().Has("peer") {
		return l.Propose(r.Context(), op)
	}
	c, ok := op.(*plane.Commit)
	if !ok {
		return plane.Result{}, fault.New("plane", fault.Unsupported, "a peer's own memory has only keys and values")
	}
	return l.ProposeAt(r.Context(), r.URL.Query().Get("peer"), c)
}

// item is one line of the news.
type item struct {
	All    bool     `json:"all,omitempty"`
	Topics []string `json:"topics,omitempty"`
}

// news tells what changes until the follower has gone.
func news(w http.ResponseWriter, r *http.Request, l Log) {
	told := make(chan item)
	ended := make(chan struct{})
	go func() { // owned by this request: it ends with its context
		defer close(ended)
		_ = l.Follow(r.Context(), func(topics []string) {
			select {
			case told <- item{All: topics == nil, Topics: topics}:
			case <-r.Context().Done():
			}
		})
	}()
	tick := time.NewTicker(beatEvery)
	defer tick.Stop()
	out, flush := json.NewEncoder(w), http.NewResponseController(w)
	for {
		var i item
		select {
		case i = <-told:
		case <-tick.C:
		case <-ended:
			return
		}
		if out.Encode(i) != nil || flush.Flush() != nil {
			break
		}
	}
	<-ended
}
