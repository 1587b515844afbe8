package node

import (
	"bytes"
	"encoding/json"
	"errors"
	"io/fs"
	"os"

	"dfs/cluster"
	"dfs/cluster/fault"
	"dfs/cluster/identity"
)

// bookFile keeps who the members were and where, beside the state: a peer that has lost its state, or was killed while it
// took in another's, could ask nobody for one otherwise. It is only a hint; the state says who the members are.
const bookFile = "members.json"

type book struct {
	Schema  int     `json:"schema"`
	Members []known `json:"members"`
}

// known is one member of a book.
type known struct {
	ID   cluster.PeerID `json:"id"`
	Name string         `json:"name"`
	Addr string         `json:"addr"`
}

// readBook returns the members of the book; none where there is no book, or none that can be read.
func (n *Node) readBook() (ms []cluster.Member) {
	text, err := os.ReadFile(n.dir(bookFile))
	var b book
	if err == nil {
		err = json.Unmarshal(text, &b)
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		n.log.Warn("the members of the last time are not known", "err", err)
		return nil
	}
	for _, k := range b.Members {
		ms = append(ms, cluster.Member{ID: k.ID, Name: k.Name, Addr: k.Addr})
	}
	return ms
}

// keepBook writes the book if it is out of date.
func (n *Node) keepBook() error {
	b := book{Schema: 1}
	for _, p := range n.roster.view().Peers {
		k := known{p.ID, p.Name, p.Addr}
		if at, ok := n.roster.addr(p.ID); ok {
			k.Addr = at
		}
		b.Members = append(b.Members, k)
	}
	text, err := json.Marshal(b)
	if err != nil || len(b.Members) == 0 || bytes.Equal(text, n.book) {
		return fault.Because("members", fault.Other, err)
	}
	if err := identity.WriteFile(n.cfg.Data, bookFile, append(text, '\n')); err != nil {
		return err
	}
	n.book = text
	return nil
}
