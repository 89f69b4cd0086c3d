package profile

import (
	"fmt"
	"net/url"
	"path"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/mod/module"
	"golang.org/x/mod/semver"
)

// format is the syntax of one value: of a string, a number, or a pair of a map.
type format struct {
	pattern *regexp.Regexp // that a string matches; the schema has it too
	is      string         // what a string that matches is: "an etcd version"
	write   string         // the remedy for one that does not
	// repair guesses what was meant; a guess that matches becomes the remedy.
	repair func(value string) string
	// check looks further into a string that matches, and pair into a key and
	// its value. An empty message means that all is well.
	check func(value string) (message, remedy string)
	pair  func(key, value string) (message, remedy string)

	limited     bool // least and most bound a number
	least, most int64
}

// maxID is the highest uid or gid; the one above it means "leave unchanged" to
// chown(2).
const maxID = 1<<32 - 2

// maxLayers is how many layers the storage drivers of container engines stack.
const maxLayers = 127

// formats are the rows that the format tag names.
var formats = map[string]format{
	"name": {
		pattern: regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._-]{0,127}$`),
		is:      "a name",
		write:   "write letters, digits, and . _ - after the first",
	},
	"version": {
		pattern: regexp.MustCompile(`^(0|[1-9][0-9]*)\.(0|[1-9][0-9]*)\.(0|[1-9][0-9]*)(-[0-9A-Za-z]+([.-][0-9A-Za-z]+)*)?$`),
		is:      "an etcd version",
		write:   "write MAJOR.MINOR.PATCH, as 3.6.16",
		repair:  func(v string) string { return strings.TrimPrefix(v, "v") },
	},
	"toolchain": {
		pattern: regexp.MustCompile(`^go1\.[0-9]+(\.[0-9]+|rc[0-9]+|beta[0-9]+)?$`),
		is:      "a Go toolchain",
		write:   "write goMAJOR.MINOR.PATCH, as go1.27.4",
		repair:  func(v string) string { return "go" + strings.TrimLeft(v, "gov") },
	},
	"goarm64": {
		pattern: regexp.MustCompile(`^(v8\.[0-9]|v9\.[0-5])(,lse)?(,crypto)?$`),
		is:      "a level of arm64",
		write:   "write v8.0 to v8.9 or v9.0 to v9.5, with ,lse or ,crypto after it",
		repair:  func(v string) string { return "v" + v },
	},
	"port": {
		pattern: regexp.MustCompile(`^[1-9][0-9]{0,4}/(tcp|udp|sctp)$`),
		is:      "PORT/PROTOCOL",
		write:   "write one port and its protocol, as 2379/tcp",
		repair: func(v string) string {
			if isDecimal(v) {
				return v + "/tcp"
			}
			return strings.ToLower(v)
		},
		check: func(v string) (string, string) {
			number, _, _ := strings.Cut(v, "/")
			if n, _ := strconv.Atoi(number); n > 65535 {
				return fmt.Sprintf("port %s does not exist", number), "write a port from 1 to 65535"
			}
			return "", ""
		},
	},
	"path": {
		pattern: regexp.MustCompile(`^/[^\x00-\x1f\x7f]*$`),
		is:      "an absolute path",
		write:   "begin it with /",
		repair:  func(v string) string { return path.Clean("/" + v) },
		check: func(v string) (string, string) {
			if clean := path.Clean(v); clean != v {
				return fmt.Sprintf("%q is not a clean path", v), "write " + clean
			}
			return "", ""
		},
	},
	"path-pattern": {
		pattern: regexp.MustCompile(`^/[^\x00-\x20\x7f?\[\]]*$`),
		is:      "a pattern of absolute paths",
		write:   "begin it with /, and let * stand for whatever differs: no spaces, ? or [ ]",
	},
	"local": {
		pattern: regexp.MustCompile(`^[^\x00]+$`),
		is:      "a local path",
		write:   "name a file, relative to the profile",
		check: func(v string) (string, string) {
			if strings.Contains(v, "://") {
				return fmt.Sprintf("%q is not a local path", v), "save it beside the profile and name that file"
			}
			return "", ""
		},
	},
	"signal": {
		pattern: regexp.MustCompile(`^SIG(` + strings.Join(signalNames[1:], "|") + `|RTMIN|RTMIN\+([1-9]|1[0-5])|RTMAX|RTMAX-([1-9]|1[0-4]))$`),
		is:      "a signal's name",
		write:   "write it as SIGTERM",
		repair: func(v string) string {
			if n, err := strconv.Atoi(v); err == nil && n > 0 && n < len(signalNames) {
				return "SIG" + signalNames[n]
			}
			return "SIG" + strings.TrimPrefix(strings.ToUpper(v), "SIG")
		},
	},
	"command": {
		check: func(v string) (string, string) {
			if _, err := SplitCommand(v); err != nil {
				return err.Error(), "close the quote, or put a backslash before it"
			}
			return "", ""
		},
	},
	"repository": {check: checkRepository},
	"package": {
		pattern: regexp.MustCompile(`^(!?[a-z0-9][a-z0-9+.-]+|[a-z0-9][a-z0-9+.-]+=[0-9A-Za-z][0-9A-Za-z.+:~-]*|@essential|@required)$`),
		is:      "a package",
		write:   "write NAME, NAME=VERSION, !NAME, @essential or @required",
		repair: func(v string) string {
			name, version, pinned := strings.Cut(strings.ReplaceAll(v, " ", ""), "=")
			if name = strings.ToLower(name); pinned {
				name += "=" + version
			}
			return name
		},
	},
	"account": {
		pattern: regexp.MustCompile(`^[a-z_][a-z0-9_-]{0,31}$`),
		is:      "an account's name",
		write:   "write at most 32 lower-case letters, digits, _ and -, not beginning with a digit or -",
		repair:  strings.ToLower,
	},
	"os-id": {
		pattern: regexp.MustCompile(`^[a-z0-9._-]+$`),
		is:      "an identifier of os-release(5)",
		write:   "write lower-case letters, digits, . _ and -",
		repair:  strings.ToLower,
	},
	"line": {
		pattern: regexp.MustCompile(`^[^\x00-\x1f\x7f]*$`),
		is:      "one line of text",
		write:   "leave control characters out",
	},
	"variable": {pair: checkVariable},
	"label": {pair: func(key, _ string) (string, string) {
		if key == "" || strings.ContainsFunc(key, isBlankOrControl) {
			return fmt.Sprintf("%q is not a name", key), "write a name without spaces, as org.example.team"
		}
		return "", ""
	}},
	"bump": {pair: checkBump},

	"id":     {limited: true, least: 0, most: maxID},
	"count":  {limited: true, least: 0, most: 1<<31 - 1},
	"budget": {limited: true, least: 1, most: maxLayers},
}

// signalNames are Linux's by their number.
var signalNames = []string{
	"", "HUP", "INT", "QUIT", "ILL", "TRAP", "ABRT", "BUS", "FPE", "KILL", "USR1", "SEGV", "USR2", "PIPE", "ALRM", "TERM",
	"STKFLT", "CHLD", "CONT", "STOP", "TSTP", "TTIN", "TTOU", "URG", "XCPU", "XFSZ", "VTALRM", "PROF", "WINCH", "IO", "PWR", "SYS",
}

// check applies what the tags say to one string.
func (r valueRule) check(value string) (message, remedy string) {
	if len(r.enum) > 0 && !slices.Contains(r.enum, value) {
		if near := nearest(value, r.enum); near != "" {
			return fmt.Sprintf("%q is not one of %s", value, join(r.enum)), fmt.Sprintf("did you mean %s?", near)
		}
		return fmt.Sprintf("%q is not known here", value), "write one of " + join(r.enum)
	}
	f := formats[r.format]
	if f.pattern != nil && !f.pattern.MatchString(value) {
		remedy := f.write
		if f.repair != nil {
			if fixed := f.repair(value); f.pattern.MatchString(fixed) {
				remedy = "write " + fixed
			}
		}
		return fmt.Sprintf("%q is not %s", value, f.is), remedy
	}
	if f.check != nil {
		return f.check(value)
	}
	return "", ""
}

var (
	archiveName = regexp.MustCompile(`^[a-z0-9][a-z0-9.-]*$`)
	suiteName   = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._/-]*$`)
)

func checkRepository(v string) (message, remedy string) {
	const form = "write ARCHIVE SUITE COMPONENT…, as debian trixie main"
	words := strings.Fields(v)
	switch {
	case len(words) > 0 && (words[0] == "deb" || words[0] == "deb-src"):
		return fmt.Sprintf("%q is a line of sources.list", v), "leave out deb and options: ARCHIVE SUITE COMPONENT…"
	case len(words) < 3:
		return fmt.Sprintf("%q names no %s", v, []string{"archive", "suite", "component"}[len(words)]), form
	case v != strings.Join(words, " "):
		return fmt.Sprintf("%q has surplus spaces", v), "write " + strings.Join(words, " ")
	}
	if strings.Contains(words[0], "://") {
		address, err := url.Parse(words[0])
		switch {
		case err != nil:
			return fmt.Sprintf("%q is not an address: %v", words[0], err), form
		case address.User != nil:
			return "the address holds credentials", "a profile is published with its image: leave them out"
		case address.Scheme != "http" && address.Scheme != "https" && address.Scheme != "file":
			return fmt.Sprintf("%s is not supported", address.Scheme), "write an address with http, https or file"
		case address.Scheme != "file" && address.Host == "", address.RawQuery != "", address.Fragment != "":
			return fmt.Sprintf("%q is not the address of an archive", words[0]), "write the archive's directory, as https://mirror.example/debian"
		}
	} else if !archiveName.MatchString(words[0]) {
		return fmt.Sprintf("%q is not an archive's name or address", words[0]), form
	}
	for i, word := range words[1:] {
		if !suiteName.MatchString(word) {
			return fmt.Sprintf("%q is not the name of a %s", word, []string{"suite", "component"}[min(i, 1)]), form
		}
	}
	return "", ""
}

// checkVariable refuses what execve(2) would tear apart, and what breaks etcd.
func checkVariable(key, value string) (message, remedy string) {
	switch {
	case key == "" || strings.Contains(key, "=") || strings.ContainsFunc(key, isBlankOrControl):
		return fmt.Sprintf("%q is not a variable's name", key), "write letters, digits and _"
	case strings.Contains(value, "\x00"):
		return "the value has a NUL byte", "remove it"
	case strings.HasPrefix(key, "ETCD_") && key != "ETCD_UNSUPPORTED_ARCH":
		return "etcd 3.4 and later exit when a flag repeats an ETCD_* variable", "put the flag into cmd, where a user's flags replace it"
	}
	return "", ""
}

func checkBump(key, value string) (message, remedy string) {
	switch {
	case module.CheckPath(key) != nil:
		return fmt.Sprintf("%q is not a module path", key), "write it as go.mod does, as google.golang.org/grpc"
	case semver.Canonical(value) != value && semver.Canonical(value)+"+incompatible" != value:
		return fmt.Sprintf("%q is not an exact version", value), "write vMAJOR.MINOR.PATCH, as v1.83.2"
	case module.Check(key, value) != nil:
		return fmt.Sprintf("%s is not a version of %s", value, key), "write the version that belongs to the path's major version"
	case key == "go.etcd.io/etcd" || strings.HasPrefix(key, "go.etcd.io/etcd/") || key == "github.com/coreos/etcd":
		return "is etcd itself", "change etcd.versions"
	}
	return "", ""
}

func isBlankOrControl(r rune) bool { return r <= ' ' || r == 0x7f }
