package admin

import (
	"crypto/subtle"
	_ "embed"
	"encoding/json"
	"html/template"
	"net"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"
)

//go:embed dashboard.html
var dashboardText string

var dashboard = template.Must(template.New("dashboard").Funcs(template.FuncMap{
	"bytes": Bytes,
	"ms":    func(ns int64) string { return (time.Duration(ns)).Round(10 * time.Microsecond).String() },
}).Parse(dashboardText))

// webHandler serves what anyone on this machine may see.
func (s *Server) webHandler() http.Handler {
	registry := prometheus.NewRegistry()
	registry.MustRegister(collectors.NewGoCollector(),
		collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}), &series{s})
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", promhttp.HandlerFor(registry, promhttp.HandlerOpts{MaxRequestsInFlight: 4}))
	mux.HandleFunc("GET /health", s.health)
	mux.HandleFunc("GET /{$}", s.page)
	return s.guard(mux)
}

func (s *Server) page(w http.ResponseWriter, r *http.Request) {
	st, err := s.status(r.Context())
	if err != nil {
		http.Error(w, err.Error(), http.StatusServiceUnavailable)
		return
	}
	h := w.Header()
	h.Set("Content-Type", "text/html; charset=utf-8")
	h.Set("Content-Security-Policy", "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'")
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Refresh", "2")
	if err := dashboard.Execute(w, st); err != nil {
		s.o.Log.Debug("dashboard", "err", err)
	}
}

// health answers 200 while reads and writes work here, degraded or not, and 503 otherwise.
func (s *Server) health(w http.ResponseWriter, r *http.Request) {
	st, err := s.status(r.Context())
	doc := map[string]any{"schema": Schema, "health": st.Cluster.Health, "reason": st.Cluster.Reason, "ready": st.Self.Ready}
	code := http.StatusOK
	if err != nil || !st.Self.Ready || st.Cluster.Health == Unavailable {
		code = http.StatusServiceUnavailable
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(code)
	json.NewEncoder(w).Encode(doc)
}

// guard lets through who may ask. A browser that was tricked by DNS sends a name as Host, never an address; a page of
// another site sends its Origin.
func (s *Server) guard(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch {
		case !s.knowsHost(r.Host):
			http.Error(w, "this address is not served under that name", http.StatusMisdirectedRequest)
		case !sameOrigin(r.Header.Get("Origin"), r.Host):
			http.Error(w, "foreign origin", http.StatusForbidden)
		case !fromLoopback(r) && !s.hasKey(r):
			w.Header().Set("WWW-Authenticate", `Basic realm="dfs"`)
			http.Error(w, "password needed", http.StatusUnauthorized)
		default:
			next.ServeHTTP(w, r)
		}
	})
}

func (s *Server) knowsHost(hostport string) bool {
	host := hostOf(hostport)
	if host == "localhost" || net.ParseIP(host) != nil {
		return true
	}
	return host != "" && strings.EqualFold(host, hostOf(s.o.HTTP))
}

func hostOf(hostport string) string {
	if host, _, err := net.SplitHostPort(hostport); err == nil {
		return host
	}
	return strings.Trim(hostport, "[]")
}

func sameOrigin(origin, host string) bool {
	if origin == "" {
		return true
	}
	u, err := url.Parse(origin)
	return err == nil && u.Host != "" && strings.EqualFold(u.Host, host)
}

func fromLoopback(r *http.Request) bool {
	ip := net.ParseIP(hostOf(r.RemoteAddr))
	return ip != nil && ip.IsLoopback()
}

func (s *Server) hasKey(r *http.Request) bool {
	_, key, ok := r.BasicAuth()
	return ok && s.o.Key != "" && subtle.ConstantTimeCompare([]byte(key), []byte(s.o.Key)) == 1
}
