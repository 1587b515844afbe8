package badger

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"

	"dfs/cluster/fault"
)

// The file BOOT exists while the store is open and holds the boot id it was opened under. Found at opening, it says
// that the last stop was unclean, and whether the machine has been restarted since.

func (s *Store) bootFile() string { return filepath.Join(s.dir, "BOOT") }

func (s *Store) markOpen() error {
	err := writeSynced(s.bootFile(), []byte(s.options.BootID))
	if err == nil {
		err = syncDir(s.dir)
	}
	return fault.Wrap("kv open", err)
}

func (s *Store) markClosed() error {
	err := os.Remove(s.bootFile())
	if err == nil {
		err = syncDir(s.dir)
	}
	return fault.Wrap("kv close", err)
}

// dropUnsynced removes the logs of badger's memtables after what may have been a crash of the machine. They were
// never synced, so any part of them may be missing while a later part is there; the tables alone are whole up to a
// version.
func (s *Store) dropUnsynced(dir string) error {
	was, err := os.ReadFile(s.bootFile())
	if errors.Is(err, os.ErrNotExist) {
		return nil // a clean stop, or the first start
	}
	if err != nil {
		return fault.Wrap("kv open", err)
	}
	if len(was) > 0 && bytes.Equal(was, []byte(s.options.BootID)) {
		return nil // the process stopped, the machine did not: the page cache has everything
	}
	logs, err := filepath.Glob(filepath.Join(dir, "*.mem"))
	if err != nil {
		return fault.Wrap("kv open", err)
	}
	for _, l := range logs {
		if err := os.Remove(l); err != nil {
			return fault.Wrap("kv open", err)
		}
	}
	if len(logs) > 0 {
		s.options.Log.Warn("kv: unclean stop of the machine; back to the last flushed version", "dir", s.dir)
	}
	return nil
}

// writeSynced puts a small file in place, whole or not at all.
func writeSynced(name string, data []byte) error {
	f, err := os.OpenFile(name+".new", os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(data)
	err = errors.Join(err, f.Sync(), f.Close())
	if err != nil {
		return err
	}
	return os.Rename(name+".new", name)
}
