package main

import (
	"context"
	"fmt"
	"io"
	"time"

	"github.com/spf13/cobra"

	"dfs/cluster/admin"
	"dfs/cluster/fault"
	"dfs/cmd/internal/cli"
)

const watchEvery = time.Second

func (x *ctl) status() *cobra.Command {
	c := &cobra.Command{
		Use:   "status",
		Short: "how the cluster is; exit code 6 unless healthy",
		Args:  cobra.NoArgs,
	}
	watch := c.Flags().Bool("watch", false, "again every second")
	c.RunE = func(c *cobra.Command, _ []string) error {
		client, err := x.client(c)
		if err != nil {
			return err
		}
		if !*watch {
			return x.showStatus(c, client)
		}
		tick := time.NewTicker(watchEvery)
		defer tick.Stop()
		for {
			if !x.json {
				fmt.Fprint(c.OutOrStdout(), "\033[H\033[2J")
			}
			if err := x.showStatus(c, client); err != nil && cli.ExitCode(err) != cli.Degraded {
				cli.PrintError(c.ErrOrStderr(), "dfsctl", err)
			}
			select {
			case <-c.Context().Done():
				return nil
			case <-tick.C:
			}
		}
	}
	return c
}

func (x *ctl) showStatus(c *cobra.Command, client *admin.Client) error {
	ctx, cancel := context.WithTimeout(c.Context(), 10*time.Second)
	defer cancel()
	st, err := client.Status(ctx)
	if err != nil {
		return notRunning(client, err)
	}
	if err := x.answer(c, st, func(w io.Writer) { statusText(w, st) }); err != nil {
		return err
	}
	if st.Cluster.Health != admin.Healthy {
		return cli.Code(cli.Degraded)
	}
	return nil
}

func statusText(w io.Writer, st admin.Status) {
	fmt.Fprintf(w, "%s is %s", st.Cluster.Name, st.Cluster.Health)
	if st.Cluster.Reason != "" {
		fmt.Fprintf(w, ": %s", st.Cluster.Reason)
	}
	fmt.Fprintln(w)
	fmt.Fprintf(w, "this is %s", st.Self.Name)
	if st.Self.Mount != "" {
		fmt.Fprintf(w, ", mounted at %s", st.Self.Mount)
	}
	if !st.Self.Ready {
		fmt.Fprintf(w, ", which does not serve now")
		if st.Self.Reason != "" && st.Self.Reason != st.Cluster.Reason {
			fmt.Fprintf(w, " (%s)", st.Self.Reason)
		}
	}
	fmt.Fprintln(w)
	fmt.Fprintln(w)
	peersText(w, st)
	fmt.Fprintf(w, "\ncopies %d", st.Cluster.Copies)
	if st.Repair.ExtentsBelowTarget > 0 {
		fmt.Fprintf(w, "; below that: %d extents, %s", st.Repair.ExtentsBelowTarget, admin.Bytes(st.Repair.BytesBelowTarget))
		if st.Repair.Running {
			fmt.Fprint(w, ", being copied")
		}
	}
	if st.PendingBytes > 0 {
		fmt.Fprintf(w, "; waiting to be placed: %s", admin.Bytes(st.PendingBytes))
	}
	fmt.Fprintln(w)
}

func peersText(w io.Writer, st admin.Status) {
	fmt.Fprintln(w, "PEER\tID\tSTATE\tROLE\tZONE\tSTORED\tCAPACITY\tLATENCY\tADDRESS")
	for _, p := range st.Peers {
		role := "learner"
		if p.Voter {
			role = "voter"
		}
		if p.ID == st.Cluster.Leader {
			role = "leader"
		}
		latency := "-"
		if p.LatencyNS > 0 {
			latency = time.Duration(p.LatencyNS).Round(10 * time.Microsecond).String()
		}
		fmt.Fprintf(w, "%s\t%.7s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\n", p.Name, p.ID, p.State, role, dash(p.Zone),
			admin.Bytes(p.StoredBytes), admin.Bytes(p.CapacityBytes), latency, p.Addr)
	}
}

func dash(s string) string {
	if s == "" {
		return "-"
	}
	return s
}

func (x *ctl) wait() *cobra.Command {
	c := &cobra.Command{
		Use:   "wait ready|healthy|durable PATH",
		Short: "return once it is so",
		Long: `wait returns with 0 once the state is reached, with 5 when --timeout has passed.

  ready         this mount serves reads and writes
  healthy       every member alive, voters at their target number, nothing below its copies
  durable PATH  everything of PATH synced on as many peers as its layout asks for

ready also waits for a daemon that is just starting.`,
		Args: cobra.RangeArgs(1, 2),
	}
	timeout := c.Flags().String("timeout", "60s", "how long to wait; 0 for ever")
	c.RunE = func(c *cobra.Command, args []string) error {
		d, err := cli.ParseDuration(*timeout)
		if err != nil {
			return err
		}
		if (len(args) == 2) != (args[0] == admin.WaitDurable) || args[0] != admin.WaitReady &&
			args[0] != admin.WaitHealthy && args[0] != admin.WaitDurable {
			return fault.New("wait", fault.Invalid, "wait for ready, healthy or durable PATH")
		}
		client, path := (*admin.Client)(nil), ""
		if len(args) == 2 {
			client, path, err = x.forPath(c, args[1])
		} else {
			client, err = x.client(c)
		}
		if err != nil {
			return err
		}
		if err := waitFor(c.Context(), client, args[0], path, d); err != nil {
			return notRunning(client, err)
		}
		doc := struct {
			Schema int    `json:"schema"`
			State  string `json:"state"`
		}{admin.Schema, args[0]}
		return x.answer(c, doc, func(w io.Writer) { fmt.Fprintln(w, args[0]) })
	}
	return c
}

// waitFor asks the daemon to wait. A daemon that is not there (yet, or for a moment) is asked again until time is up.
func waitFor(ctx context.Context, client *admin.Client, what, path string, timeout time.Duration) error {
	if timeout > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, timeout)
		defer cancel()
	}
	for {
		left := time.Duration(0)
		if end, ok := ctx.Deadline(); ok {
			left = max(time.Until(end), time.Millisecond)
		}
		_, err := client.Status(ctx)
		if err == nil {
			if err = client.Wait(ctx, what, path, left); fault.KindOf(err) != fault.Unreachable {
				return err
			}
		}
		again := time.NewTimer(100 * time.Millisecond)
		select {
		case <-ctx.Done():
			again.Stop()
			return fault.New("wait "+what, fault.Timeout, "%v", err)
		case <-again.C:
		}
	}
}

func (x *ctl) token() *cobra.Command {
	create := &cobra.Command{
		Use:   "create",
		Short: "a token that lets machines join",
		Args:  cobra.NoArgs,
	}
	ttl := create.Flags().String("ttl", "24h", "how long it is valid")
	uses := create.Flags().Int("uses", 0, "how many machines may join with it; 0 is any number")
	create.RunE = func(c *cobra.Command, _ []string) error {
		d, err := cli.ParseDuration(*ttl)
		if err != nil {
			return err
		}
		if d <= 0 || *uses < 0 {
			return fault.New("token create", fault.Invalid, "--ttl is above zero, --uses not below")
		}
		client, err := x.client(c)
		if err != nil {
			return err
		}
		t, err := client.CreateToken(c.Context(), admin.TokenAsk{TTL: d, Uses: *uses})
		if err != nil {
			return notRunning(client, err)
		}
		return x.answer(c, t, func(w io.Writer) { fmt.Fprintln(w, t.Text) })
	}
	list := &cobra.Command{Use: "list", Short: "the tokens that are valid", Args: cobra.NoArgs}
	list.RunE = func(c *cobra.Command, _ []string) error {
		client, err := x.client(c)
		if err != nil {
			return err
		}
		ts, err := client.Tokens(c.Context())
		if err != nil {
			return notRunning(client, err)
		}
		if ts == nil {
			ts = []admin.Token{}
		}
		doc := struct {
			Schema int           `json:"schema"`
			Tokens []admin.Token `json:"tokens"`
		}{admin.Schema, ts}
		return x.answer(c, doc, func(w io.Writer) {
			fmt.Fprintln(w, "TOKEN\tEXPIRES\tUSES LEFT")
			for _, t := range ts {
				left := "any"
				if t.Uses > 0 {
					left = fmt.Sprint(t.Uses)
				}
				fmt.Fprintf(w, "%s\t%s\t%s\n", t.ID, t.Expires.Local().Format(time.DateTime), left)
			}
		})
	}
	revoke := &cobra.Command{Use: "revoke ID", Short: "make a token worthless", Args: cobra.ExactArgs(1)}
	revoke.RunE = func(c *cobra.Command, args []string) error {
		client, err := x.client(c)
		if err != nil {
			return err
		}
		if err := client.RevokeToken(c.Context(), args[0]); err != nil {
			return cli.Hint(notRunning(client, err), "dfsctl token list")
		}
		doc := struct {
			Schema  int    `json:"schema"`
			Revoked string `json:"revoked"`
		}{admin.Schema, args[0]}
		return x.answer(c, doc, func(w io.Writer) { fmt.Fprintf(w, "revoked %s\n", args[0]) })
	}
	return cli.Group(&cobra.Command{Use: "token", Short: "what lets machines join"}, create, list, revoke)
}
