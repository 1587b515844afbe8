package main

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"dfs/cluster/admin"
	"dfs/cluster/fault"
)

func TestHealth(t *testing.T) {
	data := t.TempDir()
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- run(ctx, data) }()

	client := http.Client{Transport: &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		for {
			c, err := admin.Dial(ctx, data, socketName)
			if err == nil || ctx.Err() != nil {
				return c, err
			}
		}
	}}}
	resp, err := client.Get("http://plane/health")
	if err != nil {
		t.Fatal(err)
	}
	text, _ := io.ReadAll(resp.Body)
	resp.Body.Close()
	if resp.StatusCode != http.StatusOK || !strings.Contains(string(text), `"health":"healthy"`) {
		t.Errorf("%s %s", resp.Status, text)
	}
	canceled, cancel := context.WithCancel(t.Context())
	cancel()
	if err := run(canceled, data); !errors.Is(err, fault.Busy) {
		t.Errorf("a second one: %v", err)
	}
	stop()
	if err := <-ended; err != nil {
		t.Error(err)
	}
	if _, err := os.Stat(filepath.Join(data, socketName)); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the socket is left: %v", err)
	}
}
