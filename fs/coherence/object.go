package coherence

import (
	"fmt"

	"dfs/fs/meta"
)

// Object is the smallest thing a mount can be right or wrong about. Each is linearizable by itself, and every
// answer the mount gives is about one of them.
type Object struct {
	kind kind
	ino  meta.Ino
	name string
}

type kind uint8

const (
	attr kind = iota
	entry
	list
	content
)

// Attr is the attributes of an inode.
func Attr(ino meta.Ino) Object { return Object{kind: attr, ino: ino} }

// Entry is what a name in a directory means; its absence too.
func Entry(dir meta.Ino, name string) Object { return Object{kind: entry, ino: dir, name: name} }

// List is the set of names in a directory.
func List(dir meta.Ino) Object { return Object{kind: list, ino: dir} }

// Bytes is the content of a file.
func Bytes(ino meta.Ino) Object { return Object{kind: content, ino: ino} }

// Ino returns the inode the object belongs to; of a name, the directory.
func (o Object) Ino() meta.Ino { return o.ino }

// IsAttr reports whether the object is attributes.
func (o Object) IsAttr() bool { return o.kind == attr }

func (o Object) String() string {
	switch o.kind {
	case attr:
		return fmt.Sprintf("attr(%d)", o.ino)
	case entry:
		return fmt.Sprintf("entry(%d,%q)", o.ino, o.name)
	case list:
		return fmt.Sprintf("list(%d)", o.ino)
	}
	return fmt.Sprintf("bytes(%d)", o.ino)
}
