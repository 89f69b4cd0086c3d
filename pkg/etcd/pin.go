package etcd

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
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
// control would only tell builders apart.
func flags() []string { return []string{"-trimpath", "-buildvcs=false", "-mod=readonly"} }

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
func key(pin lock.Etcd, arch, pkg string) string {
	b, err := json.Marshal(struct {
		Recipe                    int
		GoMod, GoSum, Toolchain   string
		Flags, Environment        []string
		LinkerFlags, Architecture string
		Package                   string
	}{recipeVersion, pin.GoMod, pin.GoSum, pin.Toolchain, flags(), target(pin, arch), linkerFlags(pin.Variables), arch, pkg})
	if err != nil {
		panic(err) // strings and numbers only
	}
	sum := sha256.Sum256(b)
	return hex.EncodeToString(sum[:])
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
func checkPin(pin lock.Etcd, arch string, binaries []string) error {
	var errs []error
	wrong := func(format string, args ...any) { errs = append(errs, fmt.Errorf(format, args...)) }
	if _, ok := levels[arch]; !ok {
		wrong("%q is not an architecture that etcd is built for; choose of %s", arch, strings.Join(slices.Sorted(maps.Keys(levels)), ", "))
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
			wrong("etcd %s has no %q; there are %s", pin.Version, name, strings.Join(slices.Sorted(maps.Keys(pin.Packages)), ", "))
		}
	}
	if mod, err := modfile.Parse("go.mod", []byte(pin.GoMod), nil); err != nil {
		wrong("goMod: %w", err)
	} else {
		for _, r := range mod.Replace {
			if r.New.Version == "" {
				wrong("goMod: %s is replaced by a directory of the machine that made the lock", r.Old.Path)
			}
		}
	}
	if len(errs) > 0 {
		return fmt.Errorf("the lock of etcd %s can not be compiled: %w", pin.Version, errors.Join(errs...))
	}
	return nil
}

// outputName is the file name that go build gives a program: the last element
// of its import path, or the one before a major version.
func outputName(pkg string) string {
	prefix, _, _ := module.SplitPathVersion(pkg)
	return prefix[strings.LastIndexByte(prefix, '/')+1:]
}
