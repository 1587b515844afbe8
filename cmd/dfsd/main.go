// Command dfsd runs one peer of a dfs cluster: the mount, the block store and the metadata.
//
// `dfsd up` stays in the foreground and watches two processes: the daemon itself (`dfsd serve`, which nobody needs to
// call) and the sidecar, dfsplane. The watching process holds no mount, no data and no locks of the cluster, so that
// the end of either of the two is never its own.
//
// Files it keeps in the data directory, beside those of the daemon: flags.json (what `up` was told), up.lock and
// serve.lock (held by the two processes, each with its process id), http.key (only where the dashboard is reachable
// from other machines).
package main

import (
	"context"
	"os"
	"os/signal"
	"syscall"

	"github.com/spf13/cobra"

	"dfs/cmd/internal/cli"
)

// version is set when a release is built.
var version = "0.1.0"

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	code := cli.Main(ctx, root(), os.Stderr)
	stop()
	os.Exit(code)
}

func root() *cobra.Command {
	c := &cobra.Command{
		Use:   "dfsd",
		Short: "one drive made of many machines: the daemon of one of them",
		Long: `dfsd makes this machine a peer of a dfs cluster.

  dfsd up --mount ~/dfs             create a cluster, or start this peer again
  dfsd join TOKEN --mount ~/dfs     join one from another machine
  dfsd dev --peers 3 --dir run      a whole cluster on this machine, to try it

Settings come from flags, else DFS_* variables, else dfsd.toml in the data directory, else what an earlier start
there was told. Ask a running peer with dfsctl.`,
	}
	c.CompletionOptions.DisableDefaultCmd = true
	return cli.Group(c, upCommand(), joinCommand(), leaveCommand(), devCommand(), doctorCommand(), versionCommand(), serveCommand(), guardCommand())
}
