package main

import (
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"dfs/cluster/admin"
	"dfs/cmd/internal/cli"
)

func (x *ctl) lock() *cobra.Command {
	list := &cobra.Command{
		Use:   "list [PATH]",
		Short: "who holds file locks, and who waits",
		Long: `list shows the locks (fcntl and flock) on a file, or on all files: who holds which bytes, and who waits for them, first come
first served. Without PATH files are told by their inode numbers: find MOUNT -inum N`,
		Args: cobra.MaximumNArgs(1),
	}
	list.RunE = func(c *cobra.Command, args []string) (err error) {
		var client *admin.Client
		path, asked0 := "", ""
		if len(args) > 0 {
			asked0 = args[0]
			client, path, err = x.forPath(c, asked0)
		} else {
			client, err = x.client(c)
		}
		if err != nil {
			return err
		}
		doc, err := client.Locks(c.Context(), path)
		if err != nil && path != "" {
			return asked(c, client, asked0, err)
		} else if err != nil {
			return notRunning(client, err)
		}
		if x.json {
			return x.answer(c, doc, nil)
		}
		names := namesOf(c, client)
		return x.answer(c, doc, func(w io.Writer) { locksText(w, doc, names) })
	}
	return cli.Group(&cobra.Command{Use: "lock", Short: "file locks"}, list)
}

func locksText(w io.Writer, doc admin.Locks, names map[string]string) {
	held, waiting := 0, 0
	for _, f := range doc.Files {
		held += len(f.Held)
		waiting += len(f.Waiting)
	}
	fmt.Fprintf(w, "%d locks held, %d waited for\n", held, waiting)
	if doc.More {
		fmt.Fprintf(w, "more than %d files; these are the first\n", admin.LockedMax)
	}
	if held+waiting == 0 {
		return
	}
	fmt.Fprintln(w, "FILE\tSTATE\tKIND\tMODE\tBYTES\tPEER\tPID")
	for _, f := range doc.Files {
		file := fmt.Sprintf("inode %d", f.Ino)
		if f.Path != "" {
			file = named(f.Path, f.Name)
		}
		for _, l := range f.Held {
			lockText(w, file, "held", l, names)
		}
		for _, l := range f.Waiting {
			lockText(w, file, "waiting", l, names)
		}
	}
}

func lockText(w io.Writer, file, state string, l admin.Lock, names map[string]string) {
	bytes := "all"
	switch {
	case l.Kind == admin.LockWhole, l.Offset == 0 && l.Length == 0:
	case l.Length == 0:
		bytes = fmt.Sprintf("%d-", l.Offset)
	default:
		bytes = fmt.Sprintf("%d-%d", l.Offset, l.Offset+l.Length-1)
	}
	peer := names[l.Peer]
	if peer == "" {
		peer = dash(fmt.Sprintf("%.7s", l.Peer))
	}
	fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\t%s\t%d\n", file, state, l.Kind, l.Mode, bytes, peer, l.PID)
}
