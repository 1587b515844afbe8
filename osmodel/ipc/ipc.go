// Package ipc holds the classic ways in which processes talk and wait as pure models: message queues in the POSIX and
// the System V manner, broadcast, semaphores, monitors and read-write locks, fencing tokens; and a Stage on which small
// actors play the classic problems with them, with and without the deadlock.
//
// Nothing here blocks. A caller is a name; a call that would block notes the name, says so, and the call of somebody
// else that ends the wait returns the name among its Wakes. One caller has at most one wait in one object. Waits end in
// the order they began, unless the object says otherwise. Nothing is safe for concurrent use.
package ipc

import (
	"errors"
	"slices"
)

// What calls can fail with; the errno of the real ones stands behind.
var (
	ErrAgain    = errors.New("ipc: it would block")                      // EAGAIN
	ErrSize     = errors.New("ipc: the message is too long")             // EMSGSIZE, E2BIG
	ErrTimedOut = errors.New("ipc: timed out")                           // ETIMEDOUT
	ErrOverflow = errors.New("ipc: the value would become too large")    // EOVERFLOW, ERANGE
	ErrNoMsg    = errors.New("ipc: no message of that type")             // ENOMSG
	ErrRemoved  = errors.New("ipc: it has been removed")                 // EIDRM
	ErrInvalid  = errors.New("ipc: the argument makes no sense")         // EINVAL
	ErrBusy     = errors.New("ipc: somebody else is registered")         // EBUSY
	ErrNotOwner = errors.New("ipc: the caller does not hold it")         // EPERM
	ErrNoEntry  = errors.New("ipc: there is nothing of that name")       // ENOENT
	ErrExist    = errors.New("ipc: the name is taken")                   // EEXIST
	ErrWaiting  = errors.New("ipc: the caller waits already")            // a caller is one thread
	ErrDeadlock = errors.New("ipc: the caller would wait for itself")    // EDEADLK
	ErrFenced   = errors.New("ipc: a later token has been seen already") // the holder's lease has passed on
)

// Wake says that the wait of Who is over: with Err if it failed, else with what it waited for.
type Wake struct {
	Who     string
	Message Message // of a receive
	Err     error
}

// Message is what queues carry.
type Message struct {
	Body     []byte
	Priority int   // POSIX: 0 to 32767, higher first
	Type     int64 // System V: above 0
}

// names returns who was woken.
func names(ws []Wake) (who []string) {
	for _, w := range ws {
		who = append(who, w.Who)
	}
	return who
}

// waiters is a list of those who wait, in order.
type waiters[T any] []waiter[T]

type waiter[T any] struct {
	who  string
	want T
}

func (w waiters[T]) has(who string) bool {
	return slices.ContainsFunc(w, func(x waiter[T]) bool { return x.who == who })
}

func (w *waiters[T]) remove(who string) bool {
	i := slices.IndexFunc(*w, func(x waiter[T]) bool { return x.who == who })
	if i < 0 {
		return false
	}
	*w = slices.Delete(*w, i, i+1)
	return true
}
