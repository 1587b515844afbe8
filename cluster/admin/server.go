package admin

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"time"

	"dfs/cluster/fault"
	"dfs/net/peer"
)

// Options of a Server. Data is needed, the rest works as zero.
type Options struct {
	Data string // where the control socket is made
	HTTP string // HOST:PORT of dashboard and metrics; port 0 chooses one; "" and "off" for none
	Key  string // password asked of those who do not come over loopback; "" refuses them
	Stop func() // ends the daemon, as SIGTERM does; called more than once
	Log  *slog.Logger
}

// Server serves the control socket and the HTTP address of one peer.
type Server struct {
	o       Options
	socket  net.Listener
	web     net.Listener // nil when off
	started time.Time
	node    Node // from Run on
}

// NewServer opens both listeners, before there is a peer to serve: an address that is taken shows before a cluster is
// created or joined. Questions wait from now on and are answered once Run runs.
// fault.Busy: another program has the HTTP address.
func NewServer(o Options) (*Server, error) {
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if o.Stop == nil {
		o.Stop = func() {}
	}
	s := &Server{o: o, started: time.Now()}
	var err error
	if s.socket, err = ListenSocket(o.Data); err != nil {
		return nil, err
	}
	if o.HTTP != "" && o.HTTP != "off" {
		if s.web, err = net.Listen("tcp", o.HTTP); err != nil {
			s.socket.Close()
			return nil, peer.ListenError("--http", o.HTTP, err)
		}
	}
	return s, nil
}

// HTTP returns the HOST:PORT the dashboard is at, or "".
func (s *Server) HTTP() string {
	if s.web == nil {
		return ""
	}
	return s.web.Addr().String()
}

// Close closes the listeners of a server that will not run: questions that wait fail.
func (s *Server) Close() {
	s.socket.Close()
	if s.web != nil {
		s.web.Close()
	}
}

// Run serves node until ctx ends, then gives requests in flight one second.
func (s *Server) Run(ctx context.Context, node Node) error {
	s.node = node
	base := func(net.Listener) context.Context { return ctx }
	control := &control{node: node, status: s.status, stop: s.o.Stop}
	errs := slog.NewLogLogger(s.o.Log.Handler(), slog.LevelDebug)
	servers := []*http.Server{{Handler: control.handler(), BaseContext: base, ErrorLog: errs}}
	listeners := []net.Listener{s.socket}
	if s.web != nil {
		servers = append(servers, &http.Server{
			Handler: s.webHandler(), BaseContext: base, ReadTimeout: askWithin, WriteTimeout: 30 * time.Second, ErrorLog: errs,
		})
		listeners = append(listeners, s.web)
	}
	ended := make(chan error, len(servers))
	for i, srv := range servers {
		Bound(srv)
		go func() { ended <- srv.Serve(listeners[i]) }()
	}
	var first error
	running := len(servers)
	select {
	case <-ctx.Done():
	case first = <-ended:
		running--
	}
	bound, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Second)
	defer cancel()
	for _, srv := range servers {
		if srv.Shutdown(bound) != nil {
			srv.Close()
		}
	}
	for range running {
		if err := <-ended; first == nil {
			first = err
		}
	}
	if errors.Is(first, http.ErrServerClosed) {
		return nil
	}
	return fault.Wrap("admin", first)
}

// status is the node's, completed with what only the server knows.
func (s *Server) status(ctx context.Context) (Status, error) {
	st, err := s.node.Status(ctx)
	st.Schema = Schema
	st.Self.HTTP = s.HTTP()
	if st.Peers == nil {
		st.Peers = []PeerStatus{}
	}
	return st, err
}
