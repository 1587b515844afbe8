package main

import (
	"fmt"
	"os"

	"github.com/spf13/cobra"

	"dfs/cluster/admin"
	"dfs/cmd/internal/cli"
)

func leaveCommand() *cobra.Command {
	c := &cobra.Command{
		Use:   "leave",
		Short: "end this peer's membership and stop it",
		Long: `leave asks the running peer to give up its membership: what it keeps is copied elsewhere first. It is refused where
that would lose data. The data directory stays; remove it to join again under a new identity.`,
		Args: cobra.NoArgs,
	}
	c.Flags().String("data", "", "the peer's data directory (default: the user's)")
	c.RunE = func(c *cobra.Command, _ []string) error {
		data, err := cli.ResolveData(c.Flags(), os.LookupEnv)
		if err != nil {
			return err
		}
		client := admin.NewClient(data)
		st, err := client.Status(c.Context())
		if err != nil {
			return cli.Hint(err, "dfsd up --data %s", data)
		}
		if err := client.Leave(c.Context()); err != nil {
			return err
		}
		fmt.Fprintf(c.OutOrStdout(), "%s has left %s\n", st.Self.Name, st.Cluster.Name)
		return client.Stop(c.Context())
	}
	return c
}
