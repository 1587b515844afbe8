package admin

import (
	"context"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// series turns the peer's figures, and a few of its status, into what Prometheus collects. It is an unchecked
// collector: the figures decide which series there are.
type series struct{ s *Server }

func (series) Describe(chan<- *prometheus.Desc) {}

func (c series) Collect(out chan<- prometheus.Metric) {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	figures := c.s.node.Metrics()
	if st, err := c.s.status(ctx); err == nil {
		figures = append(figures, statusMetrics(st)...)
	}
	figures = append(figures, Metric{Name: "dfs_uptime_seconds", Help: "Time since this daemon started.",
		Value: time.Since(c.s.started).Seconds()})
	for _, m := range figures {
		names, values := make([]string, len(m.Labels)), make([]string, len(m.Labels))
		for i, l := range m.Labels {
			names[i], values[i] = l.Name, l.Value
		}
		kind := prometheus.GaugeValue
		if m.Counter {
			kind = prometheus.CounterValue
		}
		pm, err := prometheus.NewConstMetric(prometheus.NewDesc(m.Name, m.Help, names, nil), kind, m.Value, values...)
		if err != nil {
			c.s.o.Log.Warn("metric left out", "name", m.Name, "err", err)
			continue
		}
		out <- pm
	}
}

func statusMetrics(st Status) []Metric {
	ms := []Metric{
		{Name: "dfs_ready", Help: "1 while this mount serves reads and writes.", Value: one(st.Self.Ready)},
		{Name: "dfs_healthy", Help: "1 while the cluster is healthy in this peer's view.", Value: one(st.Cluster.Health == Healthy)},
		{Name: "dfs_extents_below_target", Help: "Extents with fewer copies than asked for.", Value: float64(st.Repair.ExtentsBelowTarget)},
		{Name: "dfs_bytes_below_target", Help: "Bytes with fewer copies than asked for.", Value: float64(st.Repair.BytesBelowTarget)},
		{Name: "dfs_pending_bytes", Help: "Dirty bytes on this peer, not yet placed.", Value: float64(st.PendingBytes)},
	}
	for _, p := range st.Peers {
		labels := []Label{{"peer", p.ID}, {"name", p.Name}}
		ms = append(ms,
			Metric{Name: "dfs_peer_alive", Help: "1 while the peer is alive in this peer's view.", Labels: labels, Value: one(p.State == "alive")},
			Metric{Name: "dfs_peer_stored_bytes", Help: "Bytes of extents the peer keeps.", Labels: labels, Value: float64(p.StoredBytes)},
			Metric{Name: "dfs_peer_capacity_bytes", Help: "Bytes the peer offers.", Labels: labels, Value: float64(p.CapacityBytes)},
			Metric{Name: "dfs_peer_latency_seconds", Help: "Mean time of a block write to the peer.", Labels: labels, Value: float64(p.LatencyNS) / 1e9})
	}
	return ms
}

func one(b bool) float64 {
	if b {
		return 1
	}
	return 0
}
