package admin

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net"
	"net/http"
	"time"

	"dfs/cluster/fault"
)

// Client asks a daemon through its control socket. Methods are those of Node. Safe for concurrent use.
type Client struct {
	data string
	http http.Client
}

// NewClient returns a client for the daemon of a data directory. Nothing is dialled before the first question.
func NewClient(data string) *Client {
	c := &Client{data: data}
	c.http.Transport = &http.Transport{
		DialContext:        func(ctx context.Context, _, _ string) (net.Conn, error) { return Dial(ctx, data, SocketName) },
		DisableCompression: true,
		MaxIdleConns:       2,
		IdleConnTimeout:    time.Minute,
	}
	return c
}

// Data returns the data directory.
func (c *Client) Data() string { return c.data }

func (c *Client) Status(ctx context.Context) (s Status, err error) {
	return s, c.ask(ctx, "status", question{}, &s)
}

func (c *Client) Where(ctx context.Context, path string) (Where, error) {
	return AllOf(func(from int64) (w Where, err error) {
		return w, c.ask(ctx, "where", question{Path: Path(path), From: from}, &w)
	})
}

func (c *Client) Stat(ctx context.Context, path string) (s FileStat, err error) {
	return s, c.ask(ctx, "stat", question{Path: Path(path)}, &s)
}

func (c *Client) Layout(ctx context.Context, path string) (l Layout, err error) {
	return l, c.ask(ctx, "layout", question{Path: Path(path)}, &l)
}

func (c *Client) SetLayout(ctx context.Context, path, text string) (l Layout, err error) {
	return l, c.ask(ctx, "setlayout", question{Path: Path(path), Text: text}, &l)
}

func (c *Client) CreateToken(ctx context.Context, a TokenAsk) (t Token, err error) {
	return t, c.ask(ctx, "token", question{Token: &a}, &t)
}

func (c *Client) Tokens(ctx context.Context) (ts []Token, err error) {
	return ts, c.ask(ctx, "tokens", question{}, &ts)
}

func (c *Client) RevokeToken(ctx context.Context, id string) error {
	return c.ask(ctx, "revoke", question{Text: id}, nil)
}

func (c *Client) Durable(ctx context.Context, path string) (ok bool, err error) {
	return ok, c.ask(ctx, "durable", question{Path: Path(path)}, &ok)
}

// Wait returns once the daemon is ready, healthy, or path durable. fault.Timeout after timeout; 0 is for ever.
func (c *Client) Wait(ctx context.Context, what, path string, timeout time.Duration) error {
	return c.ask(ctx, "wait", question{Text: what, Path: Path(path), Timeout: timeout}, nil)
}

func (c *Client) Locks(ctx context.Context, path string) (l Locks, err error) {
	return l, c.ask(ctx, "locks", question{Path: Path(path)}, &l)
}

func (c *Client) Unmount(ctx context.Context) error { return c.ask(ctx, "unmount", question{}, nil) }

func (c *Client) Leave(ctx context.Context) error { return c.ask(ctx, "leave", question{}, nil) }

func (c *Client) RemovePeer(ctx context.Context, ask RemoveAsk) (r Removal, err error) {
	return r, c.ask(ctx, "remove", question{Remove: &ask}, &r)
}

func (c *Client) PeerInfo(ctx context.Context, peer string) (p PeerInfo, err error) {
	return p, c.ask(ctx, "peer", question{Text: peer}, &p)
}

// Stop asks the daemon to end as on SIGTERM. It returns before the daemon has ended.
func (c *Client) Stop(ctx context.Context) error { return c.ask(ctx, "stop", question{}, nil) }

// ask sends q and decodes the answer into doc, unless that is nil. Errors keep the kind they had in the daemon.
func (c *Client) ask(ctx context.Context, verb string, q question, doc any) error {
	body, err := json.Marshal(q)
	if err != nil {
		return fault.Because(verb, fault.Invalid, err)
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://control/v1/"+verb, bytes.NewReader(body))
	if err != nil {
		return fault.Because(verb, fault.Invalid, err)
	}
	resp, err := c.http.Do(req)
	if err != nil {
		return transportError(ctx, verb, err)
	}
	defer resp.Body.Close()
	d := json.NewDecoder(io.LimitReader(resp.Body, answerMax))
	if resp.StatusCode != http.StatusOK {
		return RefusalOf(verb, resp)
	}
	if doc == nil {
		return nil
	}
	if err := d.Decode(doc); err != nil {
		return transportError(ctx, verb, err)
	}
	return nil
}

func transportError(ctx context.Context, verb string, err error) error {
	var e *fault.Error
	switch {
	case errors.As(err, &e):
		return e
	case errors.Is(ctx.Err(), context.DeadlineExceeded):
		return fault.New(verb, fault.Timeout, "the daemon did not answer in time")
	case ctx.Err() != nil:
		return fault.Because(verb, fault.Canceled, ctx.Err())
	}
	return fault.New(verb, fault.Unreachable, "the daemon ended before it answered")
}
