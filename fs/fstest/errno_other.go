//go:build !linux

package fstest

import "fmt"

// errnoName returns the text of an error: names of the kernel's are Linux's.
func errnoName(err error) string { return fmt.Sprint(err) }
