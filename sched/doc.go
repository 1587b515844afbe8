// Package sched will run programs on the peer that suits them: tasks, runners in sandboxes, history. So far there are the run
// queue (sched/queue), with the disciplines that `dfsctl sim sched` simulates, and what programs share: the control
// plane's state behind the log (sched/plane), the way to it (sched/plane/link), and dfsplane's services (sched/control).
package sched
