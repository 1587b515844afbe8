package badger

import (
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync/atomic"
	"syscall"

	bdg "github.com/dgraph-io/badger/v4"
	"github.com/dgraph-io/badger/v4/options"

	"dfs/cluster/fault"
)

// tuned returns badger's options for a small, never-synced index of small values.
func tuned(dir string, memtableBytes int64, log bdg.Logger) bdg.Options {
	o := bdg.DefaultOptions(dir).
		WithSyncWrites(false).
		WithDetectConflicts(false). // one writer
		WithMetricsEnabled(false).
		WithLogger(log).
		WithBypassLockGuard(true). // dirlock is ours
		WithMemTableSize(memtableBytes).
		WithNumMemtables(1).
		WithNumLevelZeroTables(2).
		WithNumLevelZeroTablesStall(8).
		WithNumCompactors(2).
		WithNumGoroutines(2).
		WithNumVersionsToKeep(1). // of those at or below the floor
		WithCompression(options.None).
		WithBlockCacheSize(0). // tables are mapped: the page cache is the cache
		WithIndexCacheSize(0).
		WithChecksumVerificationMode(options.OnTableRead). // see DESIGN.md: never OnBlockRead
		WithValueLogFileSize(1 << 20)
	o.ValueThreshold = min(1<<20, memtableBytes*15/100) // above kv.MaxValue: the value log stays empty
	return o
}

// logger passes badger's own log on, and notices what badger only logs: a table whose sum is wrong is left out of
// the map as if it had never been.
type logger struct {
	log       *slog.Logger
	lostTable atomic.Bool
	unflushed atomic.Pointer[string] // why a memtable could not be made a table
	stuck     chan struct{}          // closed when that is known
}

func (l *logger) Errorf(format string, v ...any) {
	text := line(format, v)
	if strings.HasPrefix(text, "CHECKSUM_MISMATCH") || strings.HasPrefix(text, "Ignoring table") {
		l.lostTable.Store(true)
	}
	// Badger tries again for ever, with files it has written to before: after a failed sync that proves nothing.
	if strings.HasPrefix(text, "error flushing memtable") {
		if !l.unflushed.CompareAndSwap(nil, &text) {
			return // said once
		}
		close(l.stuck)
	}
	l.log.Error("badger", "err", text)
}

func (l *logger) Warningf(format string, v ...any) { l.log.Warn("badger", "text", line(format, v)) }
func (l *logger) Infof(format string, v ...any)    { l.log.Debug("badger", "text", line(format, v)) }
func (l *logger) Debugf(string, ...any)            {}

func line(format string, v []any) string { return strings.TrimSpace(fmt.Sprintf(format, v...)) }

// flushed returns why badger cannot write its tables, or nil.
func (l *logger) flushed() error {
	text := l.unflushed.Load()
	switch {
	case text == nil:
		return nil
	case strings.Contains(*text, syscall.ENOSPC.Error()), strings.Contains(*text, syscall.EDQUOT.Error()):
		return fault.New("kv flush", fault.NoSpace, "%s", *text)
	}
	return fault.New("kv flush", fault.ReadOnly, "%s", *text)
}

// kindOf sorts an error of opening or committing: trouble of the system's, or damage.
func kindOf(err error) fault.Kind {
	for errno, kind := range map[syscall.Errno]fault.Kind{
		syscall.ENOSPC: fault.NoSpace, syscall.EDQUOT: fault.NoSpace, syscall.EROFS: fault.ReadOnly,
		syscall.EIO: fault.ReadOnly, syscall.EACCES: fault.Permission, syscall.EPERM: fault.Permission,
		syscall.EMFILE: fault.Other, syscall.ENFILE: fault.Other, syscall.ENOMEM: fault.Other,
	} {
		if errors.Is(err, errno) {
			return kind
		}
	}
	if errors.Is(err, bdg.ErrTxnTooBig) {
		return fault.TooBig
	}
	return fault.Corrupt
}
