// Package sched will run programs on the peer that suits them: tasks, run queues, runners in sandboxes, history.
// Nothing is in it yet; dfsplane, which will serve it, only answers that it is alive.
package sched
