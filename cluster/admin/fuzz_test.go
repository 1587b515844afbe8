package admin

import (
	"context"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

// FuzzQuestion: whatever is asked on the control socket, the answer is an answer or a refusal that says its kind.
func FuzzQuestion(f *testing.F) {
	f.Add("where", `{"path":"/a"}`)
	f.Add("nothing", `{}`)
	f.Add("status", `{"token":{"ttl_ns":-1}}`)
	c := &control{node: nobody{}, status: nobody{}.Status, stop: func() {}}
	h := c.handler()
	f.Fuzz(func(t *testing.T, verb, body string) {
		if strings.ContainsFunc(verb, func(r rune) bool { return r <= ' ' || r >= 0x7f || strings.ContainsRune("%?#/\\.", r) }) {
			return
		}
		w := httptest.NewRecorder()
		h.ServeHTTP(w, httptest.NewRequest(http.MethodPost, "/v1/"+verb, strings.NewReader(body)))
		var r refusal
		if w.Code != http.StatusOK && (w.Code != http.StatusUnprocessableEntity || json.Unmarshal(w.Body.Bytes(), &r) != nil) {
			t.Errorf("%s %q: %d %s", verb, body, w.Code, w.Body)
		}
	})
}

// nobody is a node without a cluster.
type nobody struct{}

func (nobody) Status(context.Context) (Status, error) { // nothing to wait for
	return Status{Cluster: ClusterStatus{Health: Healthy}, Self: SelfStatus{Ready: true}}, nil
}
func (nobody) RemovePeer(context.Context, RemoveAsk) (Removal, error)    { return Removal{}, nil }
func (nobody) PeerInfo(context.Context, string) (PeerInfo, error)        { return PeerInfo{}, nil }
func (nobody) Where(context.Context, string) (Where, error)              { return Where{}, nil }
func (nobody) Stat(context.Context, string) (FileStat, error)            { return FileStat{}, nil }
func (nobody) Layout(context.Context, string) (Layout, error)            { return Layout{}, nil }
func (nobody) SetLayout(context.Context, string, string) (Layout, error) { return Layout{}, nil }
func (nobody) CreateToken(context.Context, TokenAsk) (Token, error)      { return Token{}, nil }
func (nobody) Tokens(context.Context) ([]Token, error)                   { return nil, nil }
func (nobody) RevokeToken(context.Context, string) error                 { return nil }
func (nobody) Durable(context.Context, string) (bool, error)             { return true, nil }
func (nobody) Unmount(context.Context) error                             { return nil }
func (nobody) Leave(context.Context) error                               { return nil }
func (nobody) Scrub(context.Context, string) (Scrub, error)              { return Scrub{}, nil }
func (nobody) Fsck(context.Context, string, bool) (Fsck, error)          { return Fsck{}, nil }
func (nobody) Events(context.Context, uint64) (Events, error)            { return Events{}, nil }
func (nobody) Locks(context.Context, string) (Locks, error)              { return Locks{}, nil }
func (nobody) Metrics() []Metric                                         { return nil }
