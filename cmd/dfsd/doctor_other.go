//go:build !linux

package main

import (
	"io/fs"
	"runtime"

	"dfs/cluster/fault"
	"dfs/cmd/internal/cli"
	"dfs/fs/mount"
)

func tooOpen(fs.FileInfo) bool { return false }

func checkFUSE() finding {
	if runtime.GOOS != "windows" {
		return bad("fuse", "dfsd up --no-mount", "mounting needs Linux or Windows")
	}
	if err := mount.Ready(); err != nil {
		return bad("winfsp", fault.NextStep(err), "%v", fault.Plain(err))
	}
	return good("winfsp", "installed")
}

func checkMounts() finding { return good("mounts", "they end with their daemon here") }

func checkDisk(data string) finding { return good("disk", "%s", cli.Existing(data)) }

func checkMemory() finding { return good("memory", "not looked at on this system") }

func checkFiles() finding { return good("files", "no limit known") }

func checkClock() finding { return good("clock", "runs") }

func checkPoint(point string) finding {
	if err := mount.Check(point); err != nil {
		return bad("mount", fault.NextStep(err), "%v", fault.Plain(err))
	}
	return good("mount", "%s is free", point)
}
