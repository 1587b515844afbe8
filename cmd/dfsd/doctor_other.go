//go:build !linux

package main

import (
	"io/fs"
	"os"
	"path/filepath"
	"runtime"

	"dfs/cmd/internal/cli"
)

func tooOpen(fs.FileInfo) bool { return false }

func checkFUSE() finding {
	if runtime.GOOS != "windows" {
		return bad("fuse", "dfsd up --no-mount", "mounting needs Linux or Windows")
	}
	for _, root := range []string{os.Getenv("ProgramFiles(x86)"), os.Getenv("ProgramFiles")} {
		if _, err := os.Stat(filepath.Join(root, "WinFsp", "bin")); root != "" && err == nil {
			return good("winfsp", "installed in %s", root)
		}
	}
	return bad("winfsp", "winget install WinFsp.WinFsp, or --no-mount", "WinFsp is not installed")
}

func checkMounts() finding { return good("mounts", "they end with their daemon here") }

func checkDisk(data string) finding { return good("disk", "%s", cli.Existing(data)) }

func checkMemory() finding { return good("memory", "not looked at on this system") }

func checkFiles() finding { return good("files", "no limit known") }

func checkClock() finding { return good("clock", "runs") }

func checkPoint(point string) finding { return good("mount", "%s", point) }
