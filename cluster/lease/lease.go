// Package lease decides when an answer may be given.
//
// Every mount reads metadata from its own replica and lets its kernel cache what it read. That is coherent because
// of two rules this package keeps, both pure and driven from outside with the time passed in:
//
//   - A Holder (one a peer) answers only while its lease lasts, and knows which log indexes the leader has released.
//   - A Table (the leader's, one a term) releases an index only when every holder has taken its changes in, or
//     has certainly lost its lease.
//
// A Holder sends Reports: what it has taken in and, every Renew, that it wants to go on. The leader answers a
// renewal with a Grant once a quorum, asked after the renewal arrived, has confirmed that it still leads. The
// holder counts its lease from the moment it sent the renewal, the leader from the moment it came, with Slack on top: the leader
// never believes a lease over that is not.
//
// A lease that has run out proves nothing to a leader who may be none any more: one who was stopped for a while wakes to
// find everybody's over, while others hold them from his successor. So what nobody has taken in is released only after a
// quorum, asked after the lease was over, has confirmed him.
//
// These messages carry whole states, so that a lost one costs time and nothing else.
//
// A fourth saves a round: Early says that a change has been taken in that is not committed yet. Whoever says so answers nothing about
// what it changes until it knows whether it is, and that it is released.
//
// How long a lease should be. A mount that falls silent (its machine is frozen, or cut off) holds up whatever was being
// changed until its lease is over: Length + Slack from its last renewal, a tick of the leader's clock until that is seen (50
// ms), and two trips on the network: 0.83 s, of the second that is allowed. It may miss six renewals in a row before it loses
// its lease by mistake, which costs it its caches. What a kernel knows must be asked for again after Length less the age of the last renewal:
// 0.6 s on average, 2 % of one core for 1,000 names in use. A renewal costs two small messages to the leader, and all
// renewals of a moment one round of heartbeats: in an idle cluster of three some 150 messages a second at the leader,
// half a percent of a core.
// A new leader comes after 1 to 2 s of silence (consensus core) and waits one lease: 3 s, and 5 s if two candidates
// collide. Leases that outlast elections would spare the others' caches then, but not that wait.
//
// Times are CLOCK_BOOTTIME readings: a machine that was suspended must know it.
package lease

import (
	"cmp"
	"slices"
	"time"

	"dfs/net/wire"
)

const (
	Length = 700 * time.Millisecond // of a lease, as the holder counts it
	Renew  = 100 * time.Millisecond // between renewals
	Slack  = Length / 10            // added by the leader: clocks of two machines run at different speeds
	Resend = 100 * time.Millisecond
	Budget = 500 * time.Millisecond // for a kernel to take one change in; beyond, its mount's lease is not renewed

	exceptMax = 4096 // indexes beyond the prefix of a Seen that travels
	noteMax   = 48 << 10
)

// Seen is a set of log indexes: all up to Prefix, and those of Except, which are above Prefix+1 and sorted.
type Seen struct {
	Prefix uint64
	Except []uint64
}

// Has reports whether index is in the set.
func (s Seen) Has(index uint64) bool {
	if index <= s.Prefix {
		return true
	}
	_, ok := slices.BinarySearch(s.Except, index)
	return ok
}

// union returns the indexes that are in s or in t.
func (s Seen) union(t Seen) Seen {
	all := append(slices.Clone(s.Except), t.Except...)
	slices.Sort(all)
	return NewSeen(max(s.Prefix, t.Prefix), slices.Compact(all))
}

// NewSeen returns the set of all indexes up to prefix and those of except, which must be sorted and without
// repeats. It takes ownership of except.
func NewSeen(prefix uint64, except []uint64) Seen {
	n := 0
	for n < len(except) && except[n] <= prefix+1 {
		prefix = max(prefix, except[n])
		n++
	}
	if except = except[n:]; len(except) == 0 {
		except = nil
	}
	return Seen{Prefix: prefix, Except: except}
}

// append encodes the set; what does not fit exceptMax is told another time.
func (s Seen) append(b []byte) []byte {
	except := s.Except[:min(len(s.Except), exceptMax)]
	b = wire.AppendUint(b, s.Prefix)
	b = wire.AppendUint(b, uint64(len(except)))
	last := s.Prefix
	for _, i := range except {
		b = wire.AppendUint(b, i-last)
		last = i
	}
	return b
}

func readSeen(r *wire.Reader) Seen {
	s := Seen{Prefix: r.Uint()}
	n := r.Count(exceptMax)
	last := s.Prefix
	for range n {
		step := r.Uint()
		next := last + step
		if next <= last { // zero or overflow: the order is part of the format
			return Seen{Prefix: s.Prefix}
		}
		s.Except = append(s.Except, next)
		last = next
	}
	return s
}

// Report is a holder's word to the leader.
type Report struct {
	Epoch   uint64 // this holder's incarnation; a new one begins each time the lease was lost. 0: no mount
	Seq     uint64 // of a renewal; 0: only tells
	Holding bool   // by the sender's clock a lease was running when this was sent, or was cut short and its caches are not dropped
	Seen    Seen   // what its kernel has taken in
	Note    []byte // for the leader's other loops; opaque here; empty: nothing new
}

// Grant answers a renewal.
type Grant struct {
	Epoch, Seq uint64
	Refused    bool // this epoch is over: drop everything cached and begin another
	Released   Seen
}

// Release says which indexes every holder has taken in.
type Release struct{ Released Seen }

// Early is a holder's word about entries that may not be committed yet: its kernel has taken in everything up to Index, in the log
// whose entry at Index is of Term.
type Early struct{ Epoch, Index, Term uint64 }

// Hurry asks the leader to tell at once what it knows to be released.
type Hurry struct{}

// Kinds of the messages.
const (
	KindReport  = wire.KindLease
	KindGrant   = wire.KindLease + 1
	KindRelease = wire.KindLease + 2
	KindEarly   = wire.KindLease + 3
	KindHurry   = wire.KindLease + 4
)

func (*Report) Kind() wire.Kind  { return KindReport }
func (*Grant) Kind() wire.Kind   { return KindGrant }
func (*Release) Kind() wire.Kind { return KindRelease }
func (*Early) Kind() wire.Kind   { return KindEarly }
func (*Hurry) Kind() wire.Kind   { return KindHurry }

// Append implements wire.Message.
func (m *Report) Append(b []byte) []byte {
	b = wire.AppendUint(b, m.Epoch)
	b = wire.AppendUint(b, m.Seq)
	b = wire.AppendBool(b, m.Holding)
	b = m.Seen.append(b)
	return wire.AppendBytes(b, m.Note)
}

// Decode implements wire.Message.
func (m *Report) Decode(b []byte) error {
	r := wire.NewReader(b)
	*m = Report{Epoch: r.Uint(), Seq: r.Uint(), Holding: r.Bool(), Seen: readSeen(r), Note: r.Bytes(noteMax)}
	return r.Done()
}

// Append implements wire.Message.
func (m *Grant) Append(b []byte) []byte {
	b = wire.AppendUint(b, m.Epoch)
	b = wire.AppendUint(b, m.Seq)
	b = wire.AppendBool(b, m.Refused)
	return m.Released.append(b)
}

// Decode implements wire.Message.
func (m *Grant) Decode(b []byte) error {
	r := wire.NewReader(b)
	*m = Grant{Epoch: r.Uint(), Seq: r.Uint(), Refused: r.Bool(), Released: readSeen(r)}
	return r.Done()
}

// Append implements wire.Message.
func (m *Release) Append(b []byte) []byte { return m.Released.append(b) }

// Decode implements wire.Message.
func (m *Release) Decode(b []byte) error {
	r := wire.NewReader(b)
	*m = Release{Released: readSeen(r)}
	return r.Done()
}

// Append implements wire.Message.
func (m *Early) Append(b []byte) []byte {
	return wire.AppendUint(wire.AppendUint(wire.AppendUint(b, m.Epoch), m.Index), m.Term)
}

// Decode implements wire.Message.
func (m *Early) Decode(b []byte) error {
	r := wire.NewReader(b)
	*m = Early{Epoch: r.Uint(), Index: r.Uint(), Term: r.Uint()}
	return r.Done()
}

// Append implements wire.Message.
func (*Hurry) Append(b []byte) []byte { return b }

// Decode implements wire.Message.
func (*Hurry) Decode(b []byte) error { return wire.NewReader(b).Done() }

// minPrefix returns the smallest prefix of the sets, or top if there are none.
func minPrefix(sets []Seen, top uint64) uint64 {
	if len(sets) == 0 {
		return top
	}
	least := slices.MinFunc(sets, func(a, b Seen) int { return cmp.Compare(a.Prefix, b.Prefix) })
	return min(least.Prefix, top)
}
