package main

import (
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"dfs/cluster/fault"
	"dfs/cmd/internal/cli"
	"dfs/sched/control"
	"dfs/sched/plane"
)

const watchTurn = 30 * time.Second // of one question of a watch

func (x *ctl) kv() *cobra.Command {
	return cli.Group(&cobra.Command{
		Use:   "kv",
		Short: "the cluster's shared memory of keys and values",
		Long: `kv is a memory that all peers share. It is linearizable: what has returned is seen by whoever asks next, anywhere, and
nothing is lost with a peer. Keys have up to 512 bytes, values up to 32 KiB; larger things belong into files.

With --peer NAME the commands mean that peer's own memory instead: nobody else keeps it, and it ends with its daemon.`,
	}, x.kvGet(), x.kvSet(), x.kvCas(), x.kvDelete(), x.kvList(), x.kvWatch(), x.kvTxn())
}

// peerFlag adds --peer.
func (x *ctl) peerFlag(c *cobra.Command) func() *string {
	peer := c.Flags().String("peer", "", "that peer's own memory, instead of the cluster's")
	c.RegisterFlagCompletionFunc("peer", func(c *cobra.Command, _ []string, to string) ([]string, cobra.ShellCompDirective) {
		return x.peerNames(c, nil, to)
	})
	return func() *string {
		if c.Flags().Changed("peer") {
			return peer
		}
		return nil
	}
}

func (x *ctl) kvGet() *cobra.Command {
	c := &cobra.Command{Use: "get KEY", Short: "print a value; exit code 3 where there is none", Args: cobra.ExactArgs(1), ValidArgsFunction: kvKeys}
	stale := c.Flags().Bool("stale", false, "what this peer knows, without asking the others; says how old it is at most")
	peer := x.peerFlag(c)
	c.RunE = func(c *cobra.Command, args []string) error {
		doc, err := planeAsk[control.Entries](c, "kv/get", control.KVAsk{Key: args[0], Stale: *stale, Peer: peer()})
		if err != nil {
			return err
		}
		return x.aged(c, doc, *stale, func(w io.Writer) { raw(w, doc.Entries[0].Raw()) })
	}
	return c
}

// aged prints doc; that it may be old, and how old, goes to standard error.
func (x *ctl) aged(c *cobra.Command, doc control.Entries, stale bool, text func(io.Writer)) error {
	if stale && !x.json {
		fmt.Fprintf(c.ErrOrStderr(), "as of %s ago at most\n", time.Duration(doc.AgeNS).Round(time.Millisecond))
	}
	if x.json {
		return x.answer(c, doc, nil)
	}
	text(c.OutOrStdout()) // values keep their tabs
	return nil
}

func kvKeys(c *cobra.Command, args []string, prefix string) ([]string, cobra.ShellCompDirective) {
	if len(args) > 0 {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	doc, err := planeAsk[control.Entries](c, "kv/list", control.KVAsk{Prefix: prefix, Stale: true, Limit: 100})
	if err != nil {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	var keys []string
	for _, e := range doc.Entries {
		keys = append(keys, e.Key)
	}
	return keys, cobra.ShellCompDirectiveNoFileComp
}

// bindings are the flags of what sets a key.
type bindings struct {
	ttl   *string
	lease *uint64
	fence *string
}

func addBindings(c *cobra.Command) bindings {
	return bindings{
		c.Flags().String("ttl", "", "delete it after so long, such as 30s"),
		c.Flags().Uint64("lease", 0, "delete it with this session, such as that of a semaphore's grant"),
		c.Flags().String("fence", "", "SEMAPHORE:TOKEN: only if that grant is not over"),
	}
}

// txn begins a transaction with them.
func (b bindings) txn(peer *string) (t control.KVTxn, err error) {
	t.Peer, t.Lease = peer, *b.lease
	if t.TTL, err = duration(*b.ttl); err != nil {
		return t, err
	}
	if *b.fence != "" {
		i := strings.LastIndexByte(*b.fence, ':')
		f := control.KVFence{}
		if i > 0 {
			f.Semaphore = (*b.fence)[:i]
			_, err = fmt.Sscan((*b.fence)[i+1:], &f.Token)
		}
		if i <= 0 || err != nil {
			return t, fault.New("kv", fault.Invalid, "--fence %q: write SEMAPHORE:TOKEN", *b.fence)
		}
		t.Fences = []control.KVFence{f}
	}
	return t, nil
}

func (x *ctl) kvSet() *cobra.Command {
	c := &cobra.Command{Use: "set KEY VALUE|-", Short: "set a value; - reads it from standard input", Args: cobra.ExactArgs(2), ValidArgsFunction: kvKeys}
	b, peer := addBindings(c), x.peerFlag(c)
	c.RunE = func(c *cobra.Command, args []string) error {
		v, err := input(c, args[1], plane.ValueMax)
		if err != nil {
			return err
		}
		t, err := b.txn(peer())
		if err != nil {
			return err
		}
		t.Then = []control.KVStep{{Do: "set", Key: args[0], Value: v}}
		return x.commit(c, t, func(w io.Writer, d control.Committed) {
			fmt.Fprintf(w, "set at revision %d%s\n", d.Revision, leased(d))
		})
	}
	return c
}

func leased(d control.Committed) string {
	if d.Lease == 0 {
		return ""
	}
	return fmt.Sprintf(", lease %d", d.Lease)
}

// commit carries out a transaction that is refused as a whole where it does not hold.
func (x *ctl) commit(c *cobra.Command, t control.KVTxn, text func(io.Writer, control.Committed)) error {
	doc, err := planeAsk[control.Committed](c, "kv/txn", t)
	if err != nil {
		return err
	}
	if !doc.Succeeded {
		if x.json {
			if err := x.answer(c, doc, nil); err != nil {
				return err
			}
		}
		if len(t.Fences) > 0 && len(t.If) == 0 {
			return cli.Hint(fault.New("kv", fault.Conflict, "grant %d of %s is over: nothing is changed", t.Fences[0].Token, t.Fences[0].Semaphore),
				"dfsctl sem wait %s", t.Fences[0].Semaphore)
		}
		return cli.Hint(fault.New("kv", fault.Conflict, "it is not as you expected: nothing is changed"), "dfsctl kv get %s", t.Then[0].Key)
	}
	return x.answer(c, doc, func(w io.Writer) { text(w, doc) })
}

func (x *ctl) kvCas() *cobra.Command {
	c := &cobra.Command{
		Use:   "cas KEY OLD NEW | KEY NEW --absent | KEY NEW --revision N",
		Short: "compare and set: exit code 7 if it is not as expected",
		Args:  cobra.RangeArgs(2, 3), ValidArgsFunction: kvKeys,
	}
	absent := c.Flags().Bool("absent", false, "only if the key is not there")
	revision := c.Flags().Uint64("revision", 0, "only if it was last changed in this revision")
	b, peer := addBindings(c), x.peerFlag(c)
	c.RunE = func(c *cobra.Command, args []string) error {
		byRevision := c.Flags().Changed("revision")
		if (len(args) == 2) != (*absent || byRevision) || *absent && byRevision {
			return fault.New("kv cas", fault.Invalid, "give the old value, or --absent, or --revision")
		}
		t, err := b.txn(peer())
		if err != nil {
			return err
		}
		cond := control.KVIf{Key: args[0], Field: "value", Absent: *absent}
		switch {
		case byRevision:
			cond = control.KVIf{Key: args[0], Field: "modified", Number: *revision}
		case !*absent:
			cond.Value = []byte(args[1])
		}
		t.If = []control.KVIf{cond}
		t.Then = []control.KVStep{{Do: "set", Key: args[0], Value: []byte(args[len(args)-1])}}
		return x.commit(c, t, func(w io.Writer, d control.Committed) {
			fmt.Fprintf(w, "set at revision %d%s\n", d.Revision, leased(d))
		})
	}
	return c
}

func (x *ctl) kvDelete() *cobra.Command {
	c := &cobra.Command{Use: "delete KEY", Short: "delete a key; exit code 3 where there is none", Args: cobra.ExactArgs(1), ValidArgsFunction: kvKeys}
	peer := x.peerFlag(c)
	c.RunE = func(c *cobra.Command, args []string) error {
		t := control.KVTxn{Peer: peer(), Then: []control.KVStep{{Do: "delete", Key: args[0]}}}
		doc, err := planeAsk[control.Committed](c, "kv/txn", t)
		if err != nil {
			return err
		}
		if doc.Found[0] == nil {
			return cli.Hint(fault.New("kv delete", fault.NotExist, "%s", args[0]), "dfsctl kv list")
		}
		return x.answer(c, doc, func(w io.Writer) { fmt.Fprintf(w, "deleted at revision %d\n", doc.Revision) })
	}
	return c
}

func (x *ctl) kvList() *cobra.Command {
	c := &cobra.Command{Use: "list [PREFIX]", Short: "keys and values, in order", Args: cobra.MaximumNArgs(1)}
	after := c.Flags().String("after", "", "only keys above this one: the next page")
	limit := c.Flags().Uint64("limit", 0, "at most so many (default: all)")
	keys := c.Flags().Bool("keys", false, "only the keys, one a line")
	stale := c.Flags().Bool("stale", false, "what this peer knows, without asking the others; says how old it is at most")
	peer := x.peerFlag(c)
	c.RunE = func(c *cobra.Command, args []string) error {
		ask := control.KVAsk{After: *after, Limit: *limit, Stale: *stale, Peer: peer()}
		if len(args) > 0 {
			ask.Prefix = args[0]
		}
		doc, err := allKeys(c, ask)
		if err != nil {
			return err
		}
		if *stale && !x.json {
			fmt.Fprintf(c.ErrOrStderr(), "as of %s ago at most\n", time.Duration(doc.AgeNS).Round(time.Millisecond))
		}
		return x.answer(c, doc, func(w io.Writer) {
			if !*keys {
				fmt.Fprintln(w, "KEY\tVERSION\tREVISION\tLEASE\tVALUE")
			}
			for _, e := range doc.Entries {
				if *keys {
					fmt.Fprintln(w, cli.Printable(e.Key))
					continue
				}
				lease := "-"
				if e.Lease != 0 {
					lease = fmt.Sprint(e.Lease)
				}
				fmt.Fprintf(w, "%s\t%d\t%d\t%s\t%s\n", cli.Printable(e.Key), e.Version, e.Modified, lease, short(e.Raw()))
			}
			if doc.More {
				fmt.Fprintf(w, "more: --after %s\n", cli.Printable(doc.Entries[len(doc.Entries)-1].Key))
			}
		})
	}
	return c
}

// allKeys asks page by page. Pages are of different moments; a list that fits one is of one.
func allKeys(c *cobra.Command, ask control.KVAsk) (control.Entries, error) {
	doc, err := planeAsk[control.Entries](c, "kv/list", ask)
	for err == nil && doc.More && (ask.Limit == 0 || uint64(len(doc.Entries)) < ask.Limit) {
		next := ask
		next.After = doc.Entries[len(doc.Entries)-1].Key
		if ask.Limit > 0 {
			next.Limit = ask.Limit - uint64(len(doc.Entries))
		}
		var page control.Entries
		page, err = planeAsk[control.Entries](c, "kv/list", next)
		page.Entries = append(doc.Entries, page.Entries...)
		page.AgeNS = max(page.AgeNS, doc.AgeNS)
		doc = page
	}
	return doc, err
}

// short is a value in a table.
func short(v []byte) string {
	s := cli.Printable(string(v))
	if r := []rune(s); len(r) > 60 {
		return string(r[:57]) + "..."
	}
	return s
}

func (x *ctl) kvWatch() *cobra.Command {
	c := &cobra.Command{
		Use:   "watch [PREFIX]",
		Short: "print changes as they come; Ctrl-C ends it",
		Long: `watch prints each change of a key that begins with PREFIX: revision, set or delete, key, value. With --json it prints one
document a line. --from goes back to a revision; where the history no longer reaches back so far it fails with exit code 7.`,
		Args: cobra.MaximumNArgs(1),
	}
	from := c.Flags().Uint64("from", 0, "from this revision on (default: from now on)")
	count := c.Flags().Int("count", 0, "end after so many changes")
	timeout := c.Flags().String("timeout", "", "end with exit code 5 when nothing has changed for so long")
	c.RunE = func(c *cobra.Command, args []string) error {
		ask := control.KVAsk{From: *from, Timeout: watchTurn}
		if len(args) > 0 {
			ask.Prefix = args[0]
		}
		d, err := duration(*timeout)
		if err != nil {
			return err
		}
		return x.follow(c, ask, *count, d)
	}
	return c
}

func (x *ctl) follow(c *cobra.Command, ask control.KVAsk, count int, timeout time.Duration) error {
	if timeout > 0 {
		ask.Timeout = min(ask.Timeout, timeout)
	}
	last := time.Now()
	for seen := 0; ; {
		doc, err := planeAsk[control.Entries](c, "kv/watch", ask)
		if c.Context().Err() != nil {
			return nil
		}
		if err != nil {
			return err
		}
		ask.From = doc.Next
		for _, e := range doc.Entries {
			last = time.Now()
			x.printChange(c.OutOrStdout(), e)
			if seen++; seen == count {
				return nil
			}
		}
		if timeout > 0 && time.Since(last) >= timeout {
			return cli.Hint(fault.New("kv watch", fault.Timeout, "nothing has changed"), "dfsctl kv list")
		}
	}
}

func (x *ctl) printChange(w io.Writer, e control.Entry) {
	if x.json {
		json.NewEncoder(w).Encode(struct {
			Schema int `json:"schema"`
			control.Entry
		}{control.Schema, e})
		return
	}
	if e.Deleted {
		fmt.Fprintf(w, "%d delete %s\n", e.Modified, cli.Printable(e.Key))
		return
	}
	fmt.Fprintf(w, "%d set %s %s\n", e.Modified, cli.Printable(e.Key), cli.Printable(string(e.Raw())))
}

func (x *ctl) kvTxn() *cobra.Command {
	c := &cobra.Command{
		Use:   "txn [--if COND]... --then STEP... [--else STEP]...",
		Short: "several conditions and steps as one; exit code 7 if the conditions do not hold",
		Long: `txn carries out all --then steps if every --if condition holds, else all --else steps: all at once, or nothing.

  COND  KEY=VALUE  KEY!=VALUE  KEY@version=N  KEY@modified<N  KEY@created>N  KEY@absent  KEY@present
  STEP  set KEY=VALUE  |  delete KEY  |  get KEY`,
		Example: `  dfsctl kv txn --if from=5 --then 'set from=4' --then 'set to=6'`,
		Args:    cobra.NoArgs,
	}
	ifs := c.Flags().StringArray("if", nil, "a condition")
	then := c.Flags().StringArray("then", nil, "a step if all conditions hold")
	otherwise := c.Flags().StringArray("else", nil, "a step if not")
	b, peer := addBindings(c), x.peerFlag(c)
	c.RunE = func(c *cobra.Command, _ []string) error {
		t, err := b.txn(peer())
		if err != nil {
			return err
		}
		if t.If, err = parseEach(*ifs, parseCondition); err != nil {
			return err
		}
		if t.Then, err = parseEach(*then, parseStep); err != nil {
			return err
		}
		if t.Else, err = parseEach(*otherwise, parseStep); err != nil {
			return err
		}
		if len(t.Then)+len(t.Else) == 0 {
			return fault.New("kv txn", fault.Invalid, "there is nothing to do: --then STEP")
		}
		return x.transact(c, t)
	}
	return c
}

func (x *ctl) transact(c *cobra.Command, t control.KVTxn) error {
	doc, err := planeAsk[control.Committed](c, "kv/txn", t)
	if err != nil {
		return err
	}
	err = x.answer(c, doc, func(w io.Writer) {
		steps := t.Then
		fmt.Fprintf(w, "the conditions hold; revision %d\n", doc.Revision)
		if !doc.Succeeded {
			steps = t.Else
		}
		for i, f := range doc.Found {
			if steps[i].Do != "get" {
				continue
			}
			if f == nil {
				fmt.Fprintf(w, "%s\t-\n", cli.Printable(steps[i].Key))
			} else {
				fmt.Fprintf(w, "%s\t%s\n", cli.Printable(f.Key), cli.Printable(string(f.Raw())))
			}
		}
	})
	if err == nil && !doc.Succeeded {
		return cli.Hint(fault.New("kv txn", fault.Conflict, "the conditions do not hold"), "read again, and try again")
	}
	return err
}

func parseEach[T any](texts []string, parse func(string) (T, error)) (all []T, err error) {
	for _, s := range texts {
		v, err := parse(s)
		if err != nil {
			return nil, err
		}
		all = append(all, v)
	}
	return all, nil
}

func parseStep(s string) (x control.KVStep, err error) {
	do, rest, _ := strings.Cut(s, " ")
	x = control.KVStep{Do: do, Key: rest}
	switch do {
	case "set":
		key, value, ok := strings.Cut(rest, "=")
		if x.Key, x.Value = key, []byte(value); ok {
			return x, nil
		}
	case "get", "delete":
		return x, nil
	}
	return x, fault.New("kv txn", fault.Invalid, "%q is no step: set KEY=VALUE, delete KEY or get KEY", s)
}

func parseCondition(s string) (x control.KVIf, err error) {
	bad := fault.New("kv txn", fault.Invalid, "%q is no condition: KEY=VALUE, KEY!=VALUE, KEY@version=N, KEY@absent, KEY@present", s)
	if key, ok := strings.CutSuffix(s, "@absent"); ok {
		return control.KVIf{Key: key, Absent: true}, nil
	}
	if key, ok := strings.CutSuffix(s, "@present"); ok {
		return control.KVIf{Key: key, Absent: true, Is: "!="}, nil
	}
	i := strings.IndexAny(s, "=<>")
	if i <= 0 {
		return x, bad
	}
	x = control.KVIf{Key: s[:i], Is: s[i : i+1], Value: []byte(s[i+1:])}
	if key, ok := strings.CutSuffix(x.Key, "!"); ok && x.Is == "=" {
		x.Key, x.Is = key, "!="
	}
	if key, field, ok := strings.Cut(x.Key, "@"); ok {
		x.Key, x.Field = key, field
		if _, err := fmt.Sscan(string(x.Value), &x.Number); err != nil {
			return x, bad
		}
		x.Value = nil
	}
	return x, nil
}
