package state

import (
	"fmt"

	"dfs/cluster"
	"dfs/cluster/fault"
	"dfs/net/wire"
)

// facts carries out one proposal about the facts and tells the parts what concerns them.
func (e *entry) facts(o *overlay, c Context, body []byte) ([]byte, []Change, error) {
	f, err := decodeFact(wire.NewReader(body))
	if err != nil {
		return nil, nil, err
	}
	a := agree{tx: o, c: c}
	payload, err := a.carry(f)
	if err != nil {
		return nil, nil, err
	}
	changes := []Change{{Tag: TagFacts, What: &a.did}}
	for _, s := range a.did.Ended {
		more, err := e.tell(o, c, SessionEnded{Session: s})
		if err != nil {
			return nil, nil, err
		}
		changes = append(changes, more...)
	}
	if a.did.Members {
		v := View{r: o}
		members, err := v.Members()
		if err != nil {
			return nil, nil, err
		}
		more, err := e.tell(o, c, MembersChanged{Members: members})
		if err != nil {
			return nil, nil, err
		}
		changes = append(changes, more...)
	}
	return payload, changes, nil
}

// agree is one fact being carried out.
type agree struct {
	tx  Tx
	c   Context
	did Facts
}

func (a *agree) carry(f Fact) ([]byte, error) {
	switch f := f.(type) {
	case Genesis:
		return nil, a.genesis(f)
	case Admit:
		return a.admit(f)
	case SetMember:
		return a.setMember(f)
	case RemoveMember:
		return nil, a.removeMember(f)
	case TokenCreate:
		return nil, a.tokenCreate(f)
	case TokenRevoke:
		return nil, a.tokenRevoke(f)
	case OpenSession:
		return nil, a.openSession(f)
	case EndSession:
		return nil, a.endSession(f.Session)
	}
	return nil, invalid("fact %T", f)
}

func (a *agree) genesis(f Genesis) error {
	if _, ok, err := a.tx.Get(genesisKey); err != nil {
		return err
	} else if ok {
		return fault.New("genesis", fault.Exist, "the cluster has begun")
	}
	if err := a.tx.Set(genesisKey, f.append(nil)); err != nil {
		return err
	}
	a.did.Genesis = true
	_, err := a.join(f.First)
	return err
}

func (a *agree) admit(f Admit) ([]byte, error) {
	old, known, err := a.member(f.Member.ID)
	if err != nil {
		return nil, err
	}
	if known && old.State != cluster.Lost {
		f.Member.Zone, f.Member.Capacity = old.Zone, old.Capacity
		return a.save(f.Member, old)
	}
	if err := a.spend(f.Token); err != nil {
		return nil, err
	}
	return a.join(f.Member)
}

// spend uses a token up by one.
func (a *agree) spend(id TokenID) error {
	v, ok, err := a.tx.Get(tokenKey(id))
	if err != nil {
		return err
	}
	if !ok {
		return fault.New("admit", fault.NotExist, "token %x: revoked, used up, or of another cluster", id)
	}
	d := wire.NewReader(v)
	t := readToken(d)
	switch {
	case d.Done() != nil:
		return corrupt("token", d.Done())
	case t.Expiry != 0 && a.c.Time >= t.Expiry:
		return fault.New("admit", fault.Refused, "token %x has expired", id)
	case t.Uses == 0:
		return fault.New("admit", fault.Refused, "token %x is used up", id)
	}
	t.Uses--
	a.did.Tokens = true
	return a.tx.Set(tokenKey(id), appendToken(nil, t))
}

// join makes m a new member.
func (a *agree) join(m cluster.Member) ([]byte, error) {
	if len(m.Key) != 32 || cluster.IDOf(m.Key) != m.ID {
		return nil, invalid("the key is not that of peer %s", m.ID)
	}
	v := View{r: a.tx}
	all, err := v.Members()
	if err != nil {
		return nil, err
	}
	if len(all) >= membersN {
		return nil, fault.New("admit", fault.Quota, "%d members", len(all))
	}
	m.State, m.Joined = cluster.Alive, a.c.Index
	b, err := a.save(m, cluster.Member{State: m.State, Joined: m.Joined, Key: m.Key})
	if err == nil {
		now, err := DecodeMember(b)
		a.did.Admitted = &now
		return b, err
	}
	return nil, err
}

// save stores m with the identity, state and seniority of old, and a name nobody else has.
func (a *agree) save(m, old cluster.Member) ([]byte, error) {
	name, err := a.unique(m.Name, m.ID)
	if err != nil {
		return nil, err
	}
	m.Name, m.Key, m.State, m.Joined = name, old.Key, old.State, old.Joined
	a.did.Members = true
	b := AppendMember(nil, m)
	return b, a.tx.Set(memberKey(m.ID), b)
}

// unique returns name, or name-2, name-3, ... if another member has it.
func (a *agree) unique(name string, id cluster.PeerID) (string, error) {
	v := View{r: a.tx}
	all, err := v.Members()
	if err != nil {
		return "", err
	}
	taken := map[string]bool{}
	for _, m := range all {
		if m.ID != id {
			taken[m.Name] = true
		}
	}
	if name == "" {
		name = "peer-" + id.Short()
	}
	try := name
	for n := 2; taken[try]; n++ {
		tail := fmt.Sprintf("-%d", n)
		try = name[:min(len(name), nameMax-len(tail))] + tail
	}
	return try, nil
}

func (a *agree) setMember(f SetMember) ([]byte, error) {
	m, ok, err := a.member(f.ID)
	if err != nil {
		return nil, err
	}
	if !ok {
		return nil, noMember(f.ID)
	}
	if f.Mask&SetName != 0 {
		m.Name = f.Name
	}
	if f.Mask&SetAddr != 0 {
		m.Addr = f.Addr
	}
	if f.Mask&SetZone != 0 {
		m.Zone = f.Zone
	}
	if f.Mask&SetHost != 0 {
		m.Host = f.Host
	}
	if f.Mask&SetCapacity != 0 {
		m.Capacity = max(f.Capacity, 0)
	}
	if f.Mask&SetState != 0 {
		if f.State == cluster.Suspect || f.State > cluster.Lost {
			return nil, invalid("%v is no fact about a member", f.State)
		}
		m.State = f.State
	}
	return a.save(m, m)
}

func (a *agree) removeMember(f RemoveMember) error {
	m, ok, err := a.member(f.ID)
	if err != nil {
		return err
	}
	if !ok {
		return noMember(f.ID)
	}
	v := View{r: a.tx}
	all, err := v.Members()
	if err != nil {
		return err
	}
	if len(all) == 1 {
		return fault.New("remove member", fault.Refused, "it is the last one")
	}
	a.did.Members, a.did.Removed = true, &m
	if err := a.tx.Delete(memberKey(f.ID)); err != nil {
		return err
	}
	_, err = a.endSessionsOf(f.ID, ^uint64(0))
	return err
}

func (a *agree) tokenCreate(f TokenCreate) error {
	v := View{r: a.tx}
	all, err := v.Tokens()
	if err != nil {
		return err
	}
	live := 0
	for _, t := range all { // dead ones are kept for a while, so that who tries one is told why it does not work
		if t.ID == f.Token.ID {
			return fault.New("token create", fault.Exist, "%x", t.ID)
		}
		if t.Dead(a.c.Time) && (len(all) >= tokensN || t.Expiry != 0 && t.Expiry+deadTokens <= a.c.Time) {
			if err := a.tx.Delete(tokenKey(t.ID)); err != nil {
				return err
			}
			continue
		}
		live++
	}
	if live >= tokensN {
		return fault.New("token create", fault.Quota, "%d tokens", live)
	}
	a.did.Tokens = true
	return a.tx.Set(tokenKey(f.Token.ID), appendToken(nil, f.Token))
}

func (a *agree) tokenRevoke(f TokenRevoke) error {
	if _, ok, err := a.tx.Get(tokenKey(f.ID)); err != nil {
		return err
	} else if !ok {
		return fault.New("token revoke", fault.NotExist, "%x", f.ID)
	}
	a.did.Tokens = true
	return a.tx.Delete(tokenKey(f.ID))
}

func (a *agree) openSession(f OpenSession) error {
	if s, known, err := readSession(a.tx, a.c.Session); err != nil {
		return err
	} else if known && s.Peer == f.Peer && s.Incarnation == f.Incarnation {
		return nil // it is asked for again, because nobody heard that it is open
	} else if known {
		return fault.New("open session", fault.Exist, "%x", a.c.Session)
	}
	if was, err := hasEnded(a.tx, a.c.Session); err != nil {
		return err
	} else if was || a.c.Session == 0 {
		return ended(a.c.Session)
	}
	_, begun, err := a.tx.Get(genesisKey)
	if err != nil {
		return err
	}
	if _, member, err := a.member(f.Peer); err != nil {
		return err
	} else if begun && !member {
		return fault.New("open session", fault.Refused, "%s is no member", f.Peer)
	}
	if newer, err := a.endSessionsOf(f.Peer, f.Incarnation); err != nil {
		return err
	} else if newer {
		return fault.New("open session", fault.Stale, "%s has a newer session", f.Peer)
	}
	a.did.Opened = a.c.Session
	s := Session{ID: a.c.Session, Peer: f.Peer, Incarnation: f.Incarnation, Opened: a.c.Index, Since: a.c.Time, Low: 1}
	return a.tx.Set(sessionKey(s.ID), s.encode())
}

// endSessionsOf ends the sessions of a peer up to an incarnation and reports whether there is a newer one.
func (a *agree) endSessionsOf(id cluster.PeerID, incarnation uint64) (newer bool, err error) {
	v := View{r: a.tx}
	all, err := v.Sessions()
	if err != nil {
		return false, err
	}
	for _, s := range all {
		if s.Peer != id {
			continue
		}
		if s.Incarnation > incarnation {
			newer = true
		} else if err := a.endSession(s.ID); err != nil {
			return false, err
		}
	}
	return newer, nil
}

func (a *agree) endSession(id uint64) error {
	s, known, err := readSession(a.tx, id)
	if err != nil || !known {
		return err
	}
	a.did.Ended = append(a.did.Ended, id)
	return endSession(a.tx, a.c.Index, s)
}

func (a *agree) member(id cluster.PeerID) (cluster.Member, bool, error) {
	return readMemberAt(a.tx, id)
}

func noMember(id cluster.PeerID) error {
	return fault.New("member", fault.NotExist, "%s is no member", id)
}

func invalid(format string, args ...any) error {
	return fault.New("facts", fault.Invalid, format, args...)
}
