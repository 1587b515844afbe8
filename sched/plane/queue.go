package plane

import (
	"encoding/binary"
	"slices"

	"dfs/cluster/fault"
)

// Keys of queues:
//
//	03 'q' name                     queue
//	03 'm' name 00 for number       message that can be received: by one session, or by any (for 0)
//	03 'i' name 00 receipt          message that was received and is not settled
//	03 'd' name 00 idempotency-key  number of the message that was sent under it
//	03 'e' name 00 number           idempotency key, oldest first
const (
	keyQueue    = 'q'
	keyMessage  = 'm'
	keyFlight   = 'i'
	keyRepeat   = 'd'
	keyRepeated = 'e'
)

// Queue is a named queue. Delivery is at least once: a message that was received is another's again unless it is
// acknowledged within its time, and its receipt is worthless from then on.
type Queue struct {
	Name        string
	MessagesMax uint64
	Visible     int64  // nanoseconds until a message that was received and not settled comes back
	TriesMax    uint64 // after so many deliveries it goes to Dead; 0 never
	Dead        string // name of the queue for those
	Ending      bool

	Ready, Flying, Bytes uint64 // messages, and bytes of both
	Sent                 uint64 // ever
	Low                  uint64 // no message for any is ready below this number
	Repeats, FirstRepeat uint64 // idempotency keys that are remembered, and where they begin
	Subscribers          []uint64
}

func (q *Queue) fields(f *fields) {
	f.text(&q.Name, NameMax)
	f.int(&q.Visible)
	f.text(&q.Dead, NameMax)
	f.bool(&q.Ending)
	for _, v := range []*uint64{&q.MessagesMax, &q.TriesMax, &q.Ready, &q.Flying, &q.Bytes, &q.Sent, &q.Low, &q.Repeats, &q.FirstRepeat} {
		f.uint(v)
	}
	list(f, &q.Subscribers, SubscribersMax, f.uint)
}

// Message is one message.
type Message struct {
	Number  uint64 // grows
	Body    []byte
	Sent    int64 // the sender's clock, UTC nanoseconds
	Tries   uint64
	For     uint64 // the session that alone may receive it; 0 any
	From    string // of a dead letter: the queue it comes from
	Receipt uint64 // of one that was received
	Holder  uint64 // session of who received it; 0 none
	Key     string // its idempotency key
}

func (m *Message) fields(f *fields) {
	f.uint(&m.Number)
	f.bytes(&m.Body, MessageMax)
	f.int(&m.Sent)
	f.uint(&m.Tries)
	f.uint(&m.For)
	f.text(&m.From, NameMax)
	f.uint(&m.Receipt)
	f.uint(&m.Holder)
	f.text(&m.Key, NameMax)
}

// CreateQueue makes a queue, or changes the settings of one that is there (Outcome Repeat). Zero fields take the default.
type CreateQueue struct {
	Name        string
	MessagesMax uint64
	Visible     int64
	TriesMax    uint64
	Dead        string
}

func (o *CreateQueue) fields(f *fields) {
	f.text(&o.Name, NameMax+1)
	f.uint(&o.MessagesMax)
	f.int(&o.Visible)
	f.uint(&o.TriesMax)
	f.text(&o.Dead, NameMax+1)
}

func (o *CreateQueue) check() error {
	if o.MessagesMax > MessagesMax {
		return over("queue", MessagesMax, "messages in one queue")
	}
	if (o.TriesMax > 0) != (o.Dead != "") {
		return fault.New("queue", fault.Invalid, "dead letters need both: after how many deliveries, and which queue they go to")
	}
	if o.Dead != "" {
		if err := checkName("queue", o.Dead); err != nil {
			return err
		}
		if o.Dead == o.Name {
			return fault.New("queue", fault.Invalid, "a queue's dead letters go to another queue")
		}
	}
	if o.Visible != 0 {
		if err := checkTTL("queue", o.Visible); err != nil {
			return err
		}
	}
	return checkName("queue", o.Name)
}

func (o *CreateQueue) apply(m *machine) (Result, error) {
	var q Queue
	there := m.load(key(keyQueue, o.Name), &q)
	if there && q.Ending {
		return Result{}, fault.New("queue", fault.Conflict, "%s is being deleted", o.Name)
	}
	if c := m.counters(); !there {
		if c.Queues >= QueuesMax {
			return Result{}, over("queue", QueuesMax, "queues")
		}
		c.Queues++
	}
	if o.Dead != "" {
		if _, err := m.queue(o.Dead); err != nil {
			return Result{}, err
		}
	}
	q.Name, q.TriesMax, q.Dead = o.Name, o.TriesMax, o.Dead
	if q.MessagesMax = o.MessagesMax; q.MessagesMax == 0 {
		q.MessagesMax = MessagesUsual
	}
	if q.Visible = o.Visible; q.Visible == 0 {
		q.Visible = ttl(VisibleUsual)
	}
	m.saveQueue(&q)
	if there {
		return Result{Outcome: Repeat}, nil
	}
	return Result{}, nil
}

// DeleteQueue removes a queue and its messages: some at a time (Outcome More). fault.Conflict if there are any, unless Force.
type DeleteQueue struct {
	Name  string
	Force bool
}

func (o *DeleteQueue) fields(f *fields) {
	f.text(&o.Name, NameMax)
	f.bool(&o.Force)
}

func (o *DeleteQueue) check() error { return checkName("queue", o.Name) }

func (o *DeleteQueue) apply(m *machine) (Result, error) {
	q, err := m.queue(o.Name)
	if err != nil {
		return Result{}, err
	}
	if q.Ready+q.Flying > 0 && !o.Force && !q.Ending {
		return Result{}, fault.New("queue", fault.Conflict, "%s has %d messages", o.Name, q.Ready+q.Flying)
	}
	q.Ending = true
	left := deletedAtOnce
	for _, kind := range []byte{keyMessage, keyFlight, keyRepeat, keyRepeated} {
		ks, vs := m.keys(key(kind, o.Name, end), nil, left)
		left -= len(ks)
		for i, k := range ks {
			m.delete(k)
			if kind == keyFlight {
				m.land(o.Name, vs[i])
			}
		}
	}
	m.topic(TopicQueue(o.Name))
	if left == 0 {
		m.saveQueue(&q)
		return Result{Outcome: More}, nil
	}
	for _, s := range q.Subscribers {
		m.disown(s, keyQueue, o.Name)
	}
	m.counters().Queues--
	m.delete(key(keyQueue, o.Name))
	return Result{}, nil
}

// land ends the alarm and the ownership of an encoded message in flight.
func (m *machine) land(queue string, b []byte) {
	msg := m.message(b)
	m.disarm(msg.Receipt)
	m.disown(msg.Holder, keyFlight, flightName(queue, msg.Receipt))
}

// Send puts a message into a queue. With a Key that was used before, among the newest, nothing is sent: Outcome
// Repeat. Result: ID, its number. fault.Quota: the queue is full.
type Send struct {
	Name string
	Body []byte
	Key  string
}

func (o *Send) fields(f *fields) {
	f.text(&o.Name, NameMax)
	f.bytes(&o.Body, MessageMax+1)
	f.text(&o.Key, NameMax+1)
}

func (o *Send) check() error {
	if len(o.Body) > MessageMax {
		return fault.New("queue", fault.TooBig, "a message has at most %d bytes", MessageMax)
	}
	if o.Key != "" {
		if err := checkName("queue", o.Key); err != nil {
			return err
		}
	}
	return checkName("queue", o.Name)
}

func (o *Send) apply(m *machine) (Result, error) {
	q, err := m.queue(o.Name)
	if err != nil {
		return Result{}, err
	}
	var old Message // only its number
	if o.Key != "" && m.load(key(keyRepeat, o.Name, end, o.Key), &old) {
		return Result{ID: old.Number, Outcome: Repeat}, nil
	}
	if err := q.room(len(o.Body), 1); err != nil {
		return Result{}, err
	}
	msg := Message{Number: m.token(), Body: o.Body, Sent: m.c.Time, Key: o.Key}
	m.ready(&q, msg)
	q.Sent++
	if o.Key != "" {
		m.remember(&q, o.Key, msg.Number)
	}
	m.saveQueue(&q)
	return Result{ID: msg.Number}, nil
}

// room refuses what no longer fits.
func (q *Queue) room(bytes, n int) error {
	if q.Ending {
		return fault.New("queue", fault.Conflict, "%s is being deleted", q.Name)
	}
	if q.Ready+q.Flying+uint64(n) > q.MessagesMax {
		return fault.New("queue", fault.Quota, "%s is full: %d messages", q.Name, q.MessagesMax)
	}
	if q.Bytes+uint64(bytes*n) > QueueBytes {
		return fault.New("queue", fault.Quota, "%s is full: %d bytes", q.Name, q.Bytes)
	}
	return nil
}

// remember keeps an idempotency key, and forgets the oldest where there are too many.
func (m *machine) remember(q *Queue, k string, number uint64) {
	m.save(key(keyRepeat, q.Name, end, k), &Message{Number: number})
	m.put(key(keyRepeated, q.Name, end, number), []byte(k))
	q.Repeats++
	if q.Repeats == 1 {
		q.FirstRepeat = number
	}
	if q.Repeats <= RepeatsKept {
		return
	}
	ks, vs := m.keys(key(keyRepeated, q.Name, end), key(keyRepeated, q.Name, end, q.FirstRepeat), 2)
	if len(ks) < 2 {
		return
	}
	m.delete(ks[0])
	m.delete(key(keyRepeat, q.Name, end, string(vs[0])))
	q.Repeats--
	q.FirstRepeat = binary.BigEndian.Uint64(ks[1][len(ks[1])-8:])
}

// Broadcast sends one copy to each session that subscribes to the queue now. Result: Count.
type Broadcast struct {
	Name string
	Body []byte
}

func (o *Broadcast) fields(f *fields) {
	f.text(&o.Name, NameMax)
	f.bytes(&o.Body, MessageMax+1)
}

func (o *Broadcast) check() error { return (&Send{Name: o.Name, Body: o.Body}).check() }

func (o *Broadcast) apply(m *machine) (Result, error) {
	q, err := m.queue(o.Name)
	if err != nil {
		return Result{}, err
	}
	if err := q.room(len(o.Body), len(q.Subscribers)); err != nil {
		return Result{}, err
	}
	for _, s := range q.Subscribers {
		m.ready(&q, Message{Number: m.token(), Body: o.Body, Sent: m.c.Time, For: s})
		q.Sent++
	}
	m.saveQueue(&q)
	return Result{Count: int64(len(q.Subscribers))}, nil
}

// Subscribe makes a session one that gets copies of broadcasts from now on.
type Subscribe struct {
	Name    string
	Session uint64
}

func (o *Subscribe) fields(f *fields) {
	f.text(&o.Name, NameMax)
	f.uint(&o.Session)
}

func (o *Subscribe) check() error { return checkName("queue", o.Name) }

func (o *Subscribe) apply(m *machine) (Result, error) {
	q, err := m.queue(o.Name)
	if err != nil || slices.Contains(q.Subscribers, o.Session) {
		return Result{}, err
	}
	if len(q.Subscribers) >= SubscribersMax {
		return Result{}, over("queue", SubscribersMax, "subscribers of one queue")
	}
	if err := m.own(o.Session, keyQueue, o.Name); err != nil {
		return Result{}, err
	}
	q.Subscribers = append(q.Subscribers, o.Session)
	m.saveQueue(&q)
	return Result{}, nil
}

// unsubscribe ends a session's subscription and drops what only it could have received.
func (m *machine) unsubscribe(name string, session uint64) {
	q, err := m.queue(name)
	if err != nil {
		return
	}
	q.Subscribers = slices.DeleteFunc(q.Subscribers, func(s uint64) bool { return s == session })
	ks, vs := m.keys(key(keyMessage, name, end, session), nil, deletedAtOnce)
	for i, k := range ks {
		m.delete(k)
		q.Ready--
		q.Bytes -= uint64(len(m.message(vs[i]).Body))
	}
	m.saveQueue(&q)
}

// Receive takes the first message that the session may have. It is the session's, or with session 0 whoever's has the receipt,
// until it is settled, its time is over, or the session ends. Result: Message, and ID, its receipt; or Empty.
type Receive struct {
	Name    string
	Session uint64
	Own     bool  // only copies of broadcasts
	Visible int64 // 0: the queue's
}

func (o *Receive) fields(f *fields) {
	f.text(&o.Name, NameMax)
	f.uint(&o.Session)
	f.bool(&o.Own)
	f.int(&o.Visible)
}

func (o *Receive) check() error {
	if o.Visible != 0 {
		if err := checkTTL("queue", o.Visible); err != nil {
			return err
		}
	}
	return checkName("queue", o.Name)
}

func (o *Receive) apply(m *machine) (Result, error) {
	q, err := m.queue(o.Name)
	if err != nil {
		return Result{}, err
	}
	k, msg, ok := m.next(&q, o)
	if !ok {
		return Result{Outcome: Empty}, nil
	}
	m.delete(k)
	msg.Receipt, msg.Holder = m.token(), o.Session
	msg.Tries++
	if o.Session != 0 {
		if err := m.own(o.Session, keyFlight, flightName(o.Name, msg.Receipt)); err != nil {
			return Result{}, err
		}
	}
	m.save(key(keyFlight, o.Name, end, msg.Receipt), &msg)
	after := o.Visible
	if after == 0 {
		after = q.Visible
	}
	m.arm(Alarm{ID: msg.Receipt, After: after, Queue: o.Name})
	q.Ready--
	q.Flying++
	m.saveQueue(&q)
	return Result{ID: msg.Receipt, Message: &msg}, nil
}

// next returns the first message that may be received, and its key.
func (m *machine) next(q *Queue, o *Receive) (k []byte, msg Message, ok bool) {
	if o.Session != 0 && slices.Contains(q.Subscribers, o.Session) {
		if ks, vs := m.keys(key(keyMessage, q.Name, end, o.Session), nil, 1); len(ks) > 0 {
			return ks[0], m.message(vs[0]), true
		}
	}
	if o.Own {
		return nil, msg, false
	}
	any := key(keyMessage, q.Name, end, uint64(0))
	ks, vs := m.keys(any, key(keyMessage, q.Name, end, uint64(0), q.Low), 1)
	if len(ks) == 0 {
		return nil, msg, false
	}
	msg = m.message(vs[0])
	q.Low = msg.Number + 1
	return ks[0], msg, true
}

// message decodes a stored message.
func (m *machine) message(b []byte) (msg Message) {
	if err := decode(b, &msg); err != nil {
		m.fail(fault.Because("plane read", fault.Corrupt, err))
	}
	return msg
}

func flightName(queue string, receipt uint64) string {
	return string(binary.BigEndian.AppendUint64(append([]byte(queue), end), receipt))
}

// How a received message can be settled.
const (
	Ack    uint8 = iota // it is done with
	Back                // let another have it
	Extend              // it takes longer: its time begins anew
)

// Settle says what becomes of a message that was received. fault.Stale: it was settled, or its time was over, and it is
// another's by now.
type Settle struct {
	Name    string
	Receipt uint64
	How     uint8
	Visible int64 // of Extend; 0: the queue's
}

func (o *Settle) fields(f *fields) {
	f.text(&o.Name, NameMax)
	f.uint(&o.Receipt)
	f.byte(&o.How)
	f.int(&o.Visible)
}

func (o *Settle) check() error {
	if o.How > Extend {
		return fault.New("queue", fault.Invalid, "a message is acknowledged, given back or extended")
	}
	return (&Receive{Name: o.Name, Visible: o.Visible}).check()
}

func (o *Settle) apply(m *machine) (Result, error) {
	q, err := m.queue(o.Name)
	if err != nil {
		return Result{}, err
	}
	var msg Message
	k := key(keyFlight, o.Name, end, o.Receipt)
	if !m.load(k, &msg) {
		return Result{}, fault.New("queue", fault.Stale, "receipt %d of %s: the message was settled, or is another's by now", o.Receipt, o.Name)
	}
	switch o.How {
	case Extend:
		after := o.Visible
		if after == 0 {
			after = q.Visible
		}
		m.arm(Alarm{ID: o.Receipt, After: after, Queue: o.Name})
	case Back:
		m.comeBack(o.Name, o.Receipt)
	default:
		m.delete(k)
		m.disarm(o.Receipt)
		m.disown(msg.Holder, keyFlight, flightName(o.Name, o.Receipt))
		q.Flying--
		q.Bytes -= uint64(len(msg.Body))
		m.saveQueue(&q)
	}
	return Result{ID: msg.Number}, nil
}

// comeBack makes a message that was received one that can be: first of the queue, as it was, or a dead letter.
func (m *machine) comeBack(name string, receipt uint64) {
	var msg Message
	k := key(keyFlight, name, end, receipt)
	q, err := m.queue(name)
	if err != nil || !m.load(k, &msg) {
		return
	}
	m.delete(k)
	m.disarm(receipt)
	m.disown(msg.Holder, keyFlight, flightName(name, receipt))
	q.Flying--
	q.Bytes -= uint64(len(msg.Body))
	msg.Receipt, msg.Holder = 0, 0
	if msg.For != 0 && !slices.Contains(q.Subscribers, msg.For) {
		m.saveQueue(&q) // nobody can have it any more
		return
	}
	if q.TriesMax > 0 && msg.Tries >= q.TriesMax && m.bury(q.Dead, msg, name) {
		m.saveQueue(&q)
		return
	}
	m.ready(&q, msg)
	m.saveQueue(&q)
}

// bury makes a message a dead letter, unless that queue is gone or full: then it stays where it was.
func (m *machine) bury(dead string, msg Message, from string) bool {
	q, err := m.queue(dead)
	if err != nil || q.room(len(msg.Body), 1) != nil {
		return false
	}
	msg.Number, msg.From, msg.Tries, msg.For = m.token(), from, 0, 0
	m.ready(&q, msg)
	q.Sent++
	m.saveQueue(&q)
	return true
}

// ready puts a message where it can be received.
func (m *machine) ready(q *Queue, msg Message) {
	m.save(key(keyMessage, q.Name, end, msg.For, msg.Number), &msg)
	q.Ready++
	q.Bytes += uint64(len(msg.Body))
	if msg.For == 0 {
		q.Low = min(q.Low, msg.Number)
	}
	m.topic(TopicQueue(q.Name))
}

func (m *machine) queue(name string) (q Queue, err error) {
	if !m.load(key(keyQueue, name), &q) {
		return q, fault.New("queue", fault.NotExist, "%s", name)
	}
	return q, nil
}

func (m *machine) saveQueue(q *Queue) { m.save(key(keyQueue, q.Name), q) }
