// Command dfsctl asks and tells a running peer: noun, then verb.
//
// A path inside a mount selects that mount's cluster; else --data does, else the user's data directory. Everything is
// asked through the peer's control socket. --json prints the documents that scripts may rely on.
package main

import (
	"context"
	"encoding/json"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"dfs/cluster/admin"
	"dfs/cluster/fault"
	"dfs/cmd/internal/cli"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	code := cli.Main(ctx, root(&ctl{mounts: cli.Mounts}), os.Stderr)
	stop()
	os.Exit(code)
}

// ctl is what the commands share.
type ctl struct {
	json   bool
	mounts func() ([]cli.Mount, error)
}

func root(x *ctl) *cobra.Command {
	c := &cobra.Command{
		Use:   "dfsctl",
		Short: "ask and tell a dfs cluster",
		Long: `dfsctl asks and tells the peer that runs on this machine.

A path inside a mount selects its cluster; else --data DIR; else the user's data directory.
Exit codes: 0 ok, 1 failed, 2 usage, 3 not found, 4 refused, 5 timed out, 6 degraded, 7 conflict.`,
	}
	c.AddCommand(x.kv(), x.queue(), x.sem(), x.bank(), x.deadlock(), x.mem(), x.planeResume())

	c.PersistentFlags().String("data", "", "data directory of the peer to ask (default: the user's)")
	c.PersistentFlags().BoolVar(&x.json, "json", false, "print JSON")
	return cli.Group(c, x.status(), x.wait(), x.where(), x.stat(), x.peer(), x.layout(), x.token(), x.lock(), x.scrub(), x.repair(), x.fsck(), x.events(), x.sim())
}

// client returns the client for the peer that --data or the default selects.
func (x *ctl) client(c *cobra.Command) (*admin.Client, error) {
	data, err := cli.ResolveData(c.Flags(), os.LookupEnv)
	if err != nil {
		return nil, err
	}
	return admin.NewClient(data), nil
}

// forPath returns the client for the peer whose mount path lies in and the path within the drive. A path outside of
// all mounts is one of the drive that --data or the default selects.
func (x *ctl) forPath(c *cobra.Command, path string) (*admin.Client, string, error) {
	mounts, err := x.mounts()
	if err != nil {
		return nil, "", err
	}
	abs, err := filepath.Abs(path)
	if err != nil {
		return nil, "", fault.Because("path", fault.Invalid, err)
	}
	for _, p := range []string{resolved(abs), abs} {
		if m, inside, ok := cli.Containing(mounts, p); ok {
			return admin.NewClient(m.Data), inside, nil
		}
	}
	client, err := x.client(c)
	if err != nil {
		return nil, "", err
	}
	if !strings.HasPrefix(path, "/") || !c.Flags().Changed("data") && nobodyRuns(client) {
		err := fault.New(c.Name(), fault.NotExist, "%s lies in no drive that is mounted here", cli.Printable(path))
		if len(mounts) == 0 {
			return nil, "", cli.Hint(err, "dfsd up mounts one")
		}
		return nil, "", cli.Hint(err, "give a path below %s, or --data DIR and a path that begins with /", mounts[0].Point)
	}
	return client, filepath.ToSlash(filepath.Clean(path)), nil
}

// nobodyRuns reports whether there is no daemon to ask.
func nobodyRuns(client *admin.Client) bool {
	_, err := os.Stat(filepath.Join(client.Data(), admin.SocketName))
	return err != nil
}

// resolved follows the links in the directory of path; the last element may be a link and is meant itself.
func resolved(path string) string {
	dir, err := filepath.EvalSymlinks(filepath.Dir(path))
	if err != nil {
		return path
	}
	return filepath.Join(dir, filepath.Base(path))
}

// answer prints doc as JSON where that was asked for, else what text writes.
func (x *ctl) answer(c *cobra.Command, doc any, text func(w io.Writer)) error {
	out := c.OutOrStdout()
	if x.json {
		return json.NewEncoder(out).Encode(doc)
	}
	w := tabwriter.NewWriter(out, 0, 8, 2, ' ', 0)
	text(w)
	return w.Flush()
}

// notRunning adds the next step to errors of a peer that does not run.
func notRunning(client *admin.Client, err error) error {
	switch fault.KindOf(err) {
	case fault.NotExist, fault.Unreachable:
		if _, serr := os.Stat(filepath.Join(client.Data(), admin.SocketName)); serr != nil || fault.KindOf(err) == fault.Unreachable {
			return cli.Hint(err, "dfsd up --data %s", client.Data())
		}
	}
	return err
}
