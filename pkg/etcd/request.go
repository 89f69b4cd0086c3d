package etcd

import (
	"errors"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"

	"golang.org/x/mod/module"
)

// Request is what a profile asks for about one etcd version.
type Request struct {
	Version   string            // MAJOR.MINOR.PATCH
	From      string            // "source", to compile, or "release", to take the official binaries; "" means source
	Binaries  []string          // of etcd, etcdctl, etcdutl; none means all that the line has
	Toolchain string            // go1.27.4; "" means DefaultToolchain
	Bump      map[string]string // module path → version: dependencies to raise above etcd's own pins
	FIPS      bool              // compile with Go's certified FIPS 140-3 module
	GOAMD64   string            // v1 to v4; "" means v1
	GOARM64   string            // v8.0 to v9.5, with ,lse and ,crypto; "" means v8.0
	GOPPC64   string            // power8 to power10; "" means power8

	// FromByArch is what From is for some architectures (GOARCH) instead.
	FromByArch map[string]string
	// Archs are the architectures that official releases are pinned for; none
	// means all. What is compiled is pinned for all of them at once.
	Archs []string
	// Keyring has OpenPGP keys, armored or binary. With one at least, an
	// official release whose checksums none of them has signed is refused.
	Keyring [][]byte
}

// Where binaries come from.
const (
	fromSource  = "source"
	fromRelease = "release"
)

// from is where the binaries for an architecture come from.
func (r Request) from(arch string) string {
	return or(or(r.FromByArch[arch], r.From), fromSource)
}

// origins are the architectures that are compiled for, and those that take
// official releases, both sorted.
func (r Request) origins() (sources, releases []string) {
	archs := r.Archs
	if len(archs) == 0 {
		archs = slices.Collect(maps.Keys(levels))
	}
	for _, arch := range slices.Compact(slices.Sorted(slices.Values(archs))) {
		if r.from(arch) == fromRelease {
			releases = append(releases, arch)
		} else {
			sources = append(sources, arch)
		}
	}
	return sources, releases
}

// KeyError says which key of a profile is wrong, so that whoever read the
// profile can tell the line.
type KeyError struct {
	Key   string // as in a profile: etcd.toolchain
	Value string
	Err   error // what is wrong and what to do
}

func (e *KeyError) Error() string { return e.Key + ": " + e.Err.Error() }

// Unwrap returns what is wrong.
func (e *KeyError) Unwrap() error { return e.Err }

// fipsModule is the version of Go's cryptographic module that has a FIPS
// 140-3 certificate. Every toolchain since go1.24 carries it.
const (
	fipsModule    = "v1.0.0"
	fipsToolchain = "go1.24"
)

// levels are the settings of an architecture's level: what may be written, and
// what the go command itself takes where nothing is set. They are always
// passed on, as a distribution may have built its go with other defaults.
var levels = map[string]struct {
	setting string
	form    *regexp.Regexp
	base    string
	example string
}{
	"amd64":   {"GOAMD64", regexp.MustCompile(`^v[1-4]$`), "v1", "v1, v2, v3 or v4"},
	"arm64":   {"GOARM64", regexp.MustCompile(`^v(8\.[0-9]|9\.[0-5])(,lse)?(,crypto)?$`), "v8.0", "v8.0 to v8.9 or v9.0 to v9.5"},
	"ppc64le": {"GOPPC64", regexp.MustCompile(`^power(8|9|10)$`), "power8", "power8, power9 or power10"},
	"s390x":   {},
}

// Check tells what can be told about a request without looking anywhere. Each
// of the errors that it joins is a *KeyError.
func (r Request) Check() error {
	var errs []error
	wrong := func(key, value, format string, args ...any) {
		errs = append(errs, &KeyError{Key: key, Value: value, Err: fmt.Errorf(format, args...)})
	}
	sources, releases := r.origins()
	v, err := parseVersion(r.Version)
	if err != nil {
		wrong("etcd.versions", r.Version, "%w", err)
	} else if l, err := line(v); err != nil {
		wrong("etcd.versions", r.Version, "%w", err)
	} else if err := l.known(v); err != nil && len(sources) > 0 {
		wrong("etcd.versions", r.Version, "%w", err)
	} else {
		for _, e := range l.Edits {
			if to := r.Bump[e.Module]; to != "" {
				wrong("etcd.bump", e.Module, "etcd %s has an edited %s %s, so it can not be raised; remove it", l.Name, e.Module, e.Version)
			}
		}
		for _, name := range r.Binaries {
			if _, ok := l.Programs[name]; !ok {
				wrong("etcd.binaries", name, "etcd %s has no %q; choose of %s", l.Name, name, strings.Join(l.binaries(), ", "))
			}
		}
	}
	archs := strings.Join(slices.Sorted(maps.Keys(levels)), ", ")
	for _, from := range append([]string{r.From}, slices.Sorted(maps.Values(r.FromByArch))...) {
		if from != "" && from != fromSource && from != fromRelease {
			wrong("etcd.from", from, "%q is not known; use source or release", from)
		}
	}
	for _, arch := range append(slices.Sorted(maps.Keys(r.FromByArch)), r.Archs...) {
		if _, ok := levels[arch]; !ok {
			wrong("etcd.from", arch, "%q is not an architecture that etcd is built for; choose of %s", arch, archs)
		}
	}
	r.checkReleases(releases, wrong)
	if err := checkToolchain(r.toolchain()); err != nil {
		wrong("etcd.toolchain", r.Toolchain, "%w", err)
	} else if r.FIPS && olderGo(r.toolchain(), fipsToolchain) {
		wrong("etcd.fips", "true", "%s has no FIPS 140-3 module; use %s or newer", r.toolchain(), fipsToolchain)
	}
	for _, path := range slices.Sorted(maps.Keys(r.Bump)) {
		to := r.Bump[path]
		if err := module.CheckPath(path); err != nil {
			wrong("etcd.bump", path, "%q is not a module path: %w", path, err)
		} else if module.CanonicalVersion(to) != to || to == "" {
			wrong("etcd.bump", path, "%s: %q is not a version; write it complete, such as v1.83.2", path, to)
		} else if err := module.Check(path, to); err != nil {
			wrong("etcd.bump", path, "%w", err)
		}
	}
	for arch, value := range map[string]string{"amd64": r.GOAMD64, "arm64": r.GOARM64, "ppc64le": r.GOPPC64} {
		if l := levels[arch]; value != "" && !l.form.MatchString(value) {
			wrong("etcd."+strings.ToLower(l.setting), value, "%q is not a level of %s; choose %s", value, arch, l.example)
		}
	}
	slices.SortStableFunc(errs, func(a, b error) int {
		return strings.Compare(a.(*KeyError).Key, b.(*KeyError).Key)
	})
	return errors.Join(errs...)
}

// checkReleases tells of what only those who compile can have.
func (r Request) checkReleases(releases []string, wrong func(key, value, format string, args ...any)) {
	if len(releases) == 0 {
		return
	}
	const remedy = "official releases are taken as they are; remove it, or use from: source for %s"
	if r.FIPS {
		wrong("etcd.fips", "true", remedy, strings.Join(releases, ", "))
	}
	for _, path := range slices.Sorted(maps.Keys(r.Bump)) {
		wrong("etcd.bump", path, remedy, strings.Join(releases, ", "))
	}
	for _, arch := range releases {
		setting := levels[arch].setting
		if value := r.Settings()[setting]; value != "" {
			wrong("etcd."+strings.ToLower(setting), value, remedy, arch)
		}
	}
}

func (r Request) toolchain() string {
	if r.Toolchain == "" {
		return DefaultToolchain
	}
	return r.Toolchain
}

// Settings are the request's environment settings for the compiler.
func (r Request) Settings() map[string]string {
	s := map[string]string{}
	if r.FIPS {
		s["GOFIPS140"] = fipsModule
	}
	for name, value := range map[string]string{"GOAMD64": r.GOAMD64, "GOARM64": r.GOARM64, "GOPPC64": r.GOPPC64} {
		if value != "" {
			s[name] = value
		}
	}
	return s
}
