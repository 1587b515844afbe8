package link

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"sync/atomic"
	"time"

	"dfs/cluster/admin"
	"dfs/cluster/fault"
	"dfs/sched/plane"
)

const (
	connsMax  = 64
	answerMax = 256 << 20
	lineMax   = 1 << 20
)

// Remote is a Log in another process.
type Remote struct {
	http http.Client
	self atomic.Pointer[string]
}

var _ Log = (*Remote)(nil)

// Dial returns the Log of the daemon of a data directory. Nothing is dialled before the first question.
func Dial(data string) *Remote {
	r := &Remote{}
	r.http.Transport = &http.Transport{
		DialContext:         func(ctx context.Context, _, _ string) (net.Conn, error) { return admin.Dial(ctx, data, SocketName) },
		DisableCompression:  true,
		MaxConnsPerHost:     connsMax,
		MaxIdleConns:        connsMax,
		MaxIdleConnsPerHost: connsMax,
		IdleConnTimeout:     20 * time.Second, // below what the other end allows
	}
	return r
}

// Propose implements Log.
func (r *Remote) Propose(ctx context.Context, op plane.Op) (plane.Result, error) {
	return r.propose(ctx, "/propose", op)
}

// ProposeAt implements Log.
func (r *Remote) ProposeAt(ctx context.Context, peer string, op *plane.Commit) (plane.Result, error) {
	return r.propose(ctx, "/propose?peer="+url.QueryEscape(peer), op)
}

func (r *Remote) propose(ctx context.Context, path string, op plane.Op) (plane.Result, error) {
	if err := plane.Check(op); err != nil {
		return plane.Result{}, err
	}
	b, _, err := r.post(ctx, path, plane.Encode(op))
	if err != nil {
		return plane.Result{}, err
	}
	return plane.DecodeResult(b)
}

// Ask implements Log.
func (r *Remote) Ask(ctx context.Context, a plane.Ask, fresh bool) (plane.Reply, time.Duration, error) {
	path := "/ask"
	if fresh {
		path += "?fresh"
	}
	return r.ask(ctx, path, a)
}

// AskAt implements Log.
func (r *Remote) AskAt(ctx context.Context, peer string, a plane.Ask) (plane.Reply, error) {
	reply, _, err := r.ask(ctx, "/ask?peer="+url.QueryEscape(peer), a)
	return reply, err
}

func (r *Remote) ask(ctx context.Context, path string, a plane.Ask) (plane.Reply, time.Duration, error) {
	b, h, err := r.post(ctx, path, plane.EncodeAsk(a))
	if err != nil {
		return plane.Reply{}, 0, err
	}
	age, _ := strconv.ParseInt(h.Get(ageHeader), 10, 64) // absent: 0
	reply, err := plane.DecodeReply(b)
	return reply, time.Duration(age), err
}

// post asks, and returns the answer.
func (r *Remote) post(ctx context.Context, path string, body []byte) ([]byte, http.Header, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://machine"+path, bytes.NewReader(body))
	if err != nil {
		return nil, nil, fault.Because("plane", fault.Invalid, err)
	}
	resp, err := r.http.Do(req)
	if err != nil {
		return nil, nil, broken(ctx, err)
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return nil, nil, admin.RefusalOf("plane", resp)
	}
	b, err := io.ReadAll(io.LimitReader(resp.Body, answerMax))
	if err != nil {
		return nil, nil, broken(ctx, err)
	}
	return b, resp.Header, nil
}

// Self implements Log. "" while the daemon does not answer.
func (r *Remote) Self() string {
	if s := r.self.Load(); s != nil {
		return *s
	}
	resp, err := r.http.Get("http://machine/self")
	if err != nil {
		return ""
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(io.LimitReader(resp.Body, plane.NameMax))
	name := string(b)
	if err == nil && resp.StatusCode == http.StatusOK {
		r.self.Store(&name)
	}
	return name
}

// Follow implements Log.
func (r *Remote) Follow(ctx context.Context, fn func([]string)) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://machine/news", nil)
	if err != nil {
		return fault.Because("plane news", fault.Invalid, err)
	}
	resp, err := r.http.Do(req)
	if err != nil {
		return broken(ctx, err)
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return admin.RefusalOf("plane news", resp)
	}
	silent := time.AfterFunc(3*beatEvery, cancel)
	defer silent.Stop()
	lines := bufio.NewScanner(resp.Body)
	lines.Buffer(nil, lineMax)
	for lines.Scan() {
		silent.Reset(3 * beatEvery)
		var i item
		if err := json.Unmarshal(lines.Bytes(), &i); err != nil {
			return fault.Because("plane news", fault.Invalid, err)
		}
		if i.All {
			fn(nil)
		} else if len(i.Topics) > 0 {
			fn(i.Topics)
		}
	}
	return broken(ctx, lines.Err())
}

// broken says what a failed exchange means: nobody knows whether what was asked has happened.
func broken(ctx context.Context, err error) error {
	var e *fault.Error
	switch {
	case errors.As(err, &e) && errors.Is(err, fault.NotExist):
		return fault.New("plane", fault.Unreachable, "the daemon does not run, or is just starting")
	case errors.As(err, &e):
		return e
	case errors.Is(ctx.Err(), context.DeadlineExceeded):
		return fault.New("plane", fault.Timeout, "the cluster did not answer in time")
	case ctx.Err() != nil:
		return fault.Because("plane", fault.Canceled, ctx.Err())
	}
	return fault.New("plane", fault.Unreachable, "the daemon ended before it answered")
}
