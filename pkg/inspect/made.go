package inspect

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"github.com/etcdimg/etcdimg/pkg/lock"
	"github.com/etcdimg/etcdimg/pkg/provenance"
)

// Made is what an image was made of, as its provenance says. The provenance is
// read, not verified.
type Made struct {
	Builder       map[string]string `json:"builder"` // etcdimg → its version
	FormatVersion int               `json:"formatVersion"`
	Etcd          []Etcd            `json:"etcd"`
	Packages      []Package         `json:"packages,omitempty"` // by name, each version once
	Skipped       []string          `json:"skippedSuites,omitempty"`
	// Bumps are the Go modules that the profile raises above what etcd pins, by
	// path, with the version that they were raised to.
	Bumps map[string]string `json:"bumps,omitempty"`
}

// Etcd is one version of etcd.
type Etcd struct {
	Version   string   `json:"version"`
	Toolchain string   `json:"toolchain,omitempty"` // that compiled it; empty for a release
	Modules   int      `json:"modules,omitempty"`   // Go modules that it was compiled from
	Release   []string `json:"release,omitempty"`   // architectures whose binaries are the official release's
	Edits     []Edit   `json:"edits,omitempty"`
}

// Edit is a module that was not compiled as it was published.
type Edit struct {
	Module  string         `json:"module"`
	Version string         `json:"version"`
	Reason  string         `json:"reason"`
	Files   []EditedDigest `json:"files"`
}

// EditedDigest is a file of an edited module, by the SHA-256 of what it was and
// became.
type EditedDigest struct {
	Path   string `json:"path"`
	Before string `json:"before,omitempty"` // empty for a file that was not there
	After  string `json:"after"`
}

// Package is a Debian package.
type Package struct {
	Name    string   `json:"name"`
	Version string   `json:"version"`
	Archs   []string `json:"archs"` // of the images that have it
}

// made reads the provenance of a digest; nil where there is none by etcdimg.
func made(ctx context.Context, s Source, digest v1.Hash) (*Made, error) {
	said, err := Statements(ctx, s, digest)
	if err != nil {
		return nil, err
	}
	for _, statement := range said {
		if statement.PredicateType != provenance.PredicateType {
			continue
		}
		p, err := provenance.Read(statement.Content)
		if errors.Is(err, provenance.ErrForeign) {
			continue
		}
		if err != nil {
			return nil, err
		}
		if l := p.Predicate.BuildDefinition.InternalParameters.Lock; l != nil && p.About(digest) {
			return madeOf(p, l), nil
		}
	}
	return nil, nil
}

func madeOf(p *provenance.Statement, l *lock.Lock) *Made {
	m := &Made{Builder: p.Predicate.RunDetails.Builder.Version, FormatVersion: l.FormatVersion}
	for _, e := range l.Etcd {
		made := Etcd{Version: e.Version, Toolchain: e.Toolchain, Modules: countModules(e.GoSum)}
		if e.Release != nil {
			for arch := range e.Release.Archives {
				made.Release = append(made.Release, arch)
			}
			slices.Sort(made.Release)
		}
		for _, edit := range e.Edits {
			told := Edit{Module: edit.Module, Version: edit.Version, Reason: edit.Reason}
			for _, f := range edit.Files {
				told.Files = append(told.Files, EditedDigest{f.Path, f.Before, f.After})
			}
			made.Edits = append(made.Edits, told)
		}
		m.Etcd = append(m.Etcd, made)
	}
	for _, set := range l.Debian {
		for _, pkg := range set.Packages {
			i := slices.IndexFunc(m.Packages, func(p Package) bool { return p.Name == pkg.Name && p.Version == pkg.Version })
			if i < 0 {
				i, m.Packages = len(m.Packages), append(m.Packages, Package{Name: pkg.Name, Version: pkg.Version})
			}
			m.Packages[i].Archs = append(m.Packages[i].Archs, set.Arch)
		}
	}
	slices.SortFunc(m.Packages, func(a, b Package) int {
		return strings.Compare(a.Name+"\x00"+a.Version, b.Name+"\x00"+b.Version)
	})
	for _, s := range l.Suites {
		if s.Skipped != "" {
			m.Skipped = append(m.Skipped, fmt.Sprintf("%s for %s", s.Suite, s.Arch))
		}
	}
	var asked struct {
		Etcd struct {
			Bump map[string]string `json:"bump"`
		} `json:"etcd"`
	}
	if json.Unmarshal(p.Predicate.BuildDefinition.ExternalParameters.Profile, &asked) == nil {
		m.Bumps = asked.Etcd.Bump
	}
	return m
}

func countModules(goSum string) int {
	n := 0
	for line := range strings.Lines(goSum) {
		if f := strings.Fields(line); len(f) == 3 && !strings.HasSuffix(f[1], "/go.mod") {
			n++
		}
	}
	return n
}
