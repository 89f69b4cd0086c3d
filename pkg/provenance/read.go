package provenance

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"github.com/etcdimg/etcdimg/pkg/lock"
	"github.com/etcdimg/etcdimg/pkg/profile"
)

// ErrForeign says that a statement is no provenance that etcdimg wrote.
var ErrForeign = errors.New("not a provenance by etcdimg")

// TamperedError says that a provenance contradicts itself or its subject.
type TamperedError struct {
	What string // which part, and how
}

func (e *TamperedError) Error() string {
	return "the provenance was changed: " + e.What
}

// MissingError says that a provenance lacks an input of its build.
type MissingError struct {
	What string
}

func (e *MissingError) Error() string {
	return "the provenance's lock lacks an input: " + e.What
}

// Read reads a statement that Describer made. One of another kind is
// ErrForeign.
func Read(content []byte) (*Statement, error) {
	var head struct {
		Type          string `json:"_type"`
		PredicateType string `json:"predicateType"`
		Predicate     struct {
			BuildDefinition struct {
				BuildType string `json:"buildType"`
			} `json:"buildDefinition"`
		} `json:"predicate"`
	}
	if err := json.Unmarshal(content, &head); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrForeign, err)
	}
	for _, f := range []struct{ what, got, want string }{
		{"_type", head.Type, StatementType},
		{"predicateType", head.PredicateType, PredicateType},
		{"buildType", head.Predicate.BuildDefinition.BuildType, BuildType},
	} {
		// Cosign writes statements of version 0.1, which differ in nothing else.
		if f.got != f.want && (f.what != "_type" || f.got != "https://in-toto.io/Statement/v0.1") {
			return nil, fmt.Errorf("%w: %s is %q, want %q", ErrForeign, f.what, f.got, f.want)
		}
	}
	var s Statement
	if err := json.Unmarshal(content, &s); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrForeign, err)
	}
	return &s, nil
}

// Wrap makes the statement about a digest that has a predicate: an attestation's,
// which was verified without what was around it.
func Wrap(digest v1.Hash, predicate json.RawMessage) ([]byte, error) {
	return json.Marshal(struct {
		Type          string          `json:"_type"`
		Subject       []Descriptor    `json:"subject"`
		PredicateType string          `json:"predicateType"`
		Predicate     json.RawMessage `json:"predicate"`
	}{StatementType, []Descriptor{{Digest: map[string]string{digest.Algorithm: digest.Hex}}}, PredicateType, predicate})
}

// Inputs are what a build takes.
type Inputs struct {
	Profile *profile.Profile
	Lock    *lock.Lock
	Archs   []profile.Arch
	Epoch   *time.Time
}

// Finder finds a local file that a provenance names by digest alone.
type Finder func(f lock.LocalFile) ([]byte, error)

// Inputs gives what the statement's subject was built from, after it was held
// against itself: the lock against the profile, the local files and the
// resolved dependencies against the lock. Without a finder (nil) large local
// files are missing.
func (s *Statement) Inputs(find Finder) (*Inputs, error) {
	return s.inputs(func(in *Inputs, have map[string][]byte) (map[string][]byte, error) { return in.local(have, find) })
}

func (s *Statement) inputs(local func(in *Inputs, have map[string][]byte) (map[string][]byte, error)) (*Inputs, error) {
	def := s.Predicate.BuildDefinition
	l := def.InternalParameters.Lock
	if l == nil {
		return nil, &MissingError{"it has none at all"}
	}
	files := maps.Clone(def.InternalParameters.Files)
	const name = "profile"
	p, err := profile.Read(name, func(file string) ([]byte, error) {
		if file == name {
			return def.ExternalParameters.Profile, nil
		}
		for source, b := range files {
			if file == new(profile.Profile).Local(source) {
				return b, nil
			}
		}
		return nil, &MissingError{"the local file " + file}
	})
	if err != nil {
		return nil, fmt.Errorf("reading the profile in the provenance: %w", err)
	}
	if p.Digest() != l.Profile {
		return nil, &TamperedError{fmt.Sprintf("its profile has the digest %s, and its lock is for %s", p.Digest(), l.Profile)}
	}
	pinned := *l
	pinned.Config = def.ExternalParameters.Profile
	in := &Inputs{Profile: p, Lock: &pinned}
	for _, name := range def.ExternalParameters.Architectures {
		arch, err := profile.ParseArch(name)
		if err != nil {
			return nil, &TamperedError{fmt.Sprintf("architecture %q", name)}
		}
		in.Archs = append(in.Archs, arch)
	}
	if len(in.Archs) == 0 {
		return nil, &TamperedError{"it is for no architecture"}
	}
	if files, err = local(in, files); err != nil {
		return nil, err
	}
	if err := s.checkDependencies(); err != nil {
		return nil, err
	}
	if err := in.complete(); err != nil {
		return nil, err
	}
	if e := def.ExternalParameters.SourceDateEpoch; e != nil {
		at := time.Unix(*e, 0).UTC()
		in.Epoch = &at
	}
	return in, nil
}

// local are the local files that the profile names, as the lock pins them: those
// that the provenance has, and those that are found.
func (in *Inputs) local(have map[string][]byte, find Finder) (map[string][]byte, error) {
	files := map[string][]byte{}
	for _, source := range in.Profile.Sources(in.Archs) {
		i := slices.IndexFunc(in.Lock.Files, func(f lock.LocalFile) bool { return f.Path == source })
		b, carried := have[source]
		switch {
		case i < 0 && carried:
			return nil, &TamperedError{fmt.Sprintf("its lock does not pin the local file %s", source)}
		case i < 0 || !carried && find == nil:
			return nil, &MissingError{"the local file " + source}
		case !carried:
			var err error
			if b, err = find(in.Lock.Files[i]); err != nil {
				return nil, fmt.Errorf("%w: %w", &MissingError{"the local file " + source}, err)
			}
		}
		if sum := sha256.Sum256(b); in.Lock.Files[i].SHA256 != hex.EncodeToString(sum[:]) {
			if !carried {
				return nil, fmt.Errorf("the local file %s that was found is not the one that the lock pins: want sha256:%s", source, in.Lock.Files[i].SHA256)
			}
			return nil, &TamperedError{fmt.Sprintf("the local file %s is not the one that its lock pins", source)}
		}
		files[source] = b
	}
	return files, nil
}

// complete tells of inputs that the profile asks for and the lock lacks.
func (in *Inputs) complete() error {
	for _, version := range in.Profile.Etcd.Versions {
		i := slices.IndexFunc(in.Lock.Etcd, func(e lock.Etcd) bool { return e.Version == version })
		if i < 0 {
			return &MissingError{"etcd " + version}
		}
		for _, arch := range in.Archs {
			if e := in.Lock.Etcd[i]; (e.GoMod == "" || e.GoSum == "" || e.Toolchain == "") && !released(e, string(arch)) {
				return &MissingError{fmt.Sprintf("what compiles etcd %s for %s", version, arch)}
			}
		}
	}
	if m := in.Lock.Migrate; in.Profile.Migrate && (m == nil || m.Sources == "" || m.GoMod == "" || m.Toolchain == "") {
		return &MissingError{"what compiles migrate"}
	}
	if len(in.Profile.Contents.Packages) == 0 {
		return nil
	}
	for _, arch := range in.Archs {
		i := slices.IndexFunc(in.Lock.Debian, func(set lock.Debian) bool { return set.Arch == string(arch) })
		if i < 0 {
			return &MissingError{"the packages for " + string(arch)}
		}
	}
	return nil
}

func released(e lock.Etcd, arch string) bool {
	if e.Release == nil {
		return false
	}
	_, ok := e.Release.Archives[arch]
	return ok
}

// checkDependencies holds the list that people and scanners read against what
// is built from.
func (s *Statement) checkDependencies() error {
	def := s.Predicate.BuildDefinition
	want, err := dependencies(Tool{}, def.InternalParameters.Lock)
	if err != nil {
		return &TamperedError{err.Error()}
	}
	have := map[string]Descriptor{}
	for _, d := range def.ResolvedDependencies {
		have[d.Name] = d
	}
	// The first is etcdimg itself, which is not this one.
	for _, w := range want[1:] {
		h, ok := have[w.Name]
		if !ok {
			return &TamperedError{fmt.Sprintf("its lock has %s, its resolved dependencies have not", w.Name)}
		}
		for algorithm, digest := range w.Digest {
			if h.Digest[algorithm] != digest {
				return &TamperedError{fmt.Sprintf("%s has the digest %s in its lock and %s in its resolved dependencies", w.Name, digest, h.Digest[algorithm])}
			}
		}
		delete(have, w.Name)
	}
	delete(have, want[0].Name)
	if len(have) > 0 {
		return &MissingError{slices.Sorted(maps.Keys(have))[0] + ", which its resolved dependencies have"}
	}
	return nil
}

// About tells whether the statement is about a digest.
func (s *Statement) About(digest v1.Hash) bool {
	return slices.ContainsFunc(s.Subject, func(d Descriptor) bool { return d.Digest[digest.Algorithm] == digest.Hex })
}
