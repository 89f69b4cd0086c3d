package etcd

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"regexp"
	"slices"
	"strings"

	"golang.org/x/mod/modfile"
	"golang.org/x/mod/module"

	"github.com/etcdimg/etcdimg/pkg/lock"
)

// recipeVersion numbers what this package does to a pin beyond what the pin
// says: flags and environment. It rises when any of it changes a binary.
const recipeVersion = 1

// flags are those of every go build. The module checksums in the binary's
// build information identify it; a path, a build ID or a state of version
// control would only tell builders apart. Tables for debuggers, which the linker
// leaves out, are not made in the first place: that is a tenth of the time.
func flags() []string {
	return []string{"-trimpath", "-buildvcs=false", "-mod=readonly", "-gcflags=all=-dwarf=false"}
}

// linkerFlags are the value of -ldflags.
func linkerFlags(variables map[string]string) string {
	var b strings.Builder
	b.WriteString("-s -w -buildid=")
	for _, name := range slices.Sorted(maps.Keys(variables)) {
		b.WriteString(" -X " + name + "=" + variables[name])
	}
	return b.String()
}

// target is the part of the compiler's environment that determines its output.
func target(pin lock.Etcd, arch string) []string {
	env := []string{"CGO_ENABLED=0", "GOOS=linux", "GOARCH=" + arch}
	if l := levels[arch]; l.setting != "" {
		env = append(env, l.setting+"="+or(pin.Settings[l.setting], l.base))
	}
	return append(env, "GOFIPS140="+or(pin.Settings["GOFIPS140"], "off"))
}

func or(value, otherwise string) string {
	if value == "" {
		return otherwise
	}
	return value
}

// key is the digest, in hex, of everything that determines a binary; with no
// package, of everything that the binaries of one go build share.
func key(pin recipe, arch, pkg string) string {
	b, err := json.Marshal(struct {
		Recipe                    int
		GoMod, GoSum, Toolchain   string
		Flags, Environment        []string
		LinkerFlags, Architecture string
		Package                   string
		Edits                     []lock.Edit `json:",omitempty"`
		Sources                   string      `json:",omitempty"`
	}{recipeVersion, pin.GoMod, pin.GoSum, pin.Toolchain, flags(), target(pin.Etcd, arch), linkerFlags(pin.Variables), arch, pkg, pin.Edits, sourcesKey(pin.sources)})
	if err != nil {
		panic(err) // strings and numbers only
	}
	sum := sha256.Sum256(b)
	return hex.EncodeToString(sum[:])
}

// unpackVersion numbers what this package does to what it unpacks: nothing yet.
const unpackVersion = 1

// binaryKey is the digest, in hex, of everything that determines the binary of
// that name; with no name, of everything that those of an architecture share.
func binaryKey(pin recipe, arch, name string) string {
	a, ok := archive(pin.Etcd, arch)
	if !ok {
		return key(pin, arch, pin.Packages[name])
	}
	return hexSHA256(fmt.Appendf(nil, "unpacked %d\n%s\n%s\n%q\n", unpackVersion, arch, a.SHA256, a.Binaries[name]))
}

var (
	variableName  = regexp.MustCompile(`^[\w./~-]+\.\w+$`)
	variableValue = regexp.MustCompile(`^[\w.:+/=-]+$`)
	binaryName    = regexp.MustCompile(`^[a-z][a-z0-9-]*$`)
	fipsVersion   = regexp.MustCompile(`^v[0-9]+\.[0-9]+\.[0-9]+$`)
)

// checkPin refuses a pin that would make the go command do anything but what
// pins are for. A lock is a file that somebody else may have written, and its
// values become arguments and environment of a program.
func checkPin(pin recipe, arch string, binaries []string) error {
	var errs []error
	wrong := func(format string, args ...any) { errs = append(errs, fmt.Errorf(format, args...)) }
	if _, ok := levels[arch]; !ok {
		wrong("%q is not an architecture that etcd is built for; choose of %s", arch, strings.Join(slices.Sorted(maps.Keys(levels)), ", "))
	}
	if a, ok := archive(pin.Etcd, arch); ok {
		return checkArchive(pin.Etcd, a, binaries, errs)
	}
	if pin.GoMod == "" && pin.Release != nil {
		return fmt.Errorf("the lock of etcd %s has neither modules nor an archive for %s; make the lock again", pin.Version, arch)
	}
	if err := checkToolchain(pin.Toolchain); err != nil {
		wrong("toolchain: %w", err)
	}
	for name, value := range pin.Variables {
		if !variableName.MatchString(name) || !variableValue.MatchString(value) {
			wrong("variables: %q is no linker variable, or %q no value for one", name, value)
		}
	}
	for name, value := range pin.Settings {
		ok := name == "GOFIPS140" && fipsVersion.MatchString(value)
		for _, l := range levels {
			ok = ok || l.setting == name && name != "" && l.form.MatchString(value)
		}
		if !ok {
			wrong("settings: %q is no setting, or %q no value for it", name, value)
		}
	}
	outputs := map[string]string{}
	for name, pkg := range pin.Packages {
		if !binaryName.MatchString(name) || module.CheckImportPath(pkg) != nil {
			wrong("packages: %q is no binary name, or %q no package", name, pkg)
		} else if other, ok := outputs[outputName(pkg)]; ok {
			wrong("packages: %s and %s are both called %s", other, pkg, outputName(pkg))
		}
		outputs[outputName(pkg)] = pkg
	}
	for _, name := range binaries {
		if _, ok := pin.Packages[name]; !ok {
			wrong("%s has no %q; there are %s", pin.name, name, strings.Join(slices.Sorted(maps.Keys(pin.Packages)), ", "))
		}
	}
	if mod, err := modfile.Parse("go.mod", []byte(pin.GoMod), nil); err != nil {
		wrong("goMod: %w", err)
	} else {
		errs = append(errs, checkEdits(pin.Edits, mod)...)
	}
	if err := checkSources(pin.sources); err != nil {
		errs = append(errs, err)
	}
	if len(errs) > 0 {
		return fmt.Errorf("the lock of %s can not be compiled: %w", pin.name, errors.Join(errs...))
	}
	return nil
}

// checkArchive is checkPin for an architecture that has an official release.
func checkArchive(pin lock.Etcd, a lock.Archive, binaries []string, errs []error) error {
	wrong := func(format string, args ...any) { errs = append(errs, fmt.Errorf(format, args...)) }
	if !fs.ValidPath(a.Path) || strings.ContainsAny(a.Path, "\\?#%\x00") {
		wrong("release: %q is no path below a release page", a.Path)
	}
	if !hexDigest.MatchString(a.SHA256) || a.Size <= 0 || a.Size > maxArchive {
		wrong("release: %s: %q and %d are no SHA-256 and no size", a.Path, a.SHA256, a.Size)
	}
	for name, path := range a.Binaries {
		if !binaryName.MatchString(name) || !fs.ValidPath(path) {
			wrong("release: %q is no binary name, or %q no path within an archive", name, path)
		}
	}
	for _, name := range binaries {
		if _, ok := a.Binaries[name]; !ok {
			wrong("%s has no %q; there are %s", a.Path, name, strings.Join(slices.Sorted(maps.Keys(a.Binaries)), ", "))
		}
	}
	if len(errs) > 0 {
		return fmt.Errorf("the lock of etcd %s can not be unpacked: %w", pin.Version, errors.Join(errs...))
	}
	return nil
}

// outputName is the file name that go build gives a program: the last element
// of its import path, or the one before a major version.
func outputName(pkg string) string {
	prefix, _, _ := module.SplitPathVersion(pkg)
	return prefix[strings.LastIndexByte(prefix, '/')+1:]
}
