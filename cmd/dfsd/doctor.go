package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"time"

	"github.com/spf13/cobra"

	"dfs/cluster/admin"
	"dfs/cluster/fault"
	"dfs/cmd/internal/cli"
)

// Below these the doctor complains.
const (
	diskMin   = 1 << 30
	memoryMin = 256 << 20
	filesMin  = 1024
)

// finding is one thing the doctor looked at. With a Problem there is a Fix.
type finding struct {
	Name    string `json:"name"`
	OK      bool   `json:"ok"`
	Note    string `json:"note,omitempty"`
	Problem string `json:"problem,omitempty"`
	Fix     string `json:"fix,omitempty"`
}

func good(name, format string, args ...any) finding {
	return finding{Name: name, OK: true, Note: fmt.Sprintf(format, args...)}
}

func bad(name, fix, format string, args ...any) finding {
	return finding{Name: name, Problem: fmt.Sprintf(format, args...), Fix: fix}
}

func doctorCommand() *cobra.Command {
	c := &cobra.Command{
		Use:   "doctor",
		Short: "look for what keeps dfs from working here: each problem with its fix",
		Long: `doctor looks at what a peer on this machine needs: FUSE, ports, disk, memory, clock, and what earlier peers left.
It takes the flags of "up", and changes nothing. Exit code 6 if it found a problem.`,
		Args: cobra.NoArgs,
	}
	cli.Flags(c.Flags())
	asJSON := c.Flags().Bool("json", false, "as JSON")
	c.RunE = func(c *cobra.Command, _ []string) error {
		data, err := cli.ResolveData(c.Flags(), os.LookupEnv)
		if err != nil {
			return err
		}
		cfg, _, err := cli.Resolve(data, c.Flags(), os.LookupEnv)
		if err != nil {
			return err
		}
		found := examine(c.Context(), cfg)
		problems := 0
		for _, f := range found {
			if !f.OK {
				problems++
			}
		}
		out := c.OutOrStdout()
		if *asJSON {
			if err := json.NewEncoder(out).Encode(map[string]any{"schema": 1, "problems": problems, "checks": found}); err != nil {
				return err
			}
		} else {
			printFindings(out, found, problems)
		}
		if problems > 0 {
			return cli.Code(cli.Degraded)
		}
		return nil
	}
	return c
}

func printFindings(out io.Writer, found []finding, problems int) {
	switch problems {
	case 0:
		fmt.Fprintln(out, "no problem found")
	case 1:
		fmt.Fprintln(out, "1 problem")
	default:
		fmt.Fprintf(out, "%d problems\n", problems)
	}
	for _, f := range found {
		if f.OK {
			fmt.Fprintf(out, "  ok       %-8s %s\n", f.Name, f.Note)
		} else {
			fmt.Fprintf(out, "  PROBLEM  %-8s %s\n           %-8s fix: %s\n", f.Name, f.Problem, "", f.Fix)
		}
	}
}

// examine looks at everything. It changes nothing.
func examine(ctx context.Context, cfg cli.Config) []finding {
	running := cli.Holder(filepath.Join(cfg.Data, serveLock)) != 0
	found := []finding{checkData(cfg.Data), checkDisk(cfg.Data), checkMemory(), checkFiles(), checkClock()}
	if !cfg.NoMount {
		found = append(found, checkFUSE(), checkMounts())
	}
	if !running && cfg.Mount != "" {
		found = append(found, checkPoint(cfg.Mount))
	}
	if running {
		return append(found, checkPeer(ctx, cfg.Data))
	}
	found = append(found, checkPort(ctx, "listen", cfg.Listen, true))
	if cfg.HTTP != "off" {
		found = append(found, checkPort(ctx, "http", cfg.HTTP, false))
	}
	if cfg.Plane != "off" {
		found = append(found, checkPort(ctx, "plane", cfg.Plane, false))
	}
	return found
}

// checkPeer asks the daemon that runs here.
func checkPeer(ctx context.Context, data string) finding {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	st, err := admin.NewClient(data).Status(ctx)
	switch {
	case err != nil:
		return bad("peer", "dfsd up, or look into its log", "it runs and does not answer: %v", err)
	case !st.Self.Ready:
		return bad("peer", "dfsctl wait ready --timeout 1m", "it does not serve: %s", st.Self.Reason)
	case st.Cluster.Health != admin.Healthy:
		return bad("peer", "dfsctl status", "the cluster is %s: %s", st.Cluster.Health, st.Cluster.Reason)
	}
	return good("peer", "%s of cluster %s runs", st.Self.Name, st.Cluster.Name)
}

// checkData looks at the data directory, or at where it would be made.
func checkData(data string) finding {
	if err := cli.CheckData(data); err != nil {
		return bad("data", fault.NextStep(err), "%v", fault.Plain(err))
	}
	info, err := os.Stat(data)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return good("data", "%s will be made", data)
	case err != nil:
		return bad("data", "choose another --data", "%v", err)
	case tooOpen(info):
		return bad("data", "chmod 700 "+data, "%s is open to other users (mode %04o)", data, info.Mode().Perm())
	}
	return good("data", "%s", data)
}

// checkPort tries to listen, as the peer will.
func checkPort(ctx context.Context, name, addr string, udp bool) finding {
	fix := fmt.Sprintf("end the program that has it, or dfsd up --%s HOST:0", name)
	var lc net.ListenConfig
	l, err := lc.Listen(ctx, "tcp", addr)
	if err != nil {
		return bad(name, fix, "%v", err)
	}
	l.Close()
	if udp {
		p, err := lc.ListenPacket(ctx, "udp", addr)
		if err != nil {
			return bad(name, fix, "%v", err)
		}
		p.Close()
		return good(name, "%s is free (TCP and UDP; a firewall must let both in)", addr)
	}
	return good(name, "%s is free", addr)
}
