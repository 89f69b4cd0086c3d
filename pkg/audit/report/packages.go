package report

import (
	"path"
	"slices"
	"strings"

	"github.com/etcdimg/etcdimg/pkg/audit"
)

// bundle is a package in all images that have it, whatever differs between
// them: its digests, where each can be had.
type bundle struct {
	kind     audit.PackageKind
	Kind     string // in words
	Name     string
	Version  string
	Licence  string
	Supplier string
	Source   string
	In       []string // names of binaries
	Archs    []string
	Every    bool // image has it
	Origins  []perImage
	Digests  []perImage
	Findings []string
}

// perImage is a text with the architectures that it is for; none for all that
// the package has.
type perImage struct {
	Text  string
	Archs []string
}

// bundles merges what is the same over the architectures.
func (p *page) bundles() []bundle {
	type key struct {
		kind                                     audit.PackageKind
		name, version, licence, supplier, source string
	}
	places := map[key]int{}
	var all []bundle
	for _, a := range p.Result.Packages {
		k := key{a.Kind, a.Name, a.Version, a.Licence, a.Supplier, a.Source}
		at, known := places[k]
		if !known {
			at = len(all)
			places[k] = at
			all = append(all, bundle{kind: a.Kind, Kind: kindInWords(a.Kind), Name: a.Name, Version: a.Version, Licence: a.Licence, Supplier: strings.TrimPrefix(a.Supplier, "Organization: "), Source: a.Source})
		}
		b := &all[at]
		for _, in := range a.In {
			b.In = add(b.In, path.Base(in))
		}
		for _, arch := range a.Archs {
			b.Archs = add(b.Archs, arch)
		}
		for _, id := range a.Findings {
			b.Findings = add(b.Findings, id)
		}
		if a.Origin != "" {
			b.Origins = addFor(b.Origins, a.Origin, a.Archs)
		}
		for _, d := range a.Digests {
			b.Digests = addFor(b.Digests, digest(d), a.Archs)
		}
	}
	for i := range all {
		b := &all[i]
		b.Every = p.everywhere(b.Archs)
		b.Origins, b.Digests = plain(b.Origins, b.Archs), plain(b.Digests, b.Archs)
	}
	return all
}

// Brief is what is shown of the origin before it is opened: a digest to know
// it by, or whose it is.
func (b bundle) Brief() string {
	switch {
	case len(b.Digests) > 0:
		return short(b.Digests[0].Text)
	case b.Supplier != "":
		return b.Supplier
	}
	return "origin"
}

func kindInWords(k audit.PackageKind) string {
	switch k {
	case audit.GoModule:
		return "Go module"
	case audit.Toolchain:
		return "Go itself"
	case audit.Debian:
		return "Debian"
	case audit.OtherKind:
		return "other"
	}
	return string(k)
}

func digest(d audit.Digest) string {
	if strings.HasPrefix(d.Value, d.Algorithm+":") {
		return d.Value
	}
	return strings.ToLower(d.Algorithm) + ":" + d.Value
}

func add(all []string, one string) []string {
	if slices.Contains(all, one) {
		return all
	}
	return append(all, one)
}

func addFor(all []perImage, text string, archs []string) []perImage {
	at := slices.IndexFunc(all, func(i perImage) bool { return i.Text == text })
	if at < 0 {
		at = len(all)
		all = append(all, perImage{Text: text})
	}
	for _, a := range archs {
		all[at].Archs = add(all[at].Archs, a)
	}
	return all
}

// plain leaves the architectures out where they are all that there are.
func plain(all []perImage, archs []string) []perImage {
	for i := range all {
		if len(all[i].Archs) == len(archs) {
			all[i].Archs = nil
		}
	}
	return all
}
