package plane

import (
	"time"
	"unicode"
	"unicode/utf8"

	"dfs/cluster/fault"
	"dfs/osmodel/kv"
)

// Bounds. They are part of the format: peers that disagree on them come to different states.
const (
	NameMax  = 128 // bytes in a name of anything but a key
	OwnerMax = 128

	SessionsMax = 10_000
	OwnedMax    = 1_000 // things that one session has
	TTLMin      = time.Second
	TTLMax      = 30 * 24 * time.Hour

	KeyMax     = kv.KeyMax
	ValueMax   = kv.ValueMax
	KeysMax    = 100_000
	KeyBytes   = 64 << 20 // keys and values together
	StepsMax   = 64       // of a transaction, and conditions
	HistoryMax = 4096     // events that a watch may go back
	HistoryLen = 8 << 20  // bytes of them

	SemaphoresMax = 2_000
	PermitsMax    = 1_000_000
	givenMax      = 64    // waits taken back that a session remembers
	HoldersMax    = 1_000 // grants of one semaphore, and those who wait for it

	QueuesMax      = 1_000
	MessageMax     = 32 << 10
	MessagesMax    = 100_000
	MessagesUsual  = 10_000
	QueueBytes     = 16 << 20 // of the messages in one queue
	SubscribersMax = 100
	RepeatsKept    = 1_000 // idempotency keys that a queue remembers
	VisibleUsual   = 30 * time.Second
	deletedAtOnce  = 2_000

	ResourcesMax = 16
	BankersMax   = 200 // processes with a claim

	ArenasMax = 100
	BlocksMax = 500 // in one arena

	renewedMax = 1_000
)

// checkName returns what is wrong with a name.
func checkName(what, name string) error {
	if name == "" || len(name) > NameMax || !utf8.ValidString(name) {
		return fault.New(what, fault.Invalid, "a name has 1 to %d bytes of UTF-8", NameMax)
	}
	for _, r := range name {
		if !unicode.IsPrint(r) {
			return fault.New(what, fault.Invalid, "a name has only what can be printed")
		}
	}
	return nil
}

func checkTTL(what string, ttl int64) error {
	if ttl < int64(TTLMin) || ttl > int64(TTLMax) {
		return fault.New(what, fault.Invalid, "a time from %v to %v", TTLMin, TTLMax)
	}
	return nil
}

func over(what string, limit int, of string) error {
	return fault.New(what, fault.Quota, "at most %d %s", limit, of)
}
