// Command dfsplane is the control plane beside dfsd: the process that runs other people's programs, so that the one
// with the mount never has to.
//
// `dfsd up` starts it and starts it again. On the unix socket DATA/plane.sock (mode 0600) it serves what package sched/control
// has: shared memory, queues, semaphores, a bank of resources, simulated memories, deadlocks; and GET /health. It keeps
// nothing: the state is in the daemon, behind the log, at DATA/machine.sock. It ends on SIGTERM, on SIGINT, and when its
// supervisor does. Tasks come later.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net"
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
	"dfs/sched/control"
	"dfs/sched/plane/link"
)

// Names in the data directory.
const (
	socketName = control.SocketName
	lockName   = "plane.lock"
)

const connsMax = 1024 // most of them wait

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
		Long: `dfsplane is started by "dfsd up" and runs beside the daemon, in a process of its own. It serves shared memory,
queues, semaphores, resources and simulated memories on DATA/plane.sock; dfsctl kv|queue|sem|bank|mem|deadlock use it.
It keeps nothing of its own. Tasks come in later versions.`,
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
	logger := slog.New(slog.NewTextHandler(os.Stderr, nil))
	service := control.New(link.Dial(data), logger)
	service.Register(mux)
	ctx, stop := context.WithCancel(ctx)
	served := make(chan error, 1)
	go func() { served <- service.Run(ctx) }()
	defer func() { <-served }()
	defer stop()
	s := &http.Server{
		Handler: admin.Hurry(mux), BaseContext: func(net.Listener) context.Context { return ctx },
		ErrorLog: slog.NewLogLogger(logger.Handler(), slog.LevelDebug),
	}
	admin.BoundTo(s, connsMax)
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
