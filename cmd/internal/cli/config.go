package cli

import (
	"bytes"
	"encoding/json"
	"errors"
	"io/fs"
	"log/slog"
	"maps"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"
	"unicode/utf8"

	"github.com/BurntSushi/toml"
	"github.com/spf13/pflag"

	"dfs/cluster/fault"
	"dfs/fs/mount"
)

// Config is what one peer is told, all of it resolved. It travels as JSON from `dfsd up` to the daemon it starts.
type Config struct {
	Data        string        // absolute
	Mount       string        // absolute; "" with NoMount
	NoMount     bool          // serve the cluster, mount nothing
	Name        string        // for people, unique in the cluster
	Listen      string        // HOST:PORT of transport and gossip
	Capacity    int64         // bytes offered; 0: what is free on the disk of Data, less a reserve
	Zone        string        // "" is a zone like any other
	Copies      int           // of the root's layout; 0 is auto. Only the peer that creates the cluster is asked
	HTTP        string        // HOST:PORT of dashboard and metrics, or "off"
	Plane       string        // HOST:PORT of the sidecar, or "off"
	AllowOther  bool          // other users see the mount, with the kernel's permission checks
	WhenCutOff  string        // wait, fail, read
	CutOffAfter time.Duration // how long an operation waits for the cluster before WhenCutOff applies
	LogLevel    slog.Level
}

// setting is one line of the table that flags, variables, files and memory share.
type setting struct {
	name, text, usage string // text is the default
	flag              bool   // a switch
	set               func(c *Config, text string) error
}

// settings of `dfsd up` and `dfsd join`, besides --data.
var settings = []setting{
	{name: "mount", usage: "where to mount the drive (on Windows a letter: X:)", set: func(c *Config, s string) error { c.Mount = s; return nil }},
	{name: "no-mount", flag: true, usage: "mount nothing, only serve the others", set: toBool(func(c *Config) *bool { return &c.NoMount })},
	{name: "name", usage: "this peer's name (default: the host's)", set: func(c *Config, s string) error { c.Name = s; return checkName(s) }},
	{name: "listen", text: ":9001", usage: "HOST:PORT of peer transport and gossip", set: toAddress(false, func(c *Config) *string { return &c.Listen })},
	{name: "capacity", usage: "bytes this peer offers, such as 200G (default: what is free)", set: toSize(func(c *Config) *int64 { return &c.Capacity })},
	{name: "zone", usage: "failure zone of this peer, such as a room or a site", set: func(c *Config, s string) error { c.Zone = s; return nil }},
	{name: "copies", text: "0", usage: "copies of everything (0: as many as peers, at most 2)", set: setCopies},
	{name: "http", text: "127.0.0.1:7420", usage: "HOST:PORT of dashboard and metrics, or off", set: toAddress(true, func(c *Config) *string { return &c.HTTP })},
	{name: "plane", text: "127.0.0.1:9000", usage: "HOST:PORT of the sidecar, or off", set: toAddress(true, func(c *Config) *string { return &c.Plane })},
	{name: "allow-other", flag: true, usage: "let other users use the mount (default as root)", set: toBool(func(c *Config) *bool { return &c.AllowOther })},
	{name: "when-cut-off", text: "fail", usage: "what operations do without the cluster: wait, fail or read", set: setWhenCutOff},
	{name: "cut-off-after", text: "15s", usage: "how long they wait for it first", set: setCutOffAfter},
	{name: "log-level", text: "info", usage: "debug, info, warn or error", set: func(c *Config, s string) error {
		if err := c.LogLevel.UnmarshalText([]byte(s)); err != nil {
			return fault.New("log-level", fault.Invalid, "%q: debug, info, warn or error", s)
		}
		return nil
	}},
}

func toBool(field func(*Config) *bool) func(*Config, string) error {
	return func(c *Config, s string) (err error) {
		if *field(c), err = strconv.ParseBool(s); err != nil {
			return fault.New("switch", fault.Invalid, "%q: true or false", s)
		}
		return nil
	}
}

func toSize(field func(*Config) *int64) func(*Config, string) error {
	return func(c *Config, s string) (err error) {
		*field(c), err = ParseSize(s)
		return err
	}
}

func toAddress(off bool, field func(*Config) *string) func(*Config, string) error {
	return func(c *Config, s string) error {
		*field(c) = s
		if off && s == "off" {
			return nil
		}
		_, port, err := net.SplitHostPort(s)
		if n, perr := strconv.ParseUint(port, 10, 16); err != nil || perr != nil || n > 65535 {
			return fault.New("address", fault.Invalid, "%q: write HOST:PORT", s)
		}
		return nil
	}
}

func checkName(s string) error {
	bad := func(r rune) bool { return r <= ' ' || r == 0x7f || r == '/' }
	if s == "" || len(s) > 63 || strings.ContainsFunc(s, bad) {
		return fault.New("name", fault.Invalid, "%q: 1 to 63 bytes without spaces and slashes", s)
	}
	return nil
}

func setCopies(c *Config, s string) error {
	n, err := strconv.Atoi(s)
	if err != nil || n < 0 || n > 16 {
		return fault.New("copies", fault.Invalid, "%q: 0 (auto) to 16", s)
	}
	c.Copies = n
	return nil
}

func setWhenCutOff(c *Config, s string) error {
	if !slices.Contains([]string{"wait", "fail", "read"}, s) {
		return fault.New("when-cut-off", fault.Invalid, "%q: wait, fail or read", s)
	}
	c.WhenCutOff = s
	return nil
}

func setCutOffAfter(c *Config, s string) (err error) {
	c.CutOffAfter, err = ParseDuration(s)
	return err
}

// Flags puts the settings and --data onto a command.
func Flags(f *pflag.FlagSet) {
	f.String("data", "", "directory of this peer's state (default: the user's data directory)")
	for _, s := range settings {
		if s.flag {
			f.Bool(s.name, false, s.usage)
		} else {
			f.String(s.name, s.text, s.usage)
		}
	}
}

// Env reads an environment variable; os.LookupEnv outside tests.
type Env func(string) (string, bool)

func variable(name string) string {
	return "DFS_" + strings.ToUpper(strings.ReplaceAll(name, "-", "_"))
}

// ResolveData returns the data directory, absolute: flag, DFS_DATA, the user's dfsd.toml, the default.
func ResolveData(f *pflag.FlagSet, env Env) (string, error) {
	dir := ""
	if flag := f.Lookup("data"); flag != nil && flag.Changed {
		dir = flag.Value.String()
	} else if v, ok := env(variable("data")); ok && v != "" {
		dir = v
	} else if file, err := userFile(); err != nil {
		return "", err
	} else if file["data"] != "" {
		dir = file["data"]
	} else if dir, err = DataDir(); err != nil {
		return "", err
	}
	if dir == "" {
		return "", fault.New("data", fault.Invalid, "--data is empty")
	}
	abs, err := filepath.Abs(dir)
	return abs, fault.Because("data", fault.Invalid, err)
}

// Resolve makes the configuration of the peer in data, and the settings that a later start shall remember: those
// given by flag or variable now, and those that were remembered and are not overruled.
func Resolve(data string, f *pflag.FlagSet, env Env) (Config, map[string]string, error) {
	c := Config{Data: data}
	user, err := userFile()
	if err != nil {
		return c, nil, err
	}
	file, err := readTOML(filepath.Join(data, "dfsd.toml"))
	if err != nil {
		return c, nil, err
	}
	old, err := remembered(data)
	if err != nil {
		return c, nil, err
	}
	given := map[string]string{}
	for _, s := range settings {
		if flag := f.Lookup(s.name); flag != nil && flag.Changed {
			given[s.name] = flag.Value.String()
		} else if v, ok := env(variable(s.name)); ok {
			given[s.name] = v
		}
	}
	if m := given["mount"]; m != "" {
		if given["mount"], err = absMount(m); err != nil {
			return c, nil, fault.Because("mount", fault.Invalid, err)
		}
	}
	keep := maps.Clone(old)
	maps.Copy(keep, given)
	// The later word on the mount counts.
	switch {
	case given["mount"] != "" && given["no-mount"] == "":
		delete(keep, "no-mount")
		delete(old, "no-mount")
	case given["no-mount"] == "true" && given["mount"] == "":
		delete(keep, "mount")
		delete(old, "mount")
	}
	for _, s := range settings {
		text, from := s.text, ""
		for _, source := range []struct {
			name   string
			values map[string]string
		}{{"flags.json", old}, {"the user's dfsd.toml", user}, {"dfsd.toml", file}, {"--" + s.name, given}} {
			if v, ok := source.values[s.name]; ok {
				text, from = v, source.name
			}
		}
		if text == "" {
			continue
		}
		if err := s.set(&c, text); err != nil {
			return c, nil, fault.Wrap(from, err)
		}
	}
	if _, ok := keep["allow-other"]; !ok && user["allow-other"] == "" && file["allow-other"] == "" {
		c.AllowOther = os.Geteuid() == 0
	}
	if c.Name == "" {
		if c.Name = hostName(); checkName(c.Name) != nil {
			c.Name = "peer"
		}
	}
	if c.NoMount {
		c.Mount = ""
	} else if c.Mount != "" {
		if !utf8.ValidString(c.Mount) {
			return c, nil, Hint(fault.New("mount", fault.Invalid, "%q is not UTF-8", c.Mount), "choose another --mount")
		}
		if letter, ok := driveLetter(c.Mount); ok {
			c.Mount = letter
			return c, keep, nil
		}
		if !filepath.IsAbs(c.Mount) {
			c.Mount = filepath.Join(data, c.Mount) // from a file
		}
		c.Mount = RealMount(c.Mount)
	}
	return c, keep, nil
}

// absMount makes a mount point absolute; a drive letter is so by itself.
func absMount(point string) (string, error) {
	if letter, ok := driveLetter(point); ok {
		return letter, nil
	}
	return filepath.Abs(point)
}

// driveLetter is mount.Letter where there are drive letters.
func driveLetter(point string) (string, bool) {
	if runtime.GOOS != "windows" {
		return "", false
	}
	return mount.Letter(point)
}

func hostName() string {
	name, _ := os.Hostname()
	name, _, _ = strings.Cut(name, ".")
	return name
}

func userFile() (map[string]string, error) {
	dir, err := ConfigDir()
	if err != nil {
		return nil, nil // no home, no file
	}
	return readTOML(filepath.Join(dir, "dfsd.toml"))
}

// readTOML returns the settings in a file; no file, no settings. fault.Invalid for unknown ones.
func readTOML(path string) (map[string]string, error) {
	text, err := os.ReadFile(path)
	if missing(err) {
		return nil, nil
	}
	if err != nil {
		return nil, fault.Because("settings", fault.Permission, err)
	}
	var raw map[string]any
	if err := toml.Unmarshal(text, &raw); err != nil {
		return nil, fault.New("settings", fault.Invalid, "%s: %v", path, err)
	}
	values := map[string]string{}
	for name, v := range raw {
		if name != "data" && !slices.ContainsFunc(settings, func(s setting) bool { return s.name == name }) {
			return nil, fault.New("settings", fault.Invalid, "%s: there is no setting %q", path, name)
		}
		switch v := v.(type) {
		case string:
			values[name] = v
		case int64:
			values[name] = strconv.FormatInt(v, 10)
		case bool:
			values[name] = strconv.FormatBool(v)
		default:
			return nil, fault.New("settings", fault.Invalid, "%s: %s is a text, a number or true or false", path, name)
		}
	}
	return values, nil
}

// missing reports whether err says that there is no such file. A data directory that is none is not this file's to say.
func missing(err error) bool {
	return errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ENOTDIR)
}

// flagsFile keeps what `dfsd up` was told, so that `dfsd up --data DIR` alone starts the peer again.
const flagsFile = "flags.json"

func remembered(data string) (map[string]string, error) {
	values := map[string]string{}
	text, err := os.ReadFile(filepath.Join(data, flagsFile))
	if missing(err) {
		return values, nil
	}
	if err != nil {
		return nil, fault.Because("remembered flags", fault.Permission, err)
	}
	if err := json.Unmarshal(text, &values); err != nil {
		return nil, Hint(fault.New("remembered flags", fault.Corrupt, "%s", filepath.Join(data, flagsFile)),
			"remove that file and name the flags again")
	}
	return values, nil
}

// Remember replaces what is remembered for data. A power cut leaves the old or the new.
func Remember(data string, values map[string]string) error {
	text, err := json.MarshalIndent(values, "", "  ")
	if err != nil {
		return fault.Because("remember flags", fault.Invalid, err)
	}
	path := filepath.Join(data, flagsFile)
	text = append(text, '\n')
	if old, err := os.ReadFile(path); err == nil && bytes.Equal(old, text) {
		return nil
	}
	if err := writeSynced(path+".new", text); err != nil {
		return fault.Because("remember flags", fault.Permission, err)
	}
	if err := os.Rename(path+".new", path); err != nil {
		return fault.Because("remember flags", fault.Other, err)
	}
	return fault.Because("remember flags", fault.Other, syncDir(data))
}

func writeSynced(path string, text []byte) error {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(text)
	return errors.Join(err, f.Sync(), f.Close())
}

// syncDir makes the names in a directory durable, where directories can be synced.
func syncDir(dir string) error {
	if runtime.GOOS == "windows" {
		return nil
	}
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

// KnownPeer reports whether `dfsd up` or `join` has run in data before.
func KnownPeer(data string) bool {
	_, err := os.Stat(filepath.Join(data, flagsFile))
	return err == nil
}
