package state

import (
	"slices"

	"dfs/cluster"
	"dfs/cluster/fault"
	"dfs/net/wire"
)

// reader is what answering questions takes.
type reader interface {
	Get(key []byte) ([]byte, bool, error)
	Scan(prefix, from []byte, fn func(key, value []byte) bool) error
}

// View answers questions about the facts as of one index. It is as safe for concurrent use as its reader.
type View struct{ r reader }

// NewView returns the facts that r shows (a kv.Reader of Machine.At). The reader remains the caller's to close.
func NewView(r reader) View { return View{r: r} }

// Genesis returns how the cluster began. fault.NotExist before it has.
func (v View) Genesis() (Genesis, error) {
	b, ok, err := v.r.Get(genesisKey)
	if err != nil {
		return Genesis{}, err
	}
	if !ok {
		return Genesis{}, fault.New("genesis", fault.NotExist, "the cluster has not begun")
	}
	f, err := decodeFact(wire.NewReader(append([]byte{Genesis{}.fact()}, b...)))
	if err != nil {
		return Genesis{}, corrupt("genesis", err)
	}
	return f.(Genesis), nil
}

// Members returns all members, sorted by ID.
func (v View) Members() (all []cluster.Member, err error) {
	err = v.each(memberPrefix, func(_, b []byte) (err error) {
		m, err := DecodeMember(b)
		all = append(all, m)
		return corrupt("member", err)
	})
	return all, err
}

// Member returns one member. fault.NotExist.
func (v View) Member(id cluster.PeerID) (cluster.Member, error) {
	m, ok, err := readMemberAt(v.r, id)
	if err == nil && !ok {
		err = noMember(id)
	}
	return m, err
}

// Tokens returns all tokens that were not revoked, used up and expired ones included, sorted by ID.
func (v View) Tokens() (all []Token, err error) {
	err = v.each(tokenPrefix, func(_, b []byte) error {
		d := wire.NewReader(b)
		all = append(all, readToken(d))
		return corrupt("token", d.Done())
	})
	return all, err
}

// Token returns one token. fault.NotExist.
func (v View) Token(id TokenID) (Token, error) {
	b, ok, err := v.r.Get(tokenKey(id))
	if err != nil {
		return Token{}, err
	}
	if !ok {
		return Token{}, fault.New("token", fault.NotExist, "%x", id)
	}
	d := wire.NewReader(b)
	t := readToken(d)
	return t, corrupt("token", d.Done())
}

// Sessions returns all sessions that have not ended, oldest first.
func (v View) Sessions() (all []Session, err error) {
	err = v.each(sessionPrefix, func(k, b []byte) error {
		s, err := decodeSession(numberAt(k), b)
		all = append(all, s)
		return err
	})
	slices.SortStableFunc(all, func(a, b Session) int { return int(min(max(int64(a.Opened)-int64(b.Opened), -1), 1)) })
	return all, err
}

// Session returns one session. fault.NotExist when it never was, or has ended.
func (v View) Session(id uint64) (Session, error) {
	s, ok, err := readSession(v.r, id)
	if err == nil && !ok {
		err = fault.New("session", fault.NotExist, "%x", id)
	}
	return s, err
}

func (v View) each(prefix []byte, fn func(k, b []byte) error) error {
	var failed error
	err := v.r.Scan(prefix, nil, func(k, b []byte) bool {
		failed = fn(k, b)
		return failed == nil
	})
	if err != nil {
		return err
	}
	return failed
}

func readMemberAt(r reader, id cluster.PeerID) (cluster.Member, bool, error) {
	b, ok, err := r.Get(memberKey(id))
	if err != nil || !ok {
		return cluster.Member{}, false, err
	}
	m, err := DecodeMember(b)
	return m, err == nil, corrupt("member", err)
}
