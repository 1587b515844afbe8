// Package sched will run programs on the peer that suits them: tasks, runners in sandboxes, history. So far there is the run
// queue (sched/queue), with the disciplines that `dfsctl sim sched` simulates; dfsplane, which will serve the rest, only
// answers that it is alive.
package sched
