package ipc

import (
	"errors"
	"slices"
	"strings"
	"testing"
)

func body(s string) []byte { return []byte(s) }

func wantError(t *testing.T, got, want error) {
	t.Helper()
	if !errors.Is(got, want) {
		t.Errorf("%v, want %v", got, want)
	}
}

func TestG33_PriorityQueue_mq_overview(t *testing.T) {
	q, err := NewQueue(4, 8)
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range []Message{{Body: body("a"), Priority: 1}, {Body: body("b"), Priority: 5}, {Body: body("c"), Priority: 5}, {Body: body("d"), Priority: 0}} {
		if _, _, err := q.TrySend(m); err != nil {
			t.Fatal(err)
		}
	}
	_, _, err = q.TrySend(Message{Body: body("e")})
	wantError(t, err, ErrAgain)
	_, _, err = q.TrySend(Message{Body: body("too long!")})
	wantError(t, err, ErrSize)
	_, _, err = q.TrySend(Message{Priority: MaxPriority + 1})
	wantError(t, err, ErrInvalid)
	_, _, err = q.TryReceive(7)
	wantError(t, err, ErrSize)
	var got []string
	for range 4 {
		m, _, err := q.TryReceive(8)
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, string(m.Body))
	}
	if strings.Join(got, ",") != "b,c,a,d" {
		t.Error(got)
	}
	_, _, err = q.TryReceive(8)
	wantError(t, err, ErrAgain)
	standard, err := NewQueue(0, 0)
	if err != nil || standard.maxMessages != 10 || standard.maxBytes != 8192 {
		t.Errorf("defaults %+v, %v", standard, err)
	}
}

func TestG34_TypedQueue_msgrcv(t *testing.T) {
	q, err := NewTypedQueue(0)
	if err != nil {
		t.Fatal(err)
	}
	for i, kind := range []int64{3, 1, 2, 1} {
		if _, _, err := q.Send("s", Message{Body: body("wxyz"[i : i+1]), Type: kind}, true); err != nil {
			t.Fatal(err)
		}
	}
	var got []string
	for _, kind := range []int64{-2, -2, -2, 0} {
		m, blocked, _, err := q.Receive("r", kind, 10, false, true)
		if err != nil || blocked {
			t.Fatal(blocked, err)
		}
		got = append(got, string(m.Body))
	}
	if strings.Join(got, ",") != "x,z,y,w" {
		t.Error(got)
	}
	_, _, _, err = q.Receive("r", 0, 10, false, true)
	wantError(t, err, ErrNoMsg)
}

func TestG35_Semaphore_sem_overview(t *testing.T) {
	s, err := NewSemaphore(2, 0)
	if err != nil {
		t.Fatal(err)
	}
	for i, who := range []string{"a", "b", "c"} {
		if blocked, err := s.Wait(who); blocked != (i == 2) || err != nil {
			t.Errorf("%s: %v, %v", who, blocked, err)
		}
	}
	wakes, err := s.Post()
	if err != nil || !slices.Equal(names(wakes), []string{"c"}) || s.Value() != 0 {
		t.Errorf("%v, %v, value %d", wakes, err, s.Value())
	}
	wantError(t, s.TryWait(), ErrAgain)
}

func TestG36_Fencing_Kleppmann(t *testing.T) {
	var storage Fence
	// Client 1 has token 33 and pauses past its lease; client 2 gets 34 and writes; client 1 wakes and writes.
	if err := storage.Admit(34); err != nil {
		t.Error(err)
	}
	wantError(t, storage.Admit(33), ErrFenced)
	if err := storage.Admit(34); err != nil {
		t.Errorf("the holder itself: %v", err)
	}
}
