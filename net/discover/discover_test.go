package discover

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"sync"
	"testing"
	"time"

	"dfs/cluster"
	"dfs/cluster/fault"
)

var (
	lan    = netip.MustParseAddr("192.168.1.7")
	beacon = Beacon{Cluster: [16]byte{1}, Peer: cluster.PeerID{2}, Addr: "10.0.0.5:9001"}
)

func TestBeaconReadsBack(t *testing.T) {
	for addr, want := range map[string]string{
		"10.0.0.5:9001":            "10.0.0.5:9001",
		"[fd00::5]:9001":           "[fd00::5]:9001",
		":9001":                    "192.168.1.7:9001",
		"0.0.0.0:9001":             "192.168.1.7:9001",
		"[::]:1":                   "192.168.1.7:1",
		"[::ffff:10.0.0.5]:9001":   "10.0.0.5:9001",
		"host-a:9001":              "",
		"10.0.0.5":                 "",
		"10.0.0.5:0":               "",
		"10.0.0.5:65536":           "",
		"10.0.0.5:http":            "",
		"224.0.0.1:9001":           "",
		"":                         "",
		string(make([]byte, 1000)): "",
	} {
		b := beacon
		b.Addr = addr
		got, err := Decode(b.Append(nil), lan)
		b.Addr = want
		if want == "" && !errors.Is(err, fault.Invalid) || want != "" && (err != nil || got != b) {
			t.Errorf("%q: %+v, %v; want %q", addr, got, err, want)
		}
	}
}

func TestEveryFlippedBitIsRefused(t *testing.T) {
	good := beacon.Append(nil)
	for i := range len(good) * 8 {
		bad := beacon.Append(nil)
		bad[i/8] ^= 1 << (i % 8)
		if _, err := Decode(bad, lan); !errors.Is(err, fault.Invalid) {
			t.Fatalf("bit %d: %v", i, err)
		}
	}
	for n := range good {
		if _, err := Decode(good[:n], lan); !errors.Is(err, fault.Invalid) {
			t.Fatalf("%d bytes: %v", n, err)
		}
	}
	if _, err := Decode(append(good, 0), lan); !errors.Is(err, fault.Invalid) {
		t.Error("one byte more:", err)
	}
	if _, err := Decode((Beacon{Addr: "10.0.0.5:1"}).Append(nil), lan); !errors.Is(err, fault.Invalid) {
		t.Error("no peer:", err)
	}
}

func FuzzDecode(f *testing.F) {
	f.Add(beacon.Append(nil))
	f.Fuzz(func(t *testing.T, p []byte) {
		b, err := Decode(p, lan)
		if err != nil {
			return
		}
		if a, err := netip.ParseAddrPort(b.Addr); err != nil || a.Port() == 0 || a.Addr().IsUnspecified() || b.Peer.IsZero() {
			t.Errorf("%+v", b)
		}
		if again, err := Decode(b.Append(nil), lan); err != nil || again != b {
			t.Errorf("%+v reads back as %+v, %v", b, again, err)
		}
	})
}

func TestNetworkOf(t *testing.T) {
	for cidr, want := range map[string]string{
		"192.168.1.7/24": "192.168.1.7 192.168.1.255",
		"10.1.2.3/9":     "10.1.2.3 10.127.255.255",
		"127.0.0.1/8":    "127.0.0.1 127.255.255.255",
		"10.0.0.1/31":    "10.0.0.1 invalid IP",
		"10.0.0.1/32":    "10.0.0.1 invalid IP",
		"fe80::1/64":     "",
	} {
		ip, n, err := net.ParseCIDR(cidr)
		if err != nil {
			t.Fatal(err)
		}
		n.IP = ip
		got := ""
		if network, ok := networkOf(n); ok {
			got = fmt.Sprint(network.Addr, " ", network.Broadcast)
		}
		if got != want {
			t.Errorf("%s: %q, want %q", cidr, got, want)
		}
	}
}

func TestFloodIsBounded(t *testing.T) {
	heard := 0
	d := New(Options{Beacon: beacon, OnBeacon: func(Beacon) { heard++ }})
	now := time.Now()
	for i := range 10_000 {
		b := Beacon{Peer: cluster.PeerID{byte(i >> 8), byte(i), 1}, Addr: "10.0.0.5:9001"}
		d.packet(b.Append(nil), lan, now)
	}
	if heard != packetsPerSecond {
		t.Errorf("%d beacons passed on at one moment, want %d", heard, packetsPerSecond)
	}
	for i := range 10_000 {
		now = now.Add(10 * time.Millisecond)
		b := Beacon{Peer: cluster.PeerID{byte(i >> 8), byte(i), 2}, Addr: "10.0.0.5:9001"}
		d.packet(b.Append(nil), lan, now)
	}
	if n := len(d.filter.seen); n > peersMax {
		t.Errorf("%d peers remembered", n)
	}
}

func TestRepeatsAndOwnAreDropped(t *testing.T) {
	var heard []Beacon
	d := New(Options{Beacon: beacon, OnBeacon: func(b Beacon) { heard = append(heard, b) }})
	other := beacon
	other.Peer = cluster.PeerID{3}
	now := time.Now()
	d.packet(beacon.Append(nil), lan, now)
	d.packet([]byte("noise"), lan, now)
	for range 3 {
		d.packet(other.Append(nil), lan, now)
	}
	d.packet(other.Append(nil), lan, now.Add(repeatAfter))
	moved := other
	moved.Addr = "10.0.0.6:9001"
	d.packet(moved.Append(nil), lan, now.Add(repeatAfter))
	if len(heard) != 3 || heard[2] != moved {
		t.Error(heard)
	}
	if c := d.Counts(); c != (Counts{Heard: 3, Own: 1, Dropped: 3}) {
		t.Errorf("%+v", c)
	}
}

// TestPeersOfOneMachineHearEachOther, over loopback.
func TestPeersOfOneMachineHearEachOther(t *testing.T) {
	probe, err := net.ListenPacket("udp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	port := uint16(probe.LocalAddr().(*net.UDPAddr).Port)
	probe.Close()
	ctx, cancel := context.WithCancel(t.Context())
	type sighting struct{ by, of byte }
	sightings := make(chan sighting, 1000)
	var wg sync.WaitGroup
	for i := range byte(3) {
		d := New(Options{
			Beacon: Beacon{Peer: cluster.PeerID{i + 1}, Addr: ":9001"},
			Port:   port, Every: 50 * time.Millisecond,
			Networks: func() []Network {
				return []Network{{netip.MustParseAddr("127.0.0.1"), netip.MustParseAddr("127.255.255.255")}}
			},
			OnBeacon: func(b Beacon) {
				if b.Addr != "127.0.0.1:9001" {
					t.Errorf("heard %+v", b)
				}
				select {
				case sightings <- sighting{i + 1, b.Peer[0]}:
				default:
				}
			},
		})
		wg.Go(func() {
			if err := d.Run(ctx); err != nil {
				t.Error(err)
			}
		})
	}
	seen := map[sighting]bool{}
	limit := time.After(20 * time.Second)
	for len(seen) < 6 {
		select {
		case s := <-sightings:
			seen[s] = true
		case <-limit:
			t.Fatal("heard only", seen)
		}
	}
	cancel()
	wg.Wait()
}

func TestOff(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := New(Options{Off: true}).Run(ctx); err != nil {
		t.Error(err)
	}
	if n := Interfaces(); len(n) == 0 {
		t.Log("no IPv4 interfaces here")
	}
}
