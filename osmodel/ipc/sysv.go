package ipc

import "slices"

// DefaultQueueBytes is the capacity of a System V queue, MSGMNB.
const DefaultQueueBytes = 16384

// TypedQueue is a System V message queue (msgop(2)): messages have a type, and receivers choose by it.
type TypedQueue struct {
	capacity, used int
	messages       []Message
	senders        waiters[Message]
	receivers      waiters[selection]
	removed        bool
}

type selection struct {
	kind     int64
	buffer   int
	truncate bool
}

// NewTypedQueue makes a queue for so many bytes in all; 0 means the default.
func NewTypedQueue(bytes int) (*TypedQueue, error) {
	if bytes < 0 {
		return nil, ErrInvalid
	}
	if bytes == 0 {
		bytes = DefaultQueueBytes
	}
	return &TypedQueue{capacity: bytes}, nil
}

// Len returns how many messages are in the queue.
func (q *TypedQueue) Len() int { return len(q.messages) }

// full reports whether m has no room: bytes count, and messages too, so that empty ones do not pile up for ever.
func (q *TypedQueue) full(m Message) bool {
	return q.used+len(m.Body) > q.capacity || len(q.messages) >= q.capacity
}

// Send puts m into the queue. A full queue makes who wait, or is ErrAgain with noWait.
func (q *TypedQueue) Send(who string, m Message, noWait bool) (blocked bool, wakes []Wake, err error) {
	switch {
	case q.removed:
		return false, nil, ErrRemoved
	case q.senders.has(who) || q.receivers.has(who):
		return false, nil, ErrWaiting
	case m.Type < 1 || len(m.Body) > q.capacity:
		return false, nil, ErrInvalid
	}
	m.Body = slices.Clone(m.Body)
	switch {
	case q.full(m) && noWait:
		return false, nil, ErrAgain
	case q.full(m):
		q.senders = append(q.senders, waiter[Message]{who, m})
		return true, nil, nil
	}
	q.put(m)
	return false, q.settle(), nil
}

func (q *TypedQueue) put(m Message) {
	q.messages = append(q.messages, m)
	q.used += len(m.Body)
}

// choose returns the index of the message that kind means: 0 the first, above 0 the first of that type, below 0 the
// first of the lowest type that is at most -kind; -1 if there is none.
func (q *TypedQueue) choose(kind int64) int {
	best := -1
	for i, m := range q.messages {
		switch {
		case kind == 0, kind > 0 && m.Type == kind:
			return i
		case kind < 0 && m.Type <= -kind && (best < 0 || m.Type < q.messages[best].Type):
			best = i
		}
	}
	return best
}

// take removes the chosen message; ErrSize leaves it in the queue.
func (q *TypedQueue) take(s selection) (Message, error) {
	i := q.choose(s.kind)
	if i < 0 {
		return Message{}, ErrNoMsg
	}
	m := q.messages[i]
	if len(m.Body) > s.buffer && !s.truncate {
		return Message{}, ErrSize
	}
	q.messages = slices.Delete(q.messages, i, i+1)
	q.used -= len(m.Body)
	m.Body = m.Body[:min(len(m.Body), s.buffer)]
	return m, nil
}

// Receive takes the message that kind chooses. Without one, who waits, or with noWait it is ErrNoMsg. A message longer
// than buffer is ErrSize and stays, unless truncate allows it to be cut.
func (q *TypedQueue) Receive(who string, kind int64, buffer int, truncate, noWait bool) (m Message, blocked bool, wakes []Wake, err error) {
	switch {
	case q.removed:
		return Message{}, false, nil, ErrRemoved
	case q.senders.has(who) || q.receivers.has(who):
		return Message{}, false, nil, ErrWaiting
	case buffer < 0:
		return Message{}, false, nil, ErrInvalid
	}
	s := selection{kind, buffer, truncate}
	m, err = q.take(s)
	if err == ErrNoMsg && !noWait {
		q.receivers = append(q.receivers, waiter[selection]{who, s})
		return Message{}, true, nil, nil
	}
	if err != nil {
		return Message{}, false, nil, err
	}
	return m, false, q.settle(), nil
}

// settle serves those who wait for as long as somebody can be served.
func (q *TypedQueue) settle() (wakes []Wake) {
	for again := true; again; {
		again = false
		for len(q.senders) > 0 && !q.full(q.senders[0].want) {
			q.put(q.senders[0].want)
			wakes = append(wakes, Wake{Who: q.senders[0].who})
			q.senders = q.senders[1:]
			again = true
		}
		for i := 0; i < len(q.receivers); i++ {
			m, err := q.take(q.receivers[i].want)
			if err == ErrNoMsg {
				continue
			}
			wakes = append(wakes, Wake{Who: q.receivers[i].who, Message: m, Err: err})
			q.receivers = slices.Delete(q.receivers, i, i+1)
			i--
			again = true
		}
	}
	return wakes
}

// Remove deletes the queue and wakes all who wait with ErrRemoved.
func (q *TypedQueue) Remove() (wakes []Wake) {
	for _, s := range q.senders {
		wakes = append(wakes, Wake{Who: s.who, Err: ErrRemoved})
	}
	for _, r := range q.receivers {
		wakes = append(wakes, Wake{Who: r.who, Err: ErrRemoved})
	}
	*q = TypedQueue{removed: true}
	return wakes
}

// Topic broadcasts: every subscriber of the moment gets one copy of each message, those who come later none.
type Topic struct {
	limit  int
	boxes  map[string][]Message
	losses map[string]int
}

// NewTopic makes a topic whose subscribers have room for so many messages each; 0 means the default of a queue.
func NewTopic(limit int) *Topic {
	if limit <= 0 {
		limit = DefaultMessages
	}
	return &Topic{limit, map[string][]Message{}, map[string]int{}}
}

// Subscribe begins with an empty box.
func (t *Topic) Subscribe(who string) error {
	if _, there := t.boxes[who]; there {
		return ErrExist
	}
	t.boxes[who] = nil
	return nil
}

// Unsubscribe throws the box away.
func (t *Topic) Unsubscribe(who string) {
	delete(t.boxes, who)
	delete(t.losses, who)
}

// Publish gives a copy to every subscriber and returns to how many. A full box does not take it, and counts the loss.
func (t *Topic) Publish(m Message) (copies int) {
	for who, box := range t.boxes {
		if len(box) == t.limit {
			t.losses[who]++
			continue
		}
		c := m
		c.Body = slices.Clone(m.Body)
		t.boxes[who] = append(box, c)
		copies++
	}
	return copies
}

// Receive takes the oldest message of who's box, and how many were lost since the last one: ErrAgain if it is empty,
// ErrNoEntry for who did not subscribe.
func (t *Topic) Receive(who string) (m Message, lost int, err error) {
	box, there := t.boxes[who]
	switch {
	case !there:
		return Message{}, 0, ErrNoEntry
	case len(box) == 0:
		return Message{}, 0, ErrAgain
	}
	t.boxes[who] = box[1:]
	lost = t.losses[who]
	delete(t.losses, who)
	return box[0], lost, nil
}
