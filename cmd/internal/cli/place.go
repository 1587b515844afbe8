package cli

import (
	"os"
	"path/filepath"
	"runtime"
	"strings"

	"dfs/cluster/fault"
)

// DataDir returns the user's data directory for dfs: where state lives unless --data says otherwise.
func DataDir() (string, error) { return userDir("XDG_DATA_HOME", ".local/share", "LOCALAPPDATA") }

// ConfigDir returns where the user's dfsd.toml may lie.
func ConfigDir() (string, error) { return userDir("XDG_CONFIG_HOME", ".config", "APPDATA") }

func userDir(xdg, underHome, windows string) (string, error) {
	var base string
	switch runtime.GOOS {
	case "windows":
		base = os.Getenv(windows)
	case "darwin":
		if home, err := os.UserHomeDir(); err == nil {
			base = filepath.Join(home, "Library", "Application Support")
		}
	default:
		base = os.Getenv(xdg)
		if home, err := os.UserHomeDir(); !filepath.IsAbs(base) && err == nil {
			base = filepath.Join(home, filepath.FromSlash(underHome))
		}
	}
	if !filepath.IsAbs(base) {
		return "", Hint(fault.New("data directory", fault.NotExist, "this user has no home directory"), "say where: --data DIR")
	}
	return filepath.Join(base, "dfs"), nil
}

// Home shortens a path below the user's home to ~/..., for people.
func Home(path string) string {
	home, err := os.UserHomeDir()
	if err != nil || home == "/" {
		return path
	}
	if rest, ok := strings.CutPrefix(path, home+string(filepath.Separator)); ok {
		return "~/" + filepath.ToSlash(rest)
	}
	return path
}
