package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"strconv"
	"time"

	"github.com/spf13/cobra"

	"dfs/cluster/fault"
	"dfs/cmd/internal/cli"
	"dfs/sched/control"
	"dfs/sched/plane"
)

func (x *ctl) queue() *cobra.Command {
	return cli.Group(&cobra.Command{
		Use:   "queue",
		Short: "durable message queues that the whole cluster shares",
		Long: `queue delivers each message at least once: whoever receives one has it for a while (--visible) and acknowledges it with its
receipt; if he does not, it is delivered again, and the old receipt is worthless. "queue receive NAME -- COMMAND" acknowledges when
COMMAND succeeds. A send with an idempotency --key that is repeated sends nothing twice.`,
	}, x.queueCreate(), x.queueSend(), x.queueBroadcast(), x.queueReceive(), x.queueSettle("ack", "a received message is done with"),
		x.queueSettle("back", "let another have a received message, at once"), x.queueSettle("extend", "a received message takes longer: its time begins anew"),
		x.queuePeek(), x.queueList(), x.queueDelete())
}

var completeQueue = planeNames("queue/list", func(d control.Queues) (names []string) {
	for _, q := range d.Queues {
		names = append(names, q.Name)
	}
	return names
})

func noQueue(err error) error {
	if err == nil || fault.NextStep(err) != "" {
		return err
	}
	switch fault.KindOf(err) {
	case fault.NotExist:
		return cli.Hint(err, "dfsctl queue create NAME, or dfsctl queue list")
	case fault.Quota:
		return cli.Hint(err, "receive some first; dfsctl queue list")
	case fault.Stale, fault.Conflict:
		return cli.Hint(err, "dfsctl queue list")
	}
	return err
}

func (x *ctl) queueCreate() *cobra.Command {
	c := &cobra.Command{Use: "create NAME", Short: "make a queue, or change its settings", Args: cobra.ExactArgs(1)}
	var ask control.QueueAsk
	c.Flags().Uint64Var(&ask.Messages, "max", plane.MessagesUsual, "the most messages it takes")
	visible := c.Flags().String("visible", plane.VisibleUsual.String(), "until a message that was received and not acknowledged is delivered again")
	c.Flags().Uint64Var(&ask.Tries, "tries", 0, "deliveries until a message goes to --dead")
	c.Flags().StringVar(&ask.Dead, "dead", "", "the queue for dead letters")
	c.RunE = func(c *cobra.Command, args []string) (err error) {
		ask.Name = args[0]
		if ask.Visible, err = duration(*visible); err != nil {
			return err
		}
		doc, err := planeAsk[control.Done](c, "queue/create", ask)
		if err != nil {
			return noQueue(err)
		}
		return x.answer(c, doc, func(w io.Writer) {
			if doc.Again {
				fmt.Fprintf(w, "%s was there; its settings are these now\n", args[0])
				return
			}
			fmt.Fprintf(w, "created %s\n", args[0])
		})
	}
	return c
}

func (x *ctl) queueSend() *cobra.Command {
	c := &cobra.Command{Use: "send NAME MESSAGE|-", Short: "send a message; - reads it from standard input", Args: cobra.ExactArgs(2), ValidArgsFunction: completeQueue}
	key := c.Flags().String("key", "", "idempotency key: a message that was sent under it is not sent again")
	c.RunE = func(c *cobra.Command, args []string) error {
		body, err := input(c, args[1], plane.MessageMax)
		if err != nil {
			return err
		}
		doc, err := planeAsk[control.Sent](c, "queue/send", control.QueueAsk{Name: args[0], Body: body, Key: *key})
		if err != nil {
			return noQueue(err)
		}
		return x.answer(c, doc, func(w io.Writer) {
			if doc.Again {
				fmt.Fprintf(w, "was sent before, as message %d\n", doc.Number)
				return
			}
			fmt.Fprintf(w, "sent as message %d\n", doc.Number)
		})
	}
	return c
}

func (x *ctl) queueBroadcast() *cobra.Command {
	c := &cobra.Command{
		Use:   "broadcast NAME MESSAGE|-",
		Short: "one copy to each who subscribes now (queue receive NAME --subscribe)",
		Args:  cobra.ExactArgs(2), ValidArgsFunction: completeQueue,
	}
	c.RunE = func(c *cobra.Command, args []string) error {
		body, err := input(c, args[1], plane.MessageMax)
		if err != nil {
			return err
		}
		doc, err := planeAsk[control.Sent](c, "queue/broadcast", control.QueueAsk{Name: args[0], Body: body})
		if err != nil {
			return noQueue(err)
		}
		return x.answer(c, doc, func(w io.Writer) { fmt.Fprintf(w, "sent %d copies\n", doc.Copies) })
	}
	return c
}

func (x *ctl) queueReceive() *cobra.Command {
	c := &cobra.Command{
		Use:   "receive NAME [-- COMMAND...]",
		Short: "receive a message; exit code 5 if there is none in time",
		Long: `receive waits for a message and prints it; its receipt goes to standard error, or into the JSON, for "queue ack NAME RECEIPT".
With --ack it is acknowledged at once. With a COMMAND, that gets the message on standard input, and its number in DFS_MESSAGE: if it
succeeds the message is acknowledged, else given back, and also if dfsctl is killed. --subscribe receives copies of broadcasts
from now on, one after the other, until Ctrl-C or --count.`,
		Args: commandAfter(1), ValidArgsFunction: completeQueue,
	}
	timeout := c.Flags().String("timeout", "", "how long to wait (default: for ever; 0: not at all)")
	visible := c.Flags().String("visible", "", "until it is delivered again, if it is not acknowledged (default: the queue's)")
	ack := c.Flags().Bool("ack", false, "acknowledge it at once")
	subscribe := c.Flags().Bool("subscribe", false, "copies of broadcasts")
	count := c.Flags().Int("count", 0, "with --subscribe: end after so many")
	c.RunE = func(c *cobra.Command, args []string) (err error) {
		ask := control.QueueAsk{Name: args[0], Subscribe: *subscribe}
		if ask.Timeout, err = duration(*timeout); err != nil {
			return err
		}
		if *timeout != "" && ask.Timeout == 0 {
			ask.Timeout = -1
		}
		if ask.Visible, err = duration(*visible); err != nil {
			return err
		}
		command := args[1:]
		if len(command) > 0 || *subscribe {
			ask.Hold = &control.Hold{PID: os.Getpid()}
		}
		for n := 1; ; n++ {
			if err := x.receiveOne(c, ask, command, *ack || *subscribe); err != nil || !*subscribe || n == *count {
				if *subscribe && c.Context().Err() != nil {
					return nil
				}
				return err
			}
		}
	}
	return c
}

func (x *ctl) receiveOne(c *cobra.Command, ask control.QueueAsk, command []string, ack bool) error {
	m, err := planeAsk[control.Message](c, "queue/receive", ask)
	if err != nil {
		return noQueue(err)
	}
	settle := func(how string) error {
		_, err := planeAskAfter[control.Done](c, "queue/"+how, control.QueueAsk{Name: ask.Name, Receipt: m.Receipt})
		return noQueue(err)
	}
	if len(command) > 0 {
		err := runCommand(c, command, bytes.NewReader(m.Raw()), fmt.Sprintf("DFS_MESSAGE=%d", m.Number))
		if err != nil {
			if serr := settle("back"); serr != nil {
				cli.PrintError(c.ErrOrStderr(), "dfsctl", serr)
			}
			return err
		}
		return settle("ack")
	}
	if x.json {
		err = json.NewEncoder(c.OutOrStdout()).Encode(m)
	} else {
		if !ack {
			fmt.Fprintf(c.ErrOrStderr(), "receipt %d\n", m.Receipt)
		}
		raw(c.OutOrStdout(), m.Raw())
	}
	if err == nil && ack {
		err = settle("ack")
	}
	return err
}

func (x *ctl) queueSettle(verb, what string) *cobra.Command {
	c := &cobra.Command{Use: verb + " NAME RECEIPT", Short: what + "; exit code 7 if the receipt is worthless by now", Args: cobra.ExactArgs(2), ValidArgsFunction: completeQueue}
	visible := new(string)
	if verb == "extend" {
		visible = c.Flags().String("visible", "", "so much longer (default: the queue's)")
	}
	c.RunE = func(c *cobra.Command, args []string) error {
		receipt, err := strconv.ParseUint(args[1], 10, 64)
		if err != nil {
			return fault.New("queue "+verb, fault.Invalid, "%q is no receipt: a number", args[1])
		}
		d, err := duration(*visible)
		if err != nil {
			return err
		}
		doc, err := planeAsk[control.Done](c, "queue/"+verb, control.QueueAsk{Name: args[0], Receipt: receipt, Visible: d})
		if err != nil {
			return noQueue(err)
		}
		past := map[string]string{"ack": "acknowledged", "back": "given back", "extend": "extended"}[verb]
		return x.answer(c, doc, func(w io.Writer) { fmt.Fprintln(w, past) })
	}
	return c
}

func (x *ctl) queuePeek() *cobra.Command {
	c := &cobra.Command{Use: "peek NAME", Short: "the messages that can be received next", Args: cobra.ExactArgs(1), ValidArgsFunction: completeQueue}
	limit := c.Flags().Uint64("limit", 10, "at most so many")
	c.RunE = func(c *cobra.Command, args []string) error {
		doc, err := planeAsk[control.QueueInfo](c, "queue/peek", control.QueueAsk{Name: args[0], Limit: *limit})
		if err != nil {
			return noQueue(err)
		}
		return x.answer(c, doc, func(w io.Writer) {
			fmt.Fprintf(w, "%s has %d messages ready, %d in flight\n", doc.Name, doc.Ready, doc.InFlight)
			if len(doc.Messages) > 0 {
				fmt.Fprintln(w, "MESSAGE\tSENT\tDELIVERED\tKEY\tTEXT")
			}
			for _, m := range doc.Messages {
				fmt.Fprintf(w, "%d\t%s\t%d\t%s\t%s\n", m.Number, m.Sent.Local().Format(time.DateTime), m.Tries, dash(m.Key), short(m.Raw()))
			}
		})
	}
	return c
}

func (x *ctl) queueList() *cobra.Command {
	c := &cobra.Command{Use: "list", Short: "all queues", Args: cobra.NoArgs}
	c.RunE = func(c *cobra.Command, _ []string) error {
		return planeDo(x, c, "queue/list", struct{}{}, func(w io.Writer, d control.Queues) {
			fmt.Fprintln(w, "QUEUE\tREADY\tIN FLIGHT\tMAX\tSENT\tSUBSCRIBERS\tDEAD LETTERS")
			for _, q := range d.Queues {
				dead := "-"
				if q.Dead != "" {
					dead = fmt.Sprintf("%s, after %d", q.Dead, q.Tries)
				}
				fmt.Fprintf(w, "%s\t%d\t%d\t%d\t%d\t%d\t%s\n", q.Name, q.Ready, q.InFlight, q.Max, q.Sent, q.Subscribers, dead)
			}
		})
	}
	return c
}

func (x *ctl) queueDelete() *cobra.Command {
	c := &cobra.Command{Use: "delete NAME", Short: "remove a queue; exit code 7 while it has messages", Args: cobra.ExactArgs(1), ValidArgsFunction: completeQueue}
	force := c.Flags().Bool("force", false, "with its messages")
	c.RunE = func(c *cobra.Command, args []string) error {
		doc, err := planeAsk[control.Done](c, "queue/delete", control.QueueAsk{Name: args[0], Force: *force})
		if fault.KindOf(err) == fault.Conflict {
			err = cli.Hint(err, "dfsctl queue peek %s, or --force", args[0])
		}
		if err != nil {
			return noQueue(err)
		}
		return x.answer(c, doc, func(w io.Writer) { fmt.Fprintf(w, "deleted %s\n", args[0]) })
	}
	return c
}
