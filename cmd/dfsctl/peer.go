package main

import (
	"context"
	"fmt"
	"io"
	"time"

	"github.com/spf13/cobra"

	"dfs/cluster/admin"
	"dfs/cmd/internal/cli"
)

func (x *ctl) peer() *cobra.Command {
	list := &cobra.Command{Use: "list", Short: "the members", Args: cobra.NoArgs}
	list.RunE = func(c *cobra.Command, _ []string) error {
		client, err := x.client(c)
		if err != nil {
			return err
		}
		st, err := client.Status(c.Context())
		if err != nil {
			return notRunning(client, err)
		}
		doc := struct {
			Schema int                `json:"schema"`
			Peers  []admin.PeerStatus `json:"peers"`
		}{admin.Schema, st.Peers}
		return x.answer(c, doc, func(w io.Writer) { peersText(w, st) })
	}
	return cli.Group(&cobra.Command{Use: "peer", Short: "the machines of the cluster"}, list, x.peerInfo(), x.peerRemove())
}

func (x *ctl) peerInfo() *cobra.Command {
	c := &cobra.Command{Use: "info PEER", Short: "everything that is known of one member", Args: cobra.ExactArgs(1),
		ValidArgsFunction: x.peerNames}
	c.RunE = func(c *cobra.Command, args []string) error {
		client, err := x.client(c)
		if err != nil {
			return err
		}
		i, err := client.PeerInfo(c.Context(), args[0])
		if err != nil {
			return notRunning(client, err)
		}
		return x.answer(c, i, func(w io.Writer) { infoText(w, i) })
	}
	return c
}

func infoText(w io.Writer, i admin.PeerInfo) {
	role := "learner"
	switch {
	case i.Leader:
		role = "leader"
	case i.Voter:
		role = "voter"
	}
	fmt.Fprintf(w, "%s is %s, %s\n", i.Name, i.State, role)
	fmt.Fprintf(w, "id\t%s\n", i.ID)
	fmt.Fprintf(w, "address\t%s\n", i.Addr)
	fmt.Fprintf(w, "zone\t%s\n", dash(i.Zone))
	fmt.Fprintf(w, "host\t%s\n", dash(i.Host))
	fmt.Fprintf(w, "joined at\tlog index %d\n", i.Joined)
	fmt.Fprintf(w, "stored\t%s of %s\n", admin.Bytes(i.StoredBytes), admin.Bytes(i.CapacityBytes))
	fmt.Fprintf(w, "replicas\t%d extents, %s\n", i.HeldExtents, admin.Bytes(i.HeldBytes))
	fmt.Fprintf(w, "only here\t%d extents, %s\n", i.OnlyExtents, admin.Bytes(i.OnlyBytes))
	if i.RTTNS > 0 {
		fmt.Fprintf(w, "round trip\t%s\n", time.Duration(i.RTTNS).Round(time.Microsecond))
	}
	if i.LatencyNS > 0 {
		fmt.Fprintf(w, "block write\t%s\n", time.Duration(i.LatencyNS).Round(time.Microsecond))
	}
	if i.Log > 0 { // only the leader knows
		fmt.Fprintf(w, "log\tindex %d, %d behind\n", i.Log, i.Behind)
	}
}

func (x *ctl) peerRemove() *cobra.Command {
	c := &cobra.Command{
		Use:   "remove PEER",
		Short: "end the membership of a machine that will not come back",
		Long: `remove takes a member out of the cluster: its name, its sessions, its vote. What it held is copied from the others.

A dead member goes at once. It is refused where that would lose what only it holds; --force-lost says that this is known.
A member that is there is only removed with --yes, after everything on it has been copied and its vote given to another,
like "dfsd leave" there. Ctrl-C and --timeout take that back; --cancel does so for one whose removal was left half done.
The machine itself, if it ever comes back, is told that it was removed; it may join again as a new peer.`,
		Args:              cobra.ExactArgs(1),
		ValidArgsFunction: x.peerNames,
	}
	var ask admin.RemoveAsk
	c.Flags().BoolVar(&ask.Yes, "yes", false, "also a member that is there")
	c.Flags().BoolVar(&ask.ForceLost, "force-lost", false, "give up what only this member holds")
	c.Flags().BoolVar(&ask.DryRun, "dry-run", false, "only say what it would mean")
	c.Flags().BoolVar(&ask.Cancel, "cancel", false, "a member that is about to go stays")
	timeout := c.Flags().String("timeout", "0", "how long to wait for copies of what a member that is there holds; 0 for ever")
	c.RunE = func(c *cobra.Command, args []string) error {
		client, err := x.client(c)
		if err != nil {
			return err
		}
		ctx := c.Context()
		if d, err := cli.ParseDuration(*timeout); err != nil {
			return err
		} else if d > 0 {
			var cancel context.CancelFunc
			ctx, cancel = context.WithTimeout(ctx, d)
			defer cancel()
		}
		ask.Peer = args[0]
		r, err := client.RemovePeer(ctx, ask)
		if err != nil {
			return notRunning(client, err)
		}
		return x.answer(c, r, func(w io.Writer) { removalText(w, ask, r) })
	}
	return c
}

func removalText(w io.Writer, ask admin.RemoveAsk, r admin.Removal) {
	switch {
	case ask.Cancel:
		fmt.Fprintf(w, "%s stays\n", r.Name)
	case r.Removed:
		fmt.Fprintf(w, "removed %s\n", r.Name)
	default:
		fmt.Fprintf(w, "%s is %s and was not removed\n", r.Name, r.State)
	}
	if ask.Cancel {
		return
	}
	if kept := r.HeldExtents - min(r.LostExtents, r.HeldExtents); kept > 0 {
		fmt.Fprintf(w, "%d extents that it held have other replicas and are copied from there (dfsctl status)\n", kept)
	}
	if r.LostExtents > 0 && r.State == "dead" {
		fmt.Fprintf(w, "%d extents, %s, were on no other peer that is there\n", r.LostExtents, admin.Bytes(r.LostBytes))
		for _, f := range r.Files {
			fmt.Fprintf(w, "  %s\n", f)
		}
	}
}

// peerNames completes the names of members.
func (x *ctl) peerNames(c *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
	if len(args) > 0 {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	client, err := x.client(c)
	if err != nil {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	st, err := client.Status(c.Context())
	if err != nil {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	var names []string
	for _, p := range st.Peers {
		names = append(names, p.Name)
	}
	return names, cobra.ShellCompDirectiveNoFileComp
}
