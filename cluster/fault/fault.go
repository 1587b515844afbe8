// Package fault names the ways an operation of dfs can fail.
//
// An error that crosses a package border or the network carries an operation, a kind and a cause. Callers
// test the kind with errors.Is, never the text:
//
//	if errors.Is(err, fault.NotExist) { ... }
//
// Kinds are few and append-only, because their numbers travel between peers of different versions. Only the
// mount fronts and the commands turn a kind into an errno or an exit code, each in one tested table.
package fault

import (
	"errors"
	"fmt"
)

// Kind says what went wrong, independent of where. It is itself an error, so that it can be a target of
// errors.Is. The numbers travel: append only.
type Kind uint8

const (
	Other        Kind = iota // nothing a caller can act on
	Invalid                  // the request makes no sense: bad argument, bad encoding
	NotExist                 // no such file, extent, peer, token
	Exist                    // it is there already
	NotDir                   // a directory was needed
	IsDir                    // a directory was not wanted
	NotEmpty                 // the directory has entries
	NameTooLong              // more than 255 bytes in a name, 4095 in a symlink target
	TooBig                   // beyond the largest file, frame or value
	NoSpace                  // no peer can take the bytes
	Permission               // the caller may not
	ReadOnly                 // this mount or store takes no writes now
	Corrupt                  // bytes do not match their sum or their identity
	Unreachable              // the peer does not answer
	Timeout                  // the deadline passed; the outcome is unknown
	Conflict                 // the state changed meanwhile: read again and retry
	Stale                    // the thing named is gone or has been replaced
	Busy                     // in use
	Unsupported              // this build, kernel or layout cannot do it
	Canceled                 // the caller gave up
	CutOff                   // this peer cannot reach a quorum and may not answer
	Closed                   // the component has been stopped
	NotLeader                // ask the leader; retryable
	Quota                    // a limit of a user or directory
	TooManyLinks             // the link count is at its limit
	Cross                    // the two names live in different file systems
	Loop                     // a directory would become its own ancestor
	Refused                  // authenticated, understood, and denied
	Damaged                  // no valid replica is left; overwriting heals
	Ended                    // the session that asked has ended: nothing happened, nor will
	Locked                   // somebody else holds a lock
	Deadlock                 // to wait for this lock would be to wait for oneself
	TooManyLocks             // of the file, or of the mount
	kinds                    // count, not a kind
)

var kindText = [kinds]string{
	"failed", "invalid", "does not exist", "exists", "not a directory", "is a directory", "not empty",
	"name too long", "too big", "no space", "permission denied", "read-only", "corrupt", "unreachable",
	"timed out", "conflict", "stale", "busy", "unsupported", "canceled", "cut off from the cluster", "closed",
	"not the leader", "over quota", "too many links", "crosses file systems", "loop", "refused", "damaged",
	"the session has ended", "locked by another", "deadlock", "too many locks",
}

// Error makes a Kind a target for errors.Is and an error of its own.
func (k Kind) Error() string { return k.String() }

func (k Kind) String() string {
	if k < kinds {
		return kindText[k]
	}
	return fmt.Sprintf("fault kind %d", uint8(k))
}

// Error is one failure: what was attempted, what kind it is, what it concerned, and why.
type Error struct {
	Op     string // "segment put", "meta rename": package or subject, then verb
	Kind   Kind
	Detail string // what it concerned, for people; may be empty
	Err    error  // the cause; may be nil
}

func (e *Error) Error() string {
	s := e.Op
	if e.Detail != "" {
		s += ": " + e.Detail
	}
	if e.Err == nil {
		return s + ": " + e.Kind.String()
	}
	if e.Kind != KindOf(e.Err) {
		s += ": " + e.Kind.String()
	}
	return s + ": " + e.Err.Error()
}

// Is reports whether target is this error's kind, so that errors.Is(err, fault.NotExist) reads well.
func (e *Error) Is(target error) bool {
	k, ok := target.(Kind)
	return ok && k == e.Kind
}

func (e *Error) Unwrap() error { return e.Err }

// New returns an error of kind k whose detail is formatted from format and args.
func New(op string, k Kind, format string, args ...any) error {
	return &Error{Op: op, Kind: k, Detail: fmt.Sprintf(format, args...)}
}

// Because returns an error of kind k caused by err. Because of nil is nil.
func Because(op string, k Kind, err error) error {
	if err == nil {
		return nil
	}
	return &Error{Op: op, Kind: k, Err: err}
}

// Wrap returns err with an operation put before it, keeping its kind. Wrap of nil is nil.
func Wrap(op string, err error) error {
	if err == nil {
		return nil
	}
	return &Error{Op: op, Kind: KindOf(err), Err: err}
}

// KindOf returns the kind of the outermost *Error in err's chain, the Kind itself if err is one, else Other.
func KindOf(err error) Kind {
	var e *Error
	if errors.As(err, &e) {
		return e.Kind
	}
	var k Kind
	if errors.As(err, &k) {
		return k
	}
	return Other
}
