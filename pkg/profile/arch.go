package profile

import (
	"fmt"
	"runtime"
	"strings"
)

// archNames lists the architectures in their order, each with what uname,
// Debian and container tools call it.
var archNames = []struct {
	arch    Arch
	aliases []string
}{
	{"amd64", []string{"x86_64"}},
	{"arm64", []string{"aarch64"}},
	{"ppc64le", []string{"ppc64el"}},
	{"s390x", nil},
}

// Archs are the architectures that images can be built for, in their order.
func Archs() []Arch {
	all := make([]Arch, len(archNames))
	for i, a := range archNames {
		all[i] = a.arch
	}
	return all
}

// ParseArch reads an architecture as a command line names it: amd64, arm64,
// ppc64le, s390x, one of their aliases (x86_64, aarch64, ppc64el), any of these
// after linux/ as in an OCI platform, or host for the machine that etcdimg runs
// on.
func ParseArch(s string) (Arch, error) {
	if s == "host" {
		arch, ok := lookupArch(runtime.GOARCH)
		if !ok {
			return "", fmt.Errorf("host architecture %s is not supported: name one of %s", runtime.GOARCH, join(Archs()))
		}
		return arch, nil
	}
	arch, ok := lookupArch(strings.TrimPrefix(s, "linux/"))
	if !ok {
		return "", fmt.Errorf("unknown architecture %q: name one of %s, or host", s, join(Archs()))
	}
	return arch, nil
}

// lookupArch knows names and aliases, but not host: a profile means the same
// on every machine.
func lookupArch(s string) (Arch, bool) {
	for _, a := range archNames {
		if s == string(a.arch) {
			return a.arch, true
		}
		for _, alias := range a.aliases {
			if s == alias {
				return a.arch, true
			}
		}
	}
	return "", false
}

// archSpellings are all names that a profile may use.
func archSpellings() []string {
	var all []string
	for _, a := range archNames {
		all = append(append(all, string(a.arch)), a.aliases...)
	}
	return all
}

func join[T ~string](items []T) string {
	words := make([]string, len(items))
	for i, item := range items {
		words[i] = string(item)
	}
	return strings.Join(words, ", ")
}
