package provenance

import (
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/etcdimg/etcdimg/pkg/lock"
)

// Pinned is Inputs for those who do not build: it needs no local file that the
// statement names by digest alone. Reading one from the profile gives bytes that
// tell nothing but that they are too many to be carried.
func (s *Statement) Pinned() (*Inputs, error) {
	return s.inputs(func(in *Inputs, have map[string][]byte) (map[string][]byte, error) {
		carried := map[string]bool{}
		for source := range have {
			carried[source] = true
		}
		files := map[string][]byte{}
		for _, source := range in.Profile.Sources(in.Archs) {
			i := slices.IndexFunc(in.Lock.Files, func(f lock.LocalFile) bool { return f.Path == source })
			b := have[source]
			switch {
			case i < 0:
				return nil, &MissingError{"the local file " + source}
			case !carried[source]:
				b = make([]byte, maxCarried+1)
			case in.Lock.Files[i].SHA256 != lock.Sum(b):
				return nil, &TamperedError{fmt.Sprintf("the local file %s is not the one that its lock pins", source)}
			}
			files[source] = b
		}
		return files, nil
	})
}

// common are the parts of a statement that are the same in those of all images
// of one build, by what people call them. Of what only some architectures have
// there are keys in their statements only.
func (s *Statement) common() map[string]any {
	def := s.Predicate.BuildDefinition
	l := def.InternalParameters.Lock
	parts := map[string]any{
		"the profile":           def.ExternalParameters.Profile,
		"SOURCE_DATE_EPOCH":     def.ExternalParameters.SourceDateEpoch,
		"the version of a lock": map[string]int{"schemaVersion": l.SchemaVersion, "formatVersion": l.FormatVersion},
		"migrate":               l.Migrate,
	}
	var versions []string
	for _, e := range l.Etcd {
		versions = append(versions, e.Version)
		name := "etcd " + e.Version
		parts[name] = lock.Etcd{Version: e.Version, Line: e.Line, Date: e.Date}
		if e.Release != nil {
			parts[name+", released"] = lock.Release{Checksums: e.Release.Checksums, Signature: e.Release.Signature}
		}
		if e.Release = nil; e.GoMod != "" {
			parts[name+", compiled"] = e
		}
	}
	parts["the versions of etcd"] = versions
	for _, x := range l.Suites {
		components, of := x.Components, "each architecture"
		if x.Arch == "all" {
			of = "all architectures"
		}
		parts["the suite "+x.Archive+" "+x.Suite] = map[string]any{"components": components, "date": x.Date, "sha256": x.SHA256, "signedBy": x.SignedBy, "of": of}
	}
	for _, f := range l.Files {
		parts["the local file "+f.Path] = f
	}
	return parts
}

// Differences tells in what the builds that two statements are about were not
// one: everything that images for two architectures, built from one lock by one
// etcdimg, have in common. It is empty where they may have been one.
func Differences(a, b *Statement) []string {
	var all []string
	if ta, tb := a.tool(), b.tool(); ta != tb {
		all = append(all, fmt.Sprintf("etcdimg: %s and %s", ta, tb))
	}
	ours, theirs := a.common(), b.common()
	for _, name := range slices.Sorted(maps.Keys(ours)) {
		other, ok := theirs[name]
		if !ok {
			continue
		}
		old, errA := canonical(ours[name])
		fresh, errB := canonical(other)
		if errA != nil || errB != nil || sameJSON(old, fresh) {
			continue
		}
		all = append(all, name+details(old, fresh))
	}
	return all
}

// details are the values that differ, where they are short.
func details(old, fresh []byte) string {
	differ, err := lock.Differences(old, fresh)
	if err != nil || len(differ) == 0 {
		return ""
	}
	var short []string
	for _, d := range differ {
		if len(d.Old)+len(d.New) > 160 || strings.ContainsAny(d.Old+d.New, "\n") {
			short = append(short, d.Key)
			continue
		}
		short = append(short, fmt.Sprintf("%s %s and %s", d.Key, cmp.Or(d.Old, "(none)"), cmp.Or(d.New, "(none)")))
	}
	return ": " + strings.Join(short, "; ")
}

func sameJSON(a, b []byte) bool {
	var x, y bytes.Buffer
	return json.Compact(&x, a) == nil && json.Compact(&y, b) == nil && bytes.Equal(x.Bytes(), y.Bytes())
}

// BuiltBy tells whether an etcdimg made the statement, and else which one did.
func (s *Statement) BuiltBy(t Tool) (string, bool) {
	d, err := t.descriptor()
	if err != nil {
		return err.Error(), false
	}
	want := describeTool(d)
	return s.tool(), s.tool() == want
}

// tool is the etcdimg that built, for people and for comparison.
func (s *Statement) tool() string {
	for _, d := range s.Predicate.BuildDefinition.ResolvedDependencies {
		if d.Name == toolName {
			return describeTool(d)
		}
	}
	return "unknown"
}

func describeTool(d Descriptor) string {
	version := "(devel)"
	if _, v, ok := strings.Cut(d.URI, "@"); ok {
		version = v
	}
	for _, algorithm := range slices.Sorted(maps.Keys(d.Digest)) {
		version += " " + algorithm + ":" + d.Digest[algorithm]
	}
	if len(d.Annotations) > 0 {
		version += ", modified"
	}
	return version
}

// Whole gives what images, each for another architecture, were built from
// together: the lock of which every statement has the part of its own. They are
// given in the order that the architectures have in the profile. It fails for
// statements that have Differences.
func Whole(parts []*Statement) (*Inputs, error) {
	if len(parts) == 0 {
		return nil, errors.New("no provenance to put together")
	}
	in, err := parts[0].Pinned()
	if err != nil {
		return nil, err
	}
	whole := *parts[0]
	def := &whole.Predicate.BuildDefinition
	merged := *def.InternalParameters.Lock
	merged.Etcd = slices.Clone(merged.Etcd)
	merged.Files, merged.Suites, merged.Debian = nil, nil, nil
	def.ExternalParameters.Architectures = nil
	def.InternalParameters.Lock, def.InternalParameters.Files = &merged, map[string][]byte{}
	for _, p := range parts {
		if differ := Differences(parts[0], p); len(differ) > 0 {
			return nil, fmt.Errorf("they were not built from one lock: %s", strings.Join(differ, "; "))
		}
		d := p.Predicate.BuildDefinition
		def.ExternalParameters.Architectures = append(def.ExternalParameters.Architectures, d.ExternalParameters.Architectures...)
		maps.Copy(def.InternalParameters.Files, d.InternalParameters.Files)
		add(&merged, d.InternalParameters.Lock)
	}
	slices.SortFunc(merged.Files, func(a, b lock.LocalFile) int { return strings.Compare(a.Path, b.Path) })
	slices.SortFunc(merged.Debian, func(a, b lock.Debian) int { return strings.Compare(a.Arch, b.Arch) })
	sortSuites(merged.Suites, in.Profile.Contents.Repositories)
	// It has to be what each of them has a part of.
	for _, p := range parts {
		d := p.Predicate.BuildDefinition
		want, err := canonical(d.InternalParameters.Lock)
		if err != nil {
			return nil, err
		}
		part := of(&merged, d.ExternalParameters.Architectures)
		part.Files = ofSources(merged.Files, d.InternalParameters.Lock.Files)
		if got, err := canonical(part); err != nil || !sameJSON(got, want) {
			return nil, fmt.Errorf("the lock for %v is no part of the lock of all", d.ExternalParameters.Architectures)
		}
	}
	list, err := dependencies(Tool{}, &merged)
	if err != nil {
		return nil, err
	}
	def.ResolvedDependencies = list
	return whole.Pinned()
}

func ofSources(all, some []lock.LocalFile) []lock.LocalFile {
	return slices.DeleteFunc(slices.Clone(all), func(f lock.LocalFile) bool {
		return !slices.ContainsFunc(some, func(s lock.LocalFile) bool { return s.Path == f.Path })
	})
}

// add adds to a lock what another one has for another architecture.
func add(l, more *lock.Lock) {
	for _, f := range more.Files {
		if !slices.Contains(l.Files, f) {
			l.Files = append(l.Files, f)
		}
	}
	for _, x := range more.Suites {
		if !slices.ContainsFunc(l.Suites, func(s lock.Suite) bool { return s.Archive == x.Archive && s.Suite == x.Suite && s.Arch == x.Arch }) {
			l.Suites = append(l.Suites, x)
		}
	}
	l.Debian = append(l.Debian, more.Debian...)
	for i, e := range more.Etcd {
		if i >= len(l.Etcd) {
			continue
		}
		have := &l.Etcd[i]
		release := have.Release
		if e.Release != nil {
			archives := maps.Clone(e.Release.Archives)
			if release != nil {
				maps.Copy(archives, release.Archives)
			}
			both := *e.Release
			both.Archives, release = archives, &both
		}
		if have.GoMod == "" {
			*have = e
		}
		have.Release = release
	}
}

// sortSuites has them in the order of a lock: by repository as the profile has
// them (ARCHIVE SUITE COMPONENT…), then by architecture.
func sortSuites(suites []lock.Suite, repositories []string) {
	order := map[string]int{}
	for i, line := range repositories {
		if f := strings.Fields(line); len(f) > 1 {
			order[f[0]+" "+f[1]] = i
		}
	}
	slices.SortStableFunc(suites, func(a, b lock.Suite) int {
		return cmp.Or(cmp.Compare(order[a.Archive+" "+a.Suite], order[b.Archive+" "+b.Suite]), cmp.Compare(a.Arch, b.Arch))
	})
}

// LockDifferences tells in what a lock is not the one that images were built
// from: an empty list says that it is, as far as the images' architectures go.
func LockDifferences(l *lock.Lock, in *Inputs) ([]string, error) {
	var archs []string
	for _, arch := range in.Archs {
		archs = append(archs, string(arch))
	}
	part := of(l, archs)
	part.Files = ofSources(l.Files, in.Lock.Files)
	built := *in.Lock
	built.Config = part.Config
	want, err := canonical(part)
	if err != nil {
		return nil, err
	}
	got, err := canonical(built)
	if err != nil {
		return nil, err
	}
	differ, err := lock.Differences(want, got)
	if err != nil {
		return nil, err
	}
	var all []string
	for _, d := range differ {
		all = append(all, d.String())
	}
	return all, nil
}
