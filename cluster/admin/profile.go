package admin

import (
	"net/http"
	"net/http/pprof"
)

// serveProfiles lets the owner of the control socket look at what the daemon spends its time on, with Go's own
// tools: curl --unix-socket DATA/control.sock http://dfs/debug/pprof/profile?seconds=5 > cpu.
func serveProfiles(mux *http.ServeMux) {
	mux.HandleFunc("GET /debug/pprof/", pprof.Index)
	mux.HandleFunc("GET /debug/pprof/profile", pprof.Profile)
	mux.HandleFunc("GET /debug/pprof/trace", pprof.Trace)
}
