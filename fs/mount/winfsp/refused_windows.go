package winfsp

// refused is where to look when WinFsp refuses a mount: it tells nobody but the event log.
const refused = "see the event log (Windows Logs, Application, source WinFsp), and dfsd doctor"
