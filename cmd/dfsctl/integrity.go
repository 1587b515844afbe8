package main

import (
	"context"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"dfs/cluster/admin"
	"dfs/cluster/fault"
	"dfs/cmd/internal/cli"
)

func (x *ctl) scrub() *cobra.Command {
	verb := func(use, verb, short string) *cobra.Command {
		c := &cobra.Command{Use: use, Short: short, Args: cobra.NoArgs}
		c.RunE = func(c *cobra.Command, _ []string) error {
			client, err := x.client(c)
			if err != nil {
				return err
			}
			doc, err := client.Scrub(c.Context(), verb)
			if err != nil {
				return notRunning(client, err)
			}
			if wait := c.Flags().Lookup("wait"); wait != nil && wait.Value.String() == "true" {
				if doc, err = awaitScrub(c, client); err != nil {
					return notRunning(client, err)
				}
			}
			return x.answer(c, doc, func(w io.Writer) { scrubText(w, doc) })
		}
		return c
	}
	start := verb("start", admin.ScrubStart, "verify everything now, on every peer")
	start.Flags().Bool("wait", false, "return when all is verified and healed")
	start.Flags().String("timeout", "0", "with --wait: how long; 0 for ever")
	return cli.Group(&cobra.Command{
		Use:   "scrub",
		Short: "verify what the peers hold",
		Long: `Every peer reads all its replicas once in two weeks, at 1 MiB/s or what that takes, compares each block with its
sum and its place, and has what is rotten or missing made whole from another peer. start does so now, at 64 MiB/s.`,
	}, start, verb("status", admin.ScrubStatus, "how far it is, and what it found"), verb("pause", admin.ScrubPause, "stop until start; the place is kept"))
}

// awaitScrub returns when no peer's scrub runs and nothing waits to be healed that can be.
func awaitScrub(c *cobra.Command, client *admin.Client) (doc admin.Scrub, err error) {
	text, _ := c.Flags().GetString("timeout")
	d, err := cli.ParseDuration(text)
	if err != nil {
		return doc, err
	}
	ctx := c.Context()
	if d > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, d)
		defer cancel()
	}
	tick := time.NewTicker(200 * time.Millisecond)
	defer tick.Stop()
	for {
		doc, err = client.Scrub(ctx, admin.ScrubStatus)
		busy := slices.ContainsFunc(doc.Peers, func(p admin.ScrubPeer) bool {
			return p.State != "idle" && p.State != "paused" || p.Pending > 0
		})
		if err == nil && !busy {
			return doc, nil
		}
		if err != nil && fault.KindOf(err) != fault.Unreachable {
			return doc, err
		}
		select {
		case <-ctx.Done():
			return doc, fault.New("scrub start", fault.Timeout, "it goes on; dfsctl scrub status shows how far it is")
		case <-tick.C:
		}
	}
}

func scrubText(w io.Writer, doc admin.Scrub) {
	fmt.Fprintln(w, "PEER\tSCRUB\tVERIFIED\tLEFT\tLAST WHOLE PASS\tBAD\tHEALED\tWAITING\tDAMAGED")
	for _, p := range doc.Peers {
		left := "-"
		if p.State == "running" {
			left = (time.Duration(p.ETA) * time.Second).String()
		}
		verified := fmt.Sprintf("%s of %s", admin.Bytes(p.Looked), admin.Bytes(p.Total))
		ended := "-"
		if !p.Ended.IsZero() {
			ended = p.Ended.Local().Format(time.DateTime)
		}
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\t%d\t%d\t%d\t%d\n", p.Name, p.State, verified, left, ended,
			p.Rotten+p.Missing, p.Healed+p.Retired, p.Waiting, p.Damaged)
	}
}

func (x *ctl) repair() *cobra.Command {
	status := &cobra.Command{Use: "status", Short: "what lies below its copies, what is bad and what was healed", Args: cobra.NoArgs}
	status.RunE = func(c *cobra.Command, _ []string) error {
		client, err := x.client(c)
		if err != nil {
			return err
		}
		st, err := client.Status(c.Context())
		if err != nil {
			return notRunning(client, err)
		}
		scrub, err := client.Scrub(c.Context(), admin.ScrubStatus)
		if err != nil {
			return notRunning(client, err)
		}
		doc := struct {
			Schema int                `json:"schema"`
			Repair admin.RepairStatus `json:"repair"`
			Peers  []admin.ScrubPeer  `json:"peers"`
		}{admin.Schema, st.Repair, scrub.Peers}
		return x.answer(c, doc, func(w io.Writer) {
			r := st.Repair
			if r.ExtentsBelowTarget == 0 && r.BadReplicas == 0 {
				fmt.Fprintln(w, "nothing to repair")
			}
			if r.ExtentsBelowTarget > 0 {
				fmt.Fprintf(w, "below their copies: %d extents, %s", r.ExtentsBelowTarget, admin.Bytes(r.BytesBelowTarget))
				if r.Running {
					fmt.Fprint(w, ", being copied")
				}
				fmt.Fprintln(w)
			}
			if r.BadReplicas > 0 {
				fmt.Fprintf(w, "rotten or missing replicas: %d, of which %d have no good replica left (dfsctl fsck)\n", r.BadReplicas, r.DamagedReplicas)
			}
			fmt.Fprintln(w)
			fmt.Fprintln(w, "PEER\tFOUND ROTTEN\tFOUND MISSING\tHEALED\tMADE ELSEWHERE\tWAITING\tDAMAGED")
			for _, p := range scrub.Peers {
				if p.State == "unreachable" {
					fmt.Fprintf(w, "%s\tunreachable\n", p.Name)
					continue
				}
				fmt.Fprintf(w, "%s\t%d\t%d\t%d\t%d\t%d\t%d\n", p.Name, p.Rotten, p.Missing, p.Healed, p.Retired, p.Waiting, p.Damaged)
			}
		})
	}
	return cli.Group(&cobra.Command{Use: "repair", Short: "copies that are missing, and replicas that are bad"}, status)
}

func (x *ctl) fsck() *cobra.Command {
	c := &cobra.Command{
		Use:   "fsck [PATH]",
		Short: "name the files that cannot be read",
		Long: `fsck has the peers read and verify every block of every file below PATH (default: the whole drive), and names what no
peer has a good replica of. Overwriting such a block heals it; so does a peer that comes back with it. Bad replicas
that it meets are healed. The exit code is 6 if anything is damaged.`,
		Args: cobra.MaximumNArgs(1),
	}
	quick := c.Flags().Bool("quick", false, "ask whether the blocks are there, without reading them")
	c.RunE = func(c *cobra.Command, args []string) error {
		client, path, err := (*admin.Client)(nil), "/", error(nil)
		if len(args) == 1 {
			client, path, err = x.forPath(c, args[0])
		} else {
			client, err = x.client(c)
		}
		if err != nil {
			return err
		}
		doc, err := client.Fsck(c.Context(), path, *quick)
		if err != nil {
			return notRunning(client, err)
		}
		if err := x.answer(c, doc, func(w io.Writer) { fsckText(w, doc) }); err != nil {
			return err
		}
		if len(doc.Damaged) > 0 {
			return cli.Code(cli.Degraded)
		}
		return nil
	}
	return c
}

func fsckText(w io.Writer, doc admin.Fsck) {
	fmt.Fprintf(w, "%s: %d files, %s in %d extents: ", doc.Path, doc.Files, admin.Bytes(doc.Bytes), doc.Extents)
	if len(doc.Damaged) == 0 {
		fmt.Fprint(w, "all can be read")
	} else {
		fmt.Fprintf(w, "%d files cannot be read as a whole", len(doc.Damaged))
	}
	if doc.Bad > 0 {
		fmt.Fprintf(w, "; %d replicas are rotten or missing", doc.Bad)
	}
	fmt.Fprintln(w)
	if len(doc.Damaged) == 0 {
		return
	}
	fmt.Fprintln(w, "FILE\tOFFSET\tBYTES\tSTATE")
	for _, f := range doc.Damaged {
		for _, r := range f.Ranges {
			fmt.Fprintf(w, "%q\t%d\t%d\t%s\n", f.Path, r.Offset, r.Bytes, r.State)
		}
	}
	if doc.More {
		fmt.Fprintln(w, "and more")
	}
}

func (x *ctl) events() *cobra.Command {
	c := &cobra.Command{Use: "events", Short: "what happened on this peer lately", Args: cobra.NoArgs}
	follow := c.Flags().BoolP("follow", "f", false, "go on with what happens")
	c.RunE = func(c *cobra.Command, _ []string) error {
		client, err := x.client(c)
		if err != nil {
			return err
		}
		tick := time.NewTicker(500 * time.Millisecond)
		defer tick.Stop()
		for after := uint64(0); ; {
			doc, err := client.Events(c.Context(), after)
			if err != nil {
				return notRunning(client, err)
			}
			if len(doc.Events) > 0 || !*follow {
				if err := x.answer(c, doc, func(w io.Writer) { eventsText(w, doc) }); err != nil {
					return err
				}
			}
			after = doc.Next
			if !*follow {
				return nil
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

func eventsText(w io.Writer, doc admin.Events) {
	for _, e := range doc.Events {
		var with []string
		for _, k := range slices.Sorted(maps.Keys(e.With)) {
			with = append(with, k+"="+e.With[k])
		}
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\n", e.Time.Local().Format(time.DateTime), e.Kind, e.Text, strings.Join(with, " "))
	}
}
