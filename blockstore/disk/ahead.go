package disk

// aheadBytes is how much is written ahead at once: some hundred small records, in about the time of one sync.
const aheadBytes = 256 << 10

var zeros [aheadBytes]byte

// Ahead writes records one behind the other in a file that is synced after each, with zeros behind them now and then: a sync that
// finds neither the file longer nor new room in use writes the bytes alone, and nothing of what the file system keeps about the file.
// That is one write of the disk in place of two or more. Whoever reads the file must know zeros from records. The zero value
// takes nothing to be written.
type Ahead struct{ to int64 }

// WriteAll is f.WriteAll, of what is to be synced soon; what it writes ahead ends before limit. After an error as much as that of zeros may
// have been written, too.
func (a *Ahead) WriteAll(f File, limit, off int64, parts ...[]byte) error {
	end := off
	for _, p := range parts {
		end += int64(len(p))
	}
	if end <= a.to {
		return f.WriteAll(off, parts...)
	}
	to := max(end, min(end+aheadBytes, limit))
	if err := f.WriteAll(off, append(parts[:len(parts):len(parts)], zeros[:to-end])...); err != nil {
		return err
	}
	a.to = to
	return nil
}

// Trim cuts off what was written ahead of end, where the last record ends.
func (a *Ahead) Trim(f File, end int64) error {
	if a.to <= end {
		return nil
	}
	a.to = 0
	return f.Truncate(end)
}
