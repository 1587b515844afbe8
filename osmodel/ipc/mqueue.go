package ipc

import (
	"fmt"
	"slices"
	"strings"
)

// Limits of POSIX message queues.
const (
	DefaultMessages = 10
	DefaultBytes    = 8192
	MaxPriority     = 32767
	MaxName         = 255
)

// Queue is a POSIX message queue (mq_overview(7)): the highest priority first, first in first out within one. A full
// queue makes senders wait, an empty one receivers.
type Queue struct {
	maxMessages, maxBytes int
	messages              []Message // in the order they will be received
	senders               waiters[Message]
	receivers             waiters[struct{}]
	notify                string // who is told when a message comes into the empty queue; "" nobody
}

// NewQueue makes a queue for so many messages of so many bytes; 0 means the defaults.
func NewQueue(messages, bytes int) (*Queue, error) {
	if messages < 0 || bytes < 0 {
		return nil, ErrInvalid
	}
	if messages == 0 {
		messages = DefaultMessages
	}
	if bytes == 0 {
		bytes = DefaultBytes
	}
	return &Queue{maxMessages: messages, maxBytes: bytes}, nil
}

// Len returns how many messages are in the queue.
func (q *Queue) Len() int { return len(q.messages) }

func (q *Queue) valid(m Message) error {
	switch {
	case m.Priority < 0 || m.Priority > MaxPriority:
		return ErrInvalid
	case len(m.Body) > q.maxBytes:
		return ErrSize
	}
	return nil
}

// TrySend puts m into the queue: ErrAgain if it is full. The wakes are a receiver that waited, or, with notify, the one
// who asked to be told.
func (q *Queue) TrySend(m Message) (wakes []Wake, notify string, err error) {
	if err := q.valid(m); err != nil {
		return nil, "", err
	}
	if len(q.messages) == q.maxMessages {
		return nil, "", ErrAgain
	}
	m.Body = slices.Clone(m.Body)
	if len(q.receivers) > 0 { // a blocked receiver takes it: no notification
		who := q.receivers[0].who
		q.receivers = q.receivers[1:]
		return []Wake{{Who: who, Message: m}}, "", nil
	}
	q.insert(m)
	if len(q.messages) == 1 {
		notify, q.notify = q.notify, ""
	}
	return nil, notify, nil
}

func (q *Queue) insert(m Message) {
	i := len(q.messages)
	for i > 0 && q.messages[i-1].Priority < m.Priority {
		i--
	}
	q.messages = slices.Insert(q.messages, i, m)
}

// Send is TrySend, but a full queue makes who wait.
func (q *Queue) Send(who string, m Message) (blocked bool, wakes []Wake, notify string, err error) {
	if q.senders.has(who) || q.receivers.has(who) {
		return false, nil, "", ErrWaiting
	}
	wakes, notify, err = q.TrySend(m)
	if err == ErrAgain {
		m.Body = slices.Clone(m.Body)
		q.senders = append(q.senders, waiter[Message]{who, m})
		return true, nil, "", nil
	}
	return false, wakes, notify, err
}

// TryReceive takes the first message: ErrAgain if there is none, ErrSize if the caller's buffer is smaller than the
// queue's longest message, whatever is in it. The wake is a sender that waited for room.
func (q *Queue) TryReceive(buffer int) (m Message, wakes []Wake, err error) {
	switch {
	case buffer < q.maxBytes:
		return Message{}, nil, ErrSize
	case len(q.messages) == 0:
		return Message{}, nil, ErrAgain
	}
	m = q.messages[0]
	q.messages = slices.Delete(q.messages, 0, 1)
	if len(q.senders) > 0 {
		s := q.senders[0]
		q.senders = q.senders[1:]
		q.insert(s.want)
		wakes = []Wake{{Who: s.who}}
	}
	return m, wakes, nil
}

// Receive is TryReceive, but an empty queue makes who wait; the message comes with the wake.
func (q *Queue) Receive(who string, buffer int) (m Message, blocked bool, wakes []Wake, err error) {
	if q.senders.has(who) || q.receivers.has(who) {
		return Message{}, false, nil, ErrWaiting
	}
	m, wakes, err = q.TryReceive(buffer)
	if err == ErrAgain {
		q.receivers = append(q.receivers, waiter[struct{}]{who: who})
		return Message{}, true, nil, nil
	}
	return m, false, wakes, err
}

// Expire ends the wait of who with ErrTimedOut, if it waits.
func (q *Queue) Expire(who string) []Wake {
	if q.senders.remove(who) || q.receivers.remove(who) {
		return []Wake{{Who: who, Err: ErrTimedOut}}
	}
	return nil
}

// Notify registers who to be told, once, when a message comes into the empty queue and no receiver waits. ErrBusy if
// somebody is registered. An empty name takes the registration back.
func (q *Queue) Notify(who string) error {
	if who != "" && q.notify != "" {
		return ErrBusy
	}
	q.notify = who
	return nil
}

// Names is the space of queue names: "/" and up to 254 further characters without another slash. A queue lives until
// its name is gone and it is closed by the last who has it open.
type Names struct {
	queues map[string]*named
}

type named struct {
	*Queue
	opens int
}

// Handle is one open of a queue.
type Handle struct {
	*Queue
	n      *named
	closed bool
}

// NewNames makes an empty space.
func NewNames() *Names { return &Names{map[string]*named{}} }

// Open opens a queue. With create it is made if it does not exist; with exclusive as well, ErrExist if it does.
func (n *Names) Open(name string, create, exclusive bool, messages, bytes int) (*Handle, error) {
	if len(name) < 2 || len(name) > MaxName || name[0] != '/' || strings.Contains(name[1:], "/") {
		return nil, fmt.Errorf("%w: name %.20q", ErrInvalid, name)
	}
	q, there := n.queues[name]
	switch {
	case there && create && exclusive:
		return nil, ErrExist
	case !there && !create:
		return nil, ErrNoEntry
	case !there:
		fresh, err := NewQueue(messages, bytes)
		if err != nil {
			return nil, err
		}
		q = &named{Queue: fresh}
		n.queues[name] = q
	}
	q.opens++
	return &Handle{Queue: q.Queue, n: q}, nil
}

// Unlink removes the name at once. Who has the queue open goes on with it.
func (n *Names) Unlink(name string) error {
	if n.queues[name] == nil {
		return ErrNoEntry
	}
	delete(n.queues, name)
	return nil
}

// Close ends one open and returns how many are left.
func (h *Handle) Close() int {
	if !h.closed {
		h.closed = true
		h.n.opens--
	}
	return h.n.opens
}
