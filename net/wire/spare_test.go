package wire

import (
	"bytes"
	"errors"
	"io"
	"testing"
)

// A payload's memory that was given back serves the next one, whatever that one's length; small ones have their own.
func TestPayloadsReuseMemory(t *testing.T) {
	for range 3 {
		for _, n := range []int{100, 600 << 10, 2 << 20, 4 << 20} {
			want := bytes.Repeat([]byte{byte(n >> 16), byte(n), 7}, n/3+1)[:n]
			got, err := readPayload(bytes.NewReader(want), n)
			if err != nil || !bytes.Equal(got, want) {
				t.Fatalf("%d bytes: %d of them, %v", n, len(got), err)
			}
			b := Body{Payload: got, spare: cap(got) == spareBytes}
			if b.Reuse(); n > 1<<20 && b.Payload != nil {
				t.Errorf("%d bytes were not given back", n)
			}
			if _, err := readPayload(bytes.NewReader(want[1:]), n); !errors.Is(err, io.ErrUnexpectedEOF) {
				t.Errorf("a short payload: %v", err)
			}
		}
	}
	theirs := make([]byte, spareBytes)
	b := Body{Payload: theirs}
	if b.Reuse(); b.Payload == nil {
		t.Error("memory of somebody else was taken")
	}
}
