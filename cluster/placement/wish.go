package placement

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"dfs/blockstore"
	"dfs/cluster/fault"
)

// The bounds of a Wish.
const (
	MaxCopies = 16
	MaxZones  = 16
	MaxData   = 32
	MaxParity = 16
)

// Names lists the policies, as users write them.
var Names = []Name{Balanced, LeastStored, LowestLatency, LocalFirst}

const known = "known are copies=N|auto, policy=balanced|least-stored|lowest-latency|local-first, unit=512..4M, zones=N, commit=close|auto, ec=DATA+PARITY"

// PolicyName returns the policy wished for, never "".
func (w Wish) PolicyName() Name {
	if w.Policy == "" {
		return Balanced
	}
	return w.Policy
}

// Unit returns the most blocks an extent may have, never 0.
func (w Wish) Unit() uint32 {
	if w.UnitBlocks == 0 {
		return blockstore.MaxBlocks
	}
	return w.UnitBlocks
}

// Target returns how many replicas an extent should have in a cluster of so many members. An explicit number
// may exceed the members: the extent is then degraded until more join.
func Target(w Wish, members int) int {
	if w.Copies > 0 {
		return int(w.Copies)
	}
	return max(1, min(2, members))
}

// ParseWish reads the text form, for instance "copies=3,policy=least-stored,unit=64K,zones=2" or "ec=4+2". What is
// not named keeps its default. fault.Invalid says what is known.
func ParseWish(text string) (Wish, error) { return Wish{}.With(text) }

// With returns w changed by a text that names only what is to change. Copies and erasure coding exclude each
// other: naming one ends the other. fault.Invalid says what is known.
func (w Wish) With(text string) (Wish, error) {
	seen := map[string]bool{}
	for part := range strings.SplitSeq(text, ",") {
		key, value, ok := strings.Cut(strings.TrimSpace(part), "=")
		key, value = strings.TrimSpace(key), strings.TrimSpace(value)
		if !ok || seen[key] || key == "ec" && seen["copies"] || key == "copies" && seen["ec"] {
			return Wish{}, fault.New("layout", fault.Invalid, "%q: name each of them once, as key=value; %s", part, known)
		}
		seen[key] = true
		if err := w.set(key, value); err != nil {
			return Wish{}, err
		}
	}
	return w.plain(), nil
}

func (w *Wish) set(key, value string) error {
	bad := func(want string) error {
		return fault.New("layout", fault.Invalid, "%s=%q: want %s", key, value, want)
	}
	switch key {
	case "copies":
		n, ok := number(value, 1, MaxCopies)
		if !ok && value != "auto" {
			return bad(fmt.Sprintf("auto or 1 to %d", MaxCopies))
		}
		w.Copies, w.Data, w.Parity = n, 0, 0
	case "policy":
		if !slices.Contains(Names, Name(value)) {
			return bad("balanced, least-stored, lowest-latency or local-first")
		}
		w.Policy = Name(value)
	case "unit":
		blocks, ok := parseUnit(value)
		if !ok {
			return bad("a multiple of 512 bytes from 512 to 4M, for instance 512, 64K or 4M")
		}
		w.UnitBlocks = blocks
	case "zones":
		n, ok := number(value, 0, MaxZones)
		if !ok {
			return bad(fmt.Sprintf("0 to %d", MaxZones))
		}
		w.Zones = n
	case "commit":
		if value != "close" && value != "auto" {
			return bad("close or auto")
		}
		w.CommitClose = value == "close"
	case "ec":
		data, parity, _ := strings.Cut(value, "+")
		d, ok1 := number(data, 2, MaxData)
		p, ok2 := number(parity, 1, MaxParity)
		if !ok1 || !ok2 {
			return bad(fmt.Sprintf("DATA+PARITY, for instance 4+2, with 2 to %d and 1 to %d", MaxData, MaxParity))
		}
		w.Copies, w.Data, w.Parity = 0, d, p
	default:
		return fault.New("layout", fault.Invalid, "%q: %s", key, known)
	}
	return nil
}

// String returns the text form with every default written out; ParseWish reads it back.
func (w Wish) String() string {
	var b strings.Builder
	switch {
	case w.Data > 0:
		fmt.Fprintf(&b, "ec=%d+%d", w.Data, w.Parity)
	case w.Copies > 0:
		fmt.Fprintf(&b, "copies=%d", w.Copies)
	default:
		b.WriteString("copies=auto")
	}
	fmt.Fprintf(&b, ",policy=%s,unit=%s", w.PolicyName(), unitText(w.Unit()))
	if w.Zones > 0 {
		fmt.Fprintf(&b, ",zones=%d", w.Zones)
	}
	if w.CommitClose {
		b.WriteString(",commit=close")
	}
	return b.String()
}

// plain returns w with defaults in their one form, zero.
func (w Wish) plain() Wish {
	if w.Policy == Balanced {
		w.Policy = ""
	}
	if w.UnitBlocks == blockstore.MaxBlocks {
		w.UnitBlocks = 0
	}
	return w
}

// check returns fault.Invalid unless w is one that ParseWish could have made.
func (w Wish) check() error {
	if w.sound() {
		return nil
	}
	return w.checkText()
}

// sound is checkText as a yes or no, fast: every reading of an inode asks it.
func (w Wish) sound() bool {
	coded := w.Copies == 0 && w.Data >= 2 && w.Data <= MaxData && w.Parity >= 1 && w.Parity <= MaxParity
	copied := w.Copies <= MaxCopies && w.Data == 0 && w.Parity == 0
	return (coded || copied) && w.Zones <= MaxZones && w.UnitBlocks < blockstore.MaxBlocks &&
		(w.Policy == "" || w.Policy != Balanced && slices.Contains(Names, w.Policy))
}

func (w Wish) checkText() error {
	again, err := ParseWish(w.String())
	if err == nil && again != w {
		err = fault.New("layout", fault.Invalid, "not in its plain form: %+v", w)
	}
	return err
}

func number(s string, lo, hi uint64) (uint8, bool) {
	n, err := strconv.ParseUint(s, 10, 8)
	return uint8(n), err == nil && n >= lo && n <= hi
}

// parseUnit reads a size in bytes and returns its blocks.
func parseUnit(s string) (uint32, bool) {
	digits, factor := s, uint64(1)
	for _, u := range []struct {
		suffix string
		factor uint64
	}{{"KiB", 1 << 10}, {"MiB", 1 << 20}, {"K", 1 << 10}, {"M", 1 << 20}, {"k", 1 << 10}} {
		if rest, ok := strings.CutSuffix(s, u.suffix); ok {
			digits, factor = rest, u.factor
			break
		}
	}
	n, err := strconv.ParseUint(digits, 10, 32)
	bytes := n * factor
	if err != nil || bytes == 0 || bytes%blockstore.Size != 0 || bytes/blockstore.Size > blockstore.MaxBlocks {
		return 0, false
	}
	return uint32(bytes / blockstore.Size), true
}

func unitText(blocks uint32) string {
	switch bytes := uint64(blocks) * blockstore.Size; {
	case bytes%(1<<20) == 0:
		return strconv.FormatUint(bytes>>20, 10) + "M"
	case bytes%(1<<10) == 0:
		return strconv.FormatUint(bytes>>10, 10) + "K"
	default:
		return strconv.FormatUint(bytes, 10)
	}
}
