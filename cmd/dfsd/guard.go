package main

import (
	"os"
	"runtime"

	"github.com/spf13/cobra"

	"dfs/fs/mount/guard"
)

const guardName = "guard"

// guardProgram is the command of guardCommand; none where there are no guards.
func guardProgram() []string {
	if runtime.GOOS != "linux" {
		return nil
	}
	return []string{"/proc/self/exe", guardName}
}

// guardCommand is the guard of a mount, which the daemon starts.
func guardCommand() *cobra.Command {
	return &cobra.Command{
		Use: guardName, Short: "the guard of a mount; the daemon starts it", Hidden: true, DisableFlagParsing: true,
		RunE: func(*cobra.Command, []string) error { return guard.Main(os.Args[1:]) },
	}
}
