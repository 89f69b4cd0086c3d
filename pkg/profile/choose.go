package profile

import (
	"maps"
	"slices"
	"strconv"
	"strings"
)

// ChooseEtcd makes a version the profile's default etcd in place of those that
// it has: of several, the versions of older lines stay behind it. A program
// that the version's line does not have is left out. The error is Errors, and
// names origin in place of a file and line: the flag that the version came
// from.
func (p *Profile) ChooseEtcd(version, origin string) error {
	const key = "etcd.versions"
	from := position{src: &source{name: origin}}
	message, remedy := valueRule{format: "version"}.check(version)
	if len(p.Etcd.Versions) == 0 && message == "" {
		message, remedy = "the profile has no etcd to choose a version of", "choose another profile, or add "+key
	}
	if message != "" {
		return Errors{{File: origin, Key: key, Message: message, Remedy: remedy}}
	}
	maps.DeleteFunc(p.origins, func(k string, _ position) bool { return within(k, key) })
	if p.origins != nil {
		p.origins[key] = from
	}
	parts := strings.SplitN(version, ".", 3)
	major, _ := strconv.Atoi(parts[0])
	minor, _ := strconv.Atoi(parts[1])
	older := slices.DeleteFunc(slices.Clone(p.Etcd.Versions), func(v string) bool { return !olderThan(v, major, minor) })
	if len(p.Etcd.Versions) == 1 {
		older = nil
	}
	p.Etcd.Versions = append([]string{version}, older...)
	if olderThan(version, etcdutlMajor, etcdutlMinor) {
		p.Etcd.Binaries = slices.DeleteFunc(slices.Clone(p.Etcd.Binaries), func(b string) bool { return b == "etcdutl" })
	}
	return p.Validate()
}
