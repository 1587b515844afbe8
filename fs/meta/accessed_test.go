package meta

import (
	"reflect"
	"testing"

	"dfs/cluster/fault"
)

// Accesses move atimes forwards and nothing else, and pass by what is gone or another session's own.
func TestAccesses(t *testing.T) {
	op := Accessed{Inos: []Ino{1, 2}, Times: []Time{3, -4}}
	if got, err := Decode(Encode(op)); err != nil || !reflect.DeepEqual(got, op) {
		t.Fatalf("%+v, %v", got, err)
	}
	d := newDrive(t, 1)
	f := d.file("f")
	before := d.stat(f)
	d.do(Accessed{Inos: []Ino{f, 999}, Times: []Time{before.Atime + 5, 7}})
	d.do(Accessed{Inos: []Ino{f}, Times: []Time{before.Atime + 4}})
	want := before
	want.Atime, want.Changed = before.Atime+5, d.stat(f).Changed
	if got := d.stat(f); !reflect.DeepEqual(got, want) {
		t.Fatalf("%+v, want %+v", got, want)
	}
	d.refuse(fault.Invalid, Accessed{Inos: []Ino{f}})
}
