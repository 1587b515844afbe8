package mount

import (
	"path/filepath"
	"runtime"

	"golang.org/x/sys/windows"
	"golang.org/x/sys/windows/registry"

	"dfs/cluster/fault"
)

// libraries are WinFsp's, by architecture.
var libraries = map[string]string{"amd64": "winfsp-x64.dll", "arm64": "winfsp-a64.dll", "386": "winfsp-x86.dll"}

// Ready says whether this process could mount a drive anywhere: whether WinFsp is where cgofuse will look for it, which panics if it
// is not. fault.Unsupported, with advice.
func Ready() error {
	const op = "mount"
	const install = "winget install WinFsp.WinFsp (or https://winfsp.dev), or --no-mount"
	name := libraries[runtime.GOARCH]
	if loads(name) == nil {
		return nil
	}
	key, err := registry.OpenKey(registry.LOCAL_MACHINE, `Software\WinFsp`, registry.QUERY_VALUE|registry.WOW64_32KEY)
	if err != nil {
		return fault.Advise(fault.New(op, fault.Unsupported, "WinFsp is not installed"), install)
	}
	defer key.Close()
	dir, _, err := key.GetStringValue("InstallDir")
	if err != nil {
		return fault.Advise(fault.New(op, fault.Unsupported, "WinFsp is not installed whole: %v", err), install)
	}
	path := filepath.Join(dir, "bin", name)
	if err := loads(path); err != nil {
		return fault.Advise(fault.New(op, fault.Unsupported, "%s does not load: %v", path, err), "install WinFsp anew, or --no-mount")
	}
	return nil
}

// loads tries a library, and what cgofuse asks of it first.
func loads(path string) error {
	dll, err := windows.LoadDLL(path)
	if err != nil {
		return err
	}
	defer dll.Release()
	_, err = dll.FindProc("fuse_main_real")
	return err
}
