package admin

import (
	"net"
	"net/http"
	"testing"
)

// Whoever asks gets through: those that wait make room, the oldest first, and those being answered never do.
func TestACrowdMakesRoom(t *testing.T) {
	type conn struct{ net.Conn }
	c := &crowd{max: connsMax}
	asking := &conn{}
	c.move(asking, http.StateNew)
	c.move(asking, http.StateActive)
	var all []net.Conn
	for range connsMax - 1 {
		all = append(all, &conn{})
		if out := c.move(all[len(all)-1], http.StateNew); out != nil {
			t.Fatal("somebody had to go too early")
		}
	}
	c.move(all[0], http.StateActive)
	c.move(all[0], http.StateIdle) // now the youngest
	for i := range 5 {
		if out := c.move(&conn{}, http.StateNew); out != all[1+i] {
			t.Fatalf("%d: not the oldest", i)
		}
		c.move(all[1+i], http.StateClosed)
	}
	if n := len(c.waiting) + len(c.asking); n != connsMax || !c.asking[asking] {
		t.Errorf("%d connections", n)
	}
}
