package segment

import (
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"os"
	"slices"
	"strings"

	"dfs/blockstore/disk"
	"dfs/cluster/fault"
)

// Identity is what a store directory says it is, in its file called ID and once more in ID.copy.
type Identity struct {
	Store   [16]byte // random, made with the store
	Cluster [16]byte
	Owner   string // whoever made it, in its own words; "" in stores that were made before it was asked
}

const idName = "ID"

// idNames are the files that carry the identity: one that rots is written anew from the other.
var idNames = []string{idName, idName + ".copy"}

func (id Identity) text() string {
	text := fmt.Sprintf("dfs block store, format 1\nstore %x\ncluster %x\nowner %s\n", id.Store, id.Cluster, id.Owner)
	return fmt.Sprintf("%ssum %08x\n", text, crc32.Checksum([]byte(text), castagnoli))
}

func parseIdentity(text string) (id Identity, err error) {
	var store, cluster []byte
	_, err = fmt.Sscanf(text, "dfs block store, format 1\nstore %x\ncluster %x\n", &store, &cluster)
	if err == nil && len(store) == len(id.Store) && len(cluster) == len(id.Cluster) {
		id = Identity{Store: [16]byte(store), Cluster: [16]byte(cluster)}
		for line := range strings.Lines(text) {
			if owner, ok := strings.CutPrefix(line, "owner "); ok {
				id.Owner = strings.TrimSuffix(owner, "\n")
			}
		}
	}
	if err != nil || text != id.text() {
		return Identity{}, fault.New("segment open", fault.Conflict, "the file %s cannot be read", idName)
	}
	return id, nil
}

// IdentityOf returns what the store in dir says it is; fault.NotExist if there is none, fault.Conflict if it cannot be
// read. It changes nothing.
func IdentityOf(dir string) (Identity, error) {
	id, _, err := readIdentity(disk.Dir(dir))
	if errors.Is(err, os.ErrNotExist) {
		return id, fault.New("segment identity", fault.NotExist, "%s", dir)
	}
	return id, err
}

// Used reports whether any segment lies in dir.
func Used(dir string) (bool, error) {
	names, err := disk.Dir(dir).Names()
	if errors.Is(err, os.ErrNotExist) {
		return false, nil
	}
	return slices.ContainsFunc(names, func(n string) bool { return strings.HasSuffix(n, suffix) }), disk.Error("segment", err)
}

// readIdentity returns what the files say, and those that are to be written anew. fault.Conflict if none can be read, or
// they disagree; os.ErrNotExist if there are none.
func readIdentity(d disk.Disk) (id Identity, lost []string, err error) {
	known, missing := false, 0
	for _, name := range idNames {
		text, err := readSmall(d, name)
		if errors.Is(err, os.ErrNotExist) {
			missing++
			lost = append(lost, name)
			continue
		}
		if err != nil {
			return id, nil, disk.Error("segment open", err)
		}
		one, err := parseIdentity(text)
		switch {
		case err != nil:
			lost = append(lost, name)
		case known && one != id:
			return id, nil, fault.New("segment open", fault.Conflict, "two identities: store %x and store %x", id.Store, one.Store)
		default:
			id, known = one, true
		}
	}
	switch {
	case missing == len(idNames):
		return id, nil, os.ErrNotExist
	case !known:
		return id, nil, fault.New("segment open", fault.Conflict, "the file %s cannot be read", idName)
	}
	return id, lost, nil
}

// readSmall returns the first bytes of a file.
func readSmall(d disk.Disk, name string) (string, error) {
	f, err := d.Open(name, false)
	if err != nil {
		return "", err
	}
	b, n := make([]byte, 512), 0
	if err = f.Refresh(); err == nil { // it may be there without ever having been synced
		n, err = f.ReadAt(b, 0)
	}
	if errors.Is(err, io.EOF) {
		err = nil
	}
	return string(b[:n]), errors.Join(err, f.Close())
}

// identify returns the directory's identity, giving it one if it is empty.
func identify(d disk.Disk, o Options) (Identity, error) {
	id, lost, err := readIdentity(d)
	switch {
	case errors.Is(err, os.ErrNotExist):
		return newIdentity(d, o)
	case errors.Is(err, fault.Conflict) && id == Identity{}: // the machine stopped while the store was being made, or the files are damaged
		return newIdentity(d, o)
	case err != nil:
		return Identity{}, err
	case o.Owner != "" && id.Owner != "" && o.Owner != id.Owner:
		return Identity{}, fault.New("segment open", fault.Conflict, "the store of %s, not of %s", id.Owner, o.Owner)
	case o.Store != [16]byte{} && o.Store != id.Store:
		return Identity{}, fault.New("segment open", fault.Conflict, "store %x here, %x was expected", id.Store, o.Store)
	case o.Cluster != [16]byte{} && o.Cluster != id.Cluster:
		return Identity{}, fault.New("segment open", fault.Conflict, "cluster %x here, %x was expected", id.Cluster, o.Cluster)
	}
	if len(lost) > 0 {
		o.Log.Warn("segment: the identity is written anew from its copy", "files", lost)
		err = id.write(d, lost...)
	}
	return id, err
}

// write makes files that carry the identity, one after the other, so that one is whole at any moment.
func (id Identity) write(d disk.Disk, names ...string) error {
	for _, name := range names {
		f, err := d.Open(name, true)
		if err != nil {
			return disk.Error("segment open", err)
		}
		if err = f.Truncate(0); err == nil {
			err = f.WriteAll(0, []byte(id.text()))
		}
		if err == nil {
			err = f.Sync()
		}
		err = errors.Join(err, f.Close())
		if err == nil {
			err = d.Sync()
		}
		if err != nil {
			return disk.Error("segment open", err)
		}
	}
	return nil
}

func newIdentity(d disk.Disk, o Options) (Identity, error) {
	if o.Store != [16]byte{} {
		return Identity{}, fault.New("segment open", fault.Conflict, "store %x is not here", o.Store)
	}
	names, err := d.Names()
	if err != nil {
		return Identity{}, disk.Error("segment open", err)
	}
	if slices.ContainsFunc(names, func(n string) bool { return strings.HasSuffix(n, suffix) }) {
		return Identity{}, fault.New("segment open", fault.Conflict, "segments are here, but no file %s that can be read", idName)
	}
	id := Identity{Cluster: o.Cluster, Owner: o.Owner}
	if _, err := io.ReadFull(o.Rand, id.Store[:]); err != nil {
		return Identity{}, fault.Wrap("segment open", err)
	}
	return id, id.write(d, idNames...)
}
