package main

import (
	"context"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/etcdimg/etcdimg/pkg/provenance"
)

// The statement about all binaries, and what tells how it is to be read.
const (
	provenanceFile = program + ".provenance.slsa.json"
	buildType      = "https://" + modulePath + "/blob/main/docs/release.md#build-v1"
)

// statement is an in-toto statement with SLSA's provenance v1.
type statement struct {
	Type          string                  `json:"_type"`
	Subject       []provenance.Descriptor `json:"subject"`
	PredicateType string                  `json:"predicateType"`
	Predicate     predicate               `json:"predicate"`
}

type predicate struct {
	BuildDefinition struct {
		BuildType            string                  `json:"buildType"`
		ExternalParameters   external                `json:"externalParameters"`
		InternalParameters   internal                `json:"internalParameters"`
		ResolvedDependencies []provenance.Descriptor `json:"resolvedDependencies"`
	} `json:"buildDefinition"`
	RunDetails provenance.RunDetails `json:"runDetails"`
}

// external is what was asked for.
type external struct {
	Package   string   `json:"package"`
	Version   string   `json:"version"`
	Platforms []string `json:"platforms"`
}

// internal is how the release was compiled.
type internal struct {
	Toolchain string   `json:"toolchain"`
	Command   []string `json:"command"`
	Settings  []string `json:"settings"`
}

// provenance tells what went into the binaries: the same inputs, the same words.
// Neither time nor machine are in it.
func (r *release) provenance(context.Context) error {
	s := statement{Type: provenance.StatementType, PredicateType: provenance.PredicateType}
	modules := map[string]provenance.Descriptor{}
	for _, b := range r.built {
		s.Subject = append(s.Subject, provenance.Descriptor{Name: b.name, Digest: map[string]string{"sha256": b.sha256}})
		for _, m := range b.info.Deps {
			d, err := moduleDescriptor(m.Path, m.Version, m.Sum)
			if err != nil {
				return err
			}
			modules[d.Name] = d
		}
	}
	own, err := moduleDescriptor(modulePath, r.version, r.sum)
	if err != nil {
		return err
	}
	definition := &s.Predicate.BuildDefinition
	definition.BuildType = buildType
	definition.ExternalParameters = external{command, r.version, r.platforms}
	definition.InternalParameters = internal{
		Toolchain: r.toolchain(),
		Command:   []string{"go", "install", "-trimpath", "-buildvcs=false", "-ldflags=-s -w", command + "@" + r.version},
		Settings:  []string{"CGO_ENABLED=0", "GOAMD64=v1", "GOARM64=v8.0", "GOPPC64=power8"},
	}
	definition.ResolvedDependencies = append(definition.ResolvedDependencies,
		provenance.Descriptor{Name: "source", URI: "git+https://" + modulePath, Digest: map[string]string{"gitCommit": r.commit}},
		own,
		provenance.Descriptor{Name: r.toolchain(), URI: "pkg:golang/stdlib@" + strings.TrimPrefix(r.toolchain(), "go")},
	)
	for _, name := range slices.Sorted(keys(modules)) {
		definition.ResolvedDependencies = append(definition.ResolvedDependencies, modules[name])
	}
	s.Predicate.RunDetails.Builder = provenance.Builder{ID: provenance.BuilderID + "/blob/main/hack/release"}
	_, err = writeJSON(filepath.Join(r.dir, provenanceFile), s)
	return err
}

func keys(m map[string]provenance.Descriptor) func(func(string) bool) {
	return func(yield func(string) bool) {
		for k := range m {
			if !yield(k) {
				return
			}
		}
	}
}

// moduleDescriptor names a module by the digest in its sum: in-toto's dirHash is
// what Go calls h1, in hex.
func moduleDescriptor(path, version, sum string) (provenance.Descriptor, error) {
	raw, err := base64.StdEncoding.DecodeString(strings.TrimPrefix(sum, "h1:"))
	if err != nil || len(raw) == 0 {
		return provenance.Descriptor{}, fmt.Errorf("%s %s has the sum %q", path, version, sum)
	}
	return provenance.Descriptor{
		Name: path + "@" + version, URI: "pkg:golang/" + path + "@" + strings.ReplaceAll(version, "+", "%2B"),
		Digest: map[string]string{"dirHash": hex.EncodeToString(raw)},
	}, nil
}

// sumsFile lists the sums of everything that is not made of it.
const sumsFile = "SHA256SUMS"

// sums writes the list that sha256sum -c takes.
func (r *release) sums(context.Context) error {
	files, err := os.ReadDir(r.dir)
	if err != nil {
		return err
	}
	var b strings.Builder
	for _, f := range files {
		sum, _, err := digest(filepath.Join(r.dir, f.Name()))
		if err != nil {
			return err
		}
		fmt.Fprintf(&b, "%s  %s\n", sum, f.Name())
	}
	return os.WriteFile(filepath.Join(r.dir, sumsFile), []byte(b.String()), 0o644)
}

// checkSums holds a release that is there against its list.
func (r *release) checkSums() error {
	list, err := os.ReadFile(filepath.Join(r.dir, sumsFile))
	if err != nil {
		return fmt.Errorf("there is no release in %s: %w", r.dir, err)
	}
	for line := range strings.Lines(string(list)) {
		want, name, ok := strings.Cut(strings.TrimSuffix(line, "\n"), "  ")
		if !ok || name != filepath.Base(name) {
			return fmt.Errorf("%s: %q is no sum of a file", sumsFile, line)
		}
		got, _, err := digest(filepath.Join(r.dir, name))
		if err != nil {
			return err
		}
		if got != want {
			return fmt.Errorf("%s has the digest %s, and in %s it has %s", name, got, sumsFile, want)
		}
	}
	return nil
}
