package meta

import (
	"encoding/binary"
	"time"

	"dfs/blockstore"
)

// WindowBytes is the stretch of a file in which extents are counted for defragmentation: as long as the largest extent.
const WindowBytes = blockstore.MaxBlocks * blockstore.Size

// Crowd is a window of a file that lies in many pieces.
type Crowd struct {
	Ino    Ino
	Off    int64     // of the window
	Pieces int       // at least, where the walk began within it
	Newest time.Time // when the youngest of them was written, by its writer's clock
}

// Crowds looks at up to examine extents after place and returns the windows that lie in more than most pieces, and where to
// go on; done says that there are no more. A window that does not fit into the look is looked at as a whole in the next
// one: examine must be above blockstore.MaxBlocks.
func (v *Image) Crowds(after Place, examine, most int) (list []Crowd, next Place, done bool, err error) {
	next, done = after, true
	before, last := after, after // of the window; of the extent
	var at Crowd
	var failed error
	end := func() {
		if at.Pieces > most {
			list = append(list, at)
		}
	}
	err = v.r.Scan(prefix('x'), extentKey(after.Ino, after.End+1), func(k, b []byte) bool {
		if examine--; examine < 0 {
			done = false
			return false
		}
		here := Place{Ino: Ino(number(k, 2)), End: int64(number(k, 10))}
		if off := (here.End - 1) / WindowBytes * WindowBytes; at.Pieces == 0 || at.Ino != here.Ino || at.Off != off {
			end()
			at, before = Crowd{Ino: here.Ino, Off: off}, last
		}
		var rec record
		if rec, failed = decodeRecord(here.End, b); failed != nil {
			return false
		}
		at.Pieces++
		if t := writtenAt(rec.Span.Extent); t.After(at.Newest) {
			at.Newest = t
		}
		last = here
		return true
	})
	if err == nil {
		err = failed
	}
	if err != nil {
		return nil, after, false, err
	}
	if done {
		end()
		return list, last, true, nil
	}
	return list, before, false, nil
}

// writtenAt returns when an extent was made, by its maker's clock: its id says so.
func writtenAt(id blockstore.ID) time.Time {
	return time.UnixMilli(int64(binary.BigEndian.Uint64(id[:8]) >> 16))
}
