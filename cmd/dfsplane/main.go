// Command dfsplane is the control plane beside dfsd: the process that runs other people's programs, so that the one
// with the mount never has to.
//
// `dfsd up` starts it and starts it again. It answers GET /health on the unix socket DATA/plane.sock (mode 0600) and
// ends on SIGTERM, on SIGINT, and when its supervisor does. Its services (tasks, models of an operating system) come
// later.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"dfs/cluster/admin"
	"dfs/cluster/fault"
	"dfs/cmd/internal/cli"
)

// Names in the data directory.
const (
	socketName = "plane.sock"
	lockName   = "plane.lock"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	code := cli.Main(ctx, root(), os.Stderr)
	stop()
	os.Exit(code)
}

func root() *cobra.Command {
	c := &cobra.Command{
		Use:   "dfsplane",
		Short: "the control plane beside dfsd",
		Long: `dfsplane is started by "dfsd up" and runs beside the daemon, in a process of its own. It answers GET /health on
DATA/plane.sock. It has no services yet: tasks and the models of an operating system come in later versions.`,
		Args: cobra.NoArgs,
	}
	c.CompletionOptions.DisableDefaultCmd = true
	c.Flags().String("data", "", "the peer's data directory (default: the user's)")
	supervised := c.Flags().Bool("supervised", false, "end when standard input does")
	c.RunE = func(c *cobra.Command, _ []string) error {
		data, err := cli.ResolveData(c.Flags(), os.LookupEnv)
		if err != nil {
			return err
		}
		ctx, stop := context.WithCancel(c.Context())
		defer stop()
		if *supervised {
			// Owned by the process: it ends with standard input, that is with the supervisor.
			go func() {
				io.Copy(io.Discard, c.InOrStdin())
				stop()
			}()
		}
		return run(ctx, data)
	}
	return c
}

// run serves until ctx ends.
func run(ctx context.Context, data string) error {
	patience, cancel := context.WithTimeout(ctx, 5*time.Second) // a killed predecessor lets go of its lock
	lock, err := cli.TakeWithin(patience, filepath.Join(data, lockName))
	cancel()
	if err != nil {
		return err
	}
	defer lock.Release()
	l, err := admin.Listen(data, socketName)
	if err != nil {
		return err
	}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /health", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		json.NewEncoder(w).Encode(map[string]any{"schema": 1, "health": "healthy", "pid": os.Getpid()})
	})
	s := &http.Server{Handler: mux, ReadTimeout: 5 * time.Second, WriteTimeout: 5 * time.Second}
	admin.Bound(s)
	ended := make(chan error, 1)
	go func() { ended <- s.Serve(l) }()
	select {
	case err = <-ended:
	case <-ctx.Done():
		bound, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Second)
		if s.Shutdown(bound) != nil {
			s.Close()
		}
		cancel()
		err = <-ended
	}
	if errors.Is(err, http.ErrServerClosed) {
		return nil
	}
	return fault.Wrap("plane", err)
}
