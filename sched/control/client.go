package control

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net"
	"net/http"

	"dfs/cluster/admin"
	"dfs/cluster/fault"
)

// SocketName is the sidecar's socket in the data directory.
const SocketName = "plane.sock"

const answerMax = 256 << 20

// Client asks the sidecar of a data directory. Safe for concurrent use.
type Client struct {
	data string
	http http.Client
}

// NewClient returns a client. Nothing is dialled before the first question.
func NewClient(data string) *Client {
	c := &Client{data: data}
	c.http.Transport = &http.Transport{
		DialContext:        func(ctx context.Context, _, _ string) (net.Conn, error) { return admin.Dial(ctx, data, SocketName) },
		DisableCompression: true,
	}
	return c
}

// Ask asks NOUN/VERB and decodes the answer into doc. Errors keep the kind they had there. fault.Timeout and
// fault.Unreachable leave open what has happened.
func (c *Client) Ask(ctx context.Context, verb string, ask, doc any) error {
	body, err := json.Marshal(ask)
	if err != nil {
		return fault.Because(verb, fault.Invalid, err)
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://plane/v1/"+verb, bytes.NewReader(body))
	if err != nil {
		return fault.Because(verb, fault.Invalid, err)
	}
	resp, err := c.http.Do(req)
	if err == nil {
		defer resp.Body.Close()
		if resp.StatusCode != http.StatusOK {
			return admin.RefusalOf(verb, resp)
		}
		err = json.NewDecoder(io.LimitReader(resp.Body, answerMax)).Decode(doc)
	}
	return c.broken(ctx, verb, err)
}

// broken says what a failed exchange means.
func (c *Client) broken(ctx context.Context, verb string, err error) error {
	var e *fault.Error
	switch {
	case err == nil:
		return nil
	case errors.As(err, &e) && (errors.Is(err, fault.NotExist) || errors.Is(err, fault.Unreachable)):
		return fault.Advise(fault.New(verb, fault.Unreachable, "no sidecar runs on %s", c.data), "dfsd up --data %s (without --plane off)", c.data)
	case errors.As(err, &e):
		return e
	case errors.Is(ctx.Err(), context.DeadlineExceeded):
		return fault.New(verb, fault.Timeout, "the sidecar did not answer in time")
	case ctx.Err() != nil:
		return fault.Because(verb, fault.Canceled, ctx.Err())
	}
	return fault.New(verb, fault.Unreachable, "the sidecar ended before it answered")
}
