package main

import (
	"fmt"
	"io"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"dfs/cluster/admin"
	"dfs/cluster/fault"
	"dfs/cmd/internal/cli"
)

func (x *ctl) where() *cobra.Command {
	c := &cobra.Command{
		Use:   "where PATH",
		Short: "which peers hold a file's blocks",
		Long:  `where asks every peer's store what it really holds of the file, extent by extent: ok, missing, rotten or writing.`,
		Args:  cobra.ExactArgs(1),
	}
	c.RunE = func(c *cobra.Command, args []string) error {
		client, path, err := x.forPath(c, args[0])
		if err != nil {
			return err
		}
		doc, err := client.Where(c.Context(), path)
		if err != nil {
			return asked(c, client, args[0], err)
		}
		if doc.Extents == nil {
			doc.Extents = []admin.Extent{}
		}
		if x.json {
			return x.answer(c, doc, nil)
		}
		names := namesOf(c, client)
		return x.answer(c, doc, func(w io.Writer) { whereText(w, doc, names) })
	}
	return c
}

// namesOf returns the members' names by id. Where they are not to be had, ids stand for names.
func namesOf(c *cobra.Command, client *admin.Client) map[string]string {
	names := map[string]string{}
	if st, err := client.Status(c.Context()); err == nil {
		for _, p := range st.Peers {
			names[p.ID] = p.Name
		}
	}
	return names
}

func whereText(w io.Writer, doc admin.Where, names map[string]string) {
	fmt.Fprintf(w, "%s: %d bytes in %d extents; %s\n", named(doc.Path, doc.Name), doc.Size, len(doc.Extents), layoutText(doc.Layout))
	if len(doc.Extents) == 0 {
		return
	}
	fmt.Fprintln(w, "OFFSET\tBLOCKS\tEXTENT\tREPLICAS")
	for _, e := range doc.Extents {
		var replicas []string
		for _, r := range e.Replicas {
			name := names[r.Peer]
			if name == "" {
				name = fmt.Sprintf("%.7s", r.Peer)
			}
			if r.State != "ok" {
				name += " (" + r.State + ")"
			}
			replicas = append(replicas, name)
		}
		fmt.Fprintf(w, "%d\t%d\t%s\t%s\n", e.Offset, e.Blocks, e.ID, strings.Join(replicas, ", "))
	}
}

func (x *ctl) stat() *cobra.Command {
	c := &cobra.Command{Use: "stat PATH", Short: "a file as the cluster knows it", Args: cobra.ExactArgs(1)}
	c.RunE = func(c *cobra.Command, args []string) error {
		client, path, err := x.forPath(c, args[0])
		if err != nil {
			return err
		}
		doc, err := client.Stat(c.Context(), path)
		if err != nil {
			return asked(c, client, args[0], err)
		}
		return x.answer(c, doc, func(w io.Writer) {
			fmt.Fprintf(w, "%s: %s, %d bytes, mode %s, owner %d:%d\n", named(doc.Path, doc.Name), doc.Type, doc.Size, doc.Mode, doc.UID, doc.GID)
			fmt.Fprintf(w, "inode\t%d, %d links, %d blocks of 512 bytes in %d extents\n", doc.Ino, doc.Nlink, doc.Blocks, doc.Extents)
			fmt.Fprintf(w, "modified\t%s\n", doc.Mtime.Local().Format(time.RFC3339Nano))
			fmt.Fprintf(w, "changed\t%s\n", doc.Ctime.Local().Format(time.RFC3339Nano))
			fmt.Fprintf(w, "log\tattributes at index %d, bytes at index %d\n", doc.Changed, doc.Written)
			fmt.Fprintf(w, "layout\t%s\n", layoutText(doc.Layout))
		})
	}
	return c
}

func (x *ctl) layout() *cobra.Command {
	get := &cobra.Command{Use: "get PATH", Short: "what PATH asks for", Args: cobra.ExactArgs(1)}
	get.RunE = func(c *cobra.Command, args []string) error {
		client, path, err := x.forPath(c, args[0])
		if err != nil {
			return err
		}
		doc, err := client.Layout(c.Context(), path)
		if err != nil {
			return asked(c, client, args[0], err)
		}
		return x.answer(c, doc, func(w io.Writer) { layoutLines(w, doc) })
	}
	set := &cobra.Command{
		Use:   "set PATH LAYOUT",
		Short: "change it",
		Long: `set changes what is named and leaves the rest, for everything that is written under PATH from now on:

  copies=N  policy=least-stored|lowest-latency|balanced|local-first  unit=512|64K|4M  zones=N`,
		Example: "  dfsctl layout set ~/dfs/photos copies=3,policy=least-stored",
		Args:    cobra.ExactArgs(2),
	}
	set.RunE = func(c *cobra.Command, args []string) error {
		client, path, err := x.forPath(c, args[0])
		if err != nil {
			return err
		}
		doc, err := client.SetLayout(c.Context(), path, args[1])
		if err != nil {
			return asked(c, client, args[0], err)
		}
		return x.answer(c, doc, func(w io.Writer) { layoutLines(w, doc) })
	}
	return cli.Group(&cobra.Command{Use: "layout", Short: "copies, policy and unit of a directory"}, get, set)
}

func layoutLines(w io.Writer, l admin.Layout) {
	fmt.Fprintln(w, layoutText(l))
	if l.Note != "" {
		fmt.Fprintf(w, "note: %s\n", l.Note)
	}
}

// named is a path for people.
func named(path string, bytes []byte) string {
	if bytes != nil {
		path = string(bytes)
	}
	return cli.Printable(path)
}

func layoutText(l admin.Layout) string {
	if l.Text != "" {
		return l.Text
	}
	return fmt.Sprintf("copies=%d,policy=%s,unit=%d", l.Copies, l.Policy, l.UnitBlocks*512)
}

// asked is the error of a question about path, with a next step.
func asked(c *cobra.Command, client *admin.Client, path string, err error) error {
	err = notRunning(client, err)
	if fault.NextStep(err) != "" || c.Flags().Changed("data") { // then it may be a path that only the drive knows
		return err
	}
	switch fault.KindOf(err) {
	case fault.NotExist, fault.NotDir:
		return cli.Hint(err, "ls %s", cli.Printable(filepath.Dir(path)))
	case fault.IsDir:
		return cli.Hint(err, "ls %s, and name a file of it", cli.Printable(path))
	}
	return err
}
