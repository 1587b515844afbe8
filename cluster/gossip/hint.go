package gossip

import (
	"math"
	"time"

	"dfs/cluster"
	"dfs/cluster/fault"
	"dfs/net/wire"
)

// Report is what a peer says of itself.
type Report struct {
	Addr     string        // where it can be reached now, HOST:PORT; at most 128 bytes
	Version  string        // of its program; at most 64 bytes
	Stored   int64         // bytes of extents
	Capacity int64         // bytes it may store
	Reserve  int64         // bytes it wants kept free
	Load     float64       // runnable work per core, in thousandths
	Errors   float64       // share of failed requests to its own store, 0 to 1, in thousandths
	Latency  time.Duration // EWMA of writes to its own store
	Synced   uint64        // log index through which its store is known to be synced
	Bad      uint64        // replicas in its store found rotten or missing, and not yet healed
	Damaged  uint64        // of those: no good replica is left anywhere of some block
	Free     int64         // bytes left on the disk of its log and state; 0 unknown
	Trouble  string        // what is wrong with it, in words; "" nothing. At most 100 bytes
	Unled    bool          // it does not reach the leader. A change of this is sent at once
	Misses   uint64        // members that others hear, and it does not
}

// Hint is what is believed of one member.
type Hint struct {
	Seen    cluster.State // Alive, Suspect or Dead; Dead also if never heard of
	Since   time.Time     // when Seen last changed; zero if it never did
	RTT     time.Duration // of the newest answered probe; 0 unknown
	Report  Report        // the newest heard; zero if none
	Reports uint64        // how many different reports were heard
}

// The limits of a report's texts; with them an encoded report stays far below the 512 bytes that memberlist allows.
const (
	addrMax    = 128
	versionMax = 64
	troubleMax = 100
)

// reportFormat is the first byte of an encoded report. Later formats append fields, which earlier readers skip.
const reportFormat = 1

func (r Report) append(b []byte) []byte {
	b = append(b, reportFormat)
	b = wire.AppendString(b, r.Addr[:min(len(r.Addr), addrMax)])
	b = wire.AppendString(b, r.Version[:min(len(r.Version), versionMax)])
	for _, v := range []int64{r.Stored, r.Capacity, r.Reserve} {
		b = wire.AppendInt(b, v)
	}
	b = wire.AppendUint(b, thousandths(r.Load))
	b = wire.AppendUint(b, thousandths(r.Errors))
	b = wire.AppendInt(b, int64(r.Latency))
	b = wire.AppendUint(b, r.Synced)
	b = wire.AppendUint(b, r.Bad)
	b = wire.AppendUint(b, r.Damaged)
	b = wire.AppendInt(b, r.Free)
	b = wire.AppendString(b, r.Trouble[:min(len(r.Trouble), troubleMax)])
	return wire.AppendUint(wire.AppendBool(b, r.Unled), r.Misses)
}

// decodeReport reads what append wrote and checks it: negative numbers are fault.Invalid.
func decodeReport(b []byte) (Report, error) {
	r := wire.NewReader(b)
	format := r.Byte()
	v := Report{
		Addr: r.String(addrMax), Version: r.String(versionMax),
		Stored: r.Int(), Capacity: r.Int(), Reserve: r.Int(),
		Load: float64(r.Uint()) / 1000, Errors: float64(r.Uint()) / 1000,
		Latency: time.Duration(r.Int()), Synced: r.Uint(), Bad: r.Uint(), Damaged: r.Uint(), Free: r.Int(), Trouble: r.String(troubleMax),
		Unled: r.Bool(), Misses: r.Uint(),
	}
	if err := r.Err(); err != nil {
		return Report{}, err
	}
	if format < reportFormat || v.Free < 0 || v.Stored < 0 || v.Capacity < 0 || v.Reserve < 0 || v.Latency < 0 || v.Errors > 1 {
		return Report{}, fault.New("gossip report", fault.Invalid, "format %d: %+v", format, v)
	}
	return v, nil
}

// thousandths keeps three decimals of a number that is not negative.
func thousandths(f float64) uint64 {
	if !(f > 0) { // NaN too
		return 0
	}
	return uint64(min(math.Round(f*1000), 1e9))
}
