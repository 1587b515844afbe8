// Package winfsp shows a drive on Windows through WinFsp, and is the only importer of cgofuse. It decides nothing itself: it turns
// paths into the inodes of vfs.FS, names into what Windows can show, and failures into error numbers.
//
// WinFsp speaks FUSE 2.8: every request names a path, and opens have a number. A path is resolved anew each time, name by
// name, through look-ups that are answered here and are never stale; nothing is remembered between requests but what is open. The sum: a
// path of five names costs five look-ups of a few microseconds.
//
// Case does not matter on Windows: a name that is not there as asked is looked for as it is spelled (vfs.FS.Spelling, one more
// look-up), and what is created keeps the spelling it was given. Where a directory has several spellings of a name, which only other
// systems can make, each is found by its own.
//
// Names that Windows cannot have are shown with characters of Unicode's private use area, as WinFsp itself, Cygwin and WSL do; see
// names.go.
//
// Nothing is cached in the Windows kernel (FileInfoTimeout=0), so there is nothing to invalidate, and no promise either: what
// programs and Explorer keep is theirs. They are told of others' changes as well as can be (notify.go).
//
// On Linux the same front can be mounted through libfuse 3 with the build tag fuse3 and cgo; the tests do that. There names are bytes
// and case matters, unless Options.Windows says otherwise.
//
// DESIGN.md says what was read in WinFsp's source and decided.
package winfsp
