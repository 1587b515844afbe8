//go:build windows || (linux && cgo && fuse3)

package winfsp

import (
	"log/slog"
	"os"
	"runtime"
	"strings"
)

func (o *Options) setDefaults() {
	if o.Source == "" {
		o.Source = "dfs"
	}
	if o.Label = label(o.Label); o.Label == "" {
		o.Label = "dfs"
	}
	o.Windows = o.Windows || runtime.GOOS == "windows"
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
}

// labelMax is how long a volume's label may be.
const labelMax = 32

// label returns s without what a label, or WinFsp's list of options, cannot hold.
func label(s string) string {
	s = strings.Map(func(r rune) rune {
		if r < ' ' || r > '~' || strings.ContainsRune(`\,"*?/|.;:+=<>[]`, r) {
			return -1
		}
		return r
	}, s)
	return s[:min(len(s), labelMax)]
}

// arguments are the command line that cgofuse hands on.
func (o *Options) arguments(windows bool) []string {
	if !windows {
		source := strings.NewReplacer(`\`, `\\`, ",", `\,`).Replace(o.Source)
		args := []string{"-o", "fsname=" + source, "-o", "subtype=dfs-libfuse", "-o", "default_permissions"}
		if os.Geteuid() == 0 {
			args = append(args, "-o", "allow_other")
		}
		return args
	}
	return []string{
		"-o", "uid=-1,gid=-1", // everything is the mounting user's
		"-o", "volname=" + o.Label,
		"-o", "FileSystemName=dfs",
		"-o", "FileInfoTimeout=0", // the kernel keeps nothing, bytes included
		"-o", "FlushOnCleanup=1", // CloseHandle waits for the flush; WinFsp before 2.2 does not know it and takes no notice
	}
}
