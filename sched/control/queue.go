package control

import (
	"context"
	"net/http"
	"time"

	"dfs/cluster/fault"
	"dfs/sched/plane"
)

// QueueAsk is what the verbs of queues are asked; each uses what it needs.
type QueueAsk struct {
	Name      string        `json:"name"`
	Messages  uint64        `json:"messages,omitempty"`   // of create: the most it takes
	Visible   time.Duration `json:"visible_ns,omitempty"` // of create and receive: until an unsettled message is another's
	Tries     uint64        `json:"tries,omitempty"`      // of create: deliveries until it is a dead letter
	Dead      string        `json:"dead,omitempty"`       // of create: the queue for those
	Body      []byte        `json:"body,omitempty"`       // of send and broadcast
	Key       string        `json:"key,omitempty"`        // of send: idempotency key
	Receipt   uint64        `json:"receipt,omitempty"`    // of ack, back and extend
	Timeout   time.Duration `json:"timeout_ns,omitempty"` // of receive; below 0: do not wait
	Hold      *Hold         `json:"hold,omitempty"`       // of receive: whose end gives the message back
	Subscribe bool          `json:"subscribe,omitempty"`  // of receive: only copies of broadcasts, from now on; needs Hold
	Force     bool          `json:"force,omitempty"`      // of delete
	Limit     uint64        `json:"limit,omitempty"`      // of peek
}

// Message is a message.
type Message struct {
	Schema  int    `json:"schema,omitempty"`
	Number  uint64 `json:"number"`
	Receipt uint64 `json:"receipt,omitempty"`
	Text
	Sent  time.Time `json:"sent"`
	Tries uint64    `json:"tries"`
	Key   string    `json:"key,omitempty"`
	From  string    `json:"from,omitempty"` // of a dead letter
}

// Sent is what became of a send or broadcast.
type Sent struct {
	Schema int    `json:"schema"`
	Number uint64 `json:"number,omitempty"`
	Again  bool   `json:"again,omitempty"` // it was sent before under this key
	Copies int64  `json:"copies,omitempty"`
}

// QueueInfo is one queue.
type QueueInfo struct {
	Schema      int       `json:"schema,omitempty"`
	Name        string    `json:"name"`
	Ready       uint64    `json:"ready"`
	InFlight    uint64    `json:"in_flight"`
	Bytes       uint64    `json:"bytes"`
	Sent        uint64    `json:"sent"`
	Max         uint64    `json:"max"`
	VisibleNS   int64     `json:"visible_ns"`
	Tries       uint64    `json:"tries,omitempty"`
	Dead        string    `json:"dead,omitempty"`
	Subscribers int       `json:"subscribers"`
	Messages    []Message `json:"messages,omitempty"` // of peek
}

// Queues is a list of them.
type Queues struct {
	Schema int         `json:"schema"`
	Queues []QueueInfo `json:"queues"`
}

func (s *Service) registerQueues(mux *http.ServeMux) {
	simple(s, mux, "queue/create", func(a QueueAsk) (plane.Op, string) {
		return &plane.CreateQueue{Name: a.Name, MessagesMax: a.Messages, Visible: int64(a.Visible), TriesMax: a.Tries, Dead: a.Dead}, a.Name
	})
	for verb, how := range map[string]uint8{"ack": plane.Ack, "back": plane.Back, "extend": plane.Extend} {
		simple(s, mux, "queue/"+verb, func(a QueueAsk) (plane.Op, string) {
			return &plane.Settle{Name: a.Name, Receipt: a.Receipt, How: how, Visible: int64(a.Visible)}, a.Name
		})
	}
	handle(mux, "queue/delete", s.queueDelete)
	handle(mux, "queue/send", s.queueSend)
	handle(mux, "queue/broadcast", s.queueBroadcast)
	handle(mux, "queue/receive", s.queueReceive)
	handle(mux, "queue/peek", s.queuePeek)
	handle(mux, "queue/list", s.queueList)
}

func (s *Service) queueDelete(ctx context.Context, a QueueAsk) (Done, error) {
	for {
		res, err := s.propose(ctx, &plane.DeleteQueue{Name: a.Name, Force: a.Force})
		if err != nil || res.Outcome != plane.More {
			return Done{Schema: Schema, Name: a.Name}, err
		}
	}
}

func (s *Service) queueSend(ctx context.Context, a QueueAsk) (doc Sent, err error) {
	op := &plane.Send{Name: a.Name, Body: a.Body, Key: a.Key}
	bound, cancel := patient(ctx, a.Timeout)
	defer cancel()
	var res plane.Result
	if a.Key != "" { // then it is harmless to repeat
		res, err = s.insist(bound, op)
	} else {
		res, err = s.log.Propose(bound, op)
	}
	return Sent{Schema: Schema, Number: res.ID, Again: res.Outcome == plane.Repeat}, err
}

func (s *Service) queueBroadcast(ctx context.Context, a QueueAsk) (Sent, error) {
	res, err := s.propose(ctx, &plane.Broadcast{Name: a.Name, Body: a.Body})
	return Sent{Schema: Schema, Copies: res.Count}, err
}

// queueReceive returns a message as soon as there is one. If its asker has gone by then it goes back at once.
func (s *Service) queueReceive(ctx context.Context, a QueueAsk) (Message, error) {
	op := &plane.Receive{Name: a.Name, Visible: int64(a.Visible), Own: a.Subscribe}
	if a.Subscribe && a.Hold == nil {
		return Message{}, fault.New("queue receive", fault.Invalid, "a subscription belongs to a process")
	}
	if a.Hold != nil {
		open, cancel := patient(ctx, 0)
		defer cancel()
		id, _, err := s.keeper.session(open, *a.Hold)
		if err != nil {
			return Message{}, err
		}
		op.Session = id
		if a.Subscribe {
			if _, err := s.propose(ctx, &plane.Subscribe{Name: a.Name, Session: id}); err != nil {
				return Message{}, err
			}
		}
	}
	res, err := s.propose(ctx, op)
	if err == nil && res.Outcome == plane.Empty && a.Timeout >= 0 {
		bound, cancel := within(ctx, a.Timeout)
		defer cancel()
		res, err = s.receive(bound, op)
	}
	switch {
	case err == nil && res.Outcome == plane.Empty || fault.KindOf(err) == fault.Timeout:
		return Message{}, fault.Advise(fault.New("queue receive", fault.Timeout, "%s has nothing to receive", a.Name), "dfsctl queue list")
	case err != nil:
		return Message{}, err
	case ctx.Err() != nil:
		s.end(&plane.Settle{Name: a.Name, Receipt: res.ID, How: plane.Back})
		return Message{}, waited(ctx)
	}
	m := messageOf(*res.Message)
	m.Schema = Schema
	return m, nil
}

// receive waits for a message. Of those who wait here, each asks the log only when there is one.
func (s *Service) receive(ctx context.Context, op *plane.Receive) (res plane.Result, err error) {
	err = s.watch.until(ctx, plane.TopicQueue(op.Name), func(ctx context.Context) (bool, error) {
		r, _, err := s.log.Ask(ctx, plane.Ask{What: plane.AskReady, Name: op.Name, Number: op.Session, Own: op.Own}, false)
		if err != nil || !r.Ready {
			return false, err
		}
		// The op is not cut short with its asker: a message that was received for nobody would be late.
		bound, cancel := context.WithTimeout(context.WithoutCancel(ctx), opWithin)
		defer cancel()
		res, err = s.log.Propose(bound, op)
		return err == nil && res.Outcome != plane.Empty, err
	})
	return res, err
}

func (s *Service) queuePeek(ctx context.Context, a QueueAsk) (QueueInfo, error) {
	r, err := s.question(ctx, plane.Ask{What: plane.AskQueue, Name: a.Name, Limit: a.Limit})
	if err != nil {
		return QueueInfo{}, err
	}
	doc := queueInfo(r.Queues[0])
	doc.Schema, doc.Messages = Schema, []Message{}
	for _, m := range r.Messages {
		doc.Messages = append(doc.Messages, messageOf(m))
	}
	return doc, nil
}

func (s *Service) queueList(ctx context.Context, _ struct{}) (Queues, error) {
	r, err := s.question(ctx, plane.Ask{What: plane.AskQueues})
	doc := Queues{Schema: Schema, Queues: []QueueInfo{}}
	for _, q := range r.Queues {
		doc.Queues = append(doc.Queues, queueInfo(q))
	}
	return doc, err
}

func queueInfo(q plane.Queue) QueueInfo {
	return QueueInfo{Name: q.Name, Ready: q.Ready, InFlight: q.Flying, Bytes: q.Bytes, Sent: q.Sent, Max: q.MessagesMax,
		VisibleNS: q.Visible, Tries: q.TriesMax, Dead: q.Dead, Subscribers: len(q.Subscribers)}
}

func messageOf(m plane.Message) Message {
	return Message{Number: m.Number, Receipt: m.Receipt, Text: TextOf(m.Body), Sent: time.Unix(0, m.Sent).UTC(), Tries: m.Tries, Key: m.Key, From: m.From}
}
