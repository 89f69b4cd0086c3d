package provenance

import (
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"maps"
	"net/url"
	"slices"
	"strings"

	"github.com/etcdimg/etcdimg/pkg/debian"
	"github.com/etcdimg/etcdimg/pkg/etcd"
	"github.com/etcdimg/etcdimg/pkg/lock"
)

// dependencies are all inputs of a build, each once: etcdimg itself, then kind
// by kind in the order of the lock.
func dependencies(tool Tool, l *lock.Lock) ([]Descriptor, error) {
	var all []Descriptor
	seen := map[string]bool{}
	add := func(ds ...Descriptor) {
		for _, d := range ds {
			if key := d.Name + "\n" + d.URI; !seen[key] {
				seen[key] = true
				all = append(all, d)
			}
		}
	}
	itself, err := tool.descriptor()
	if err != nil {
		return nil, err
	}
	add(itself)
	for _, kind := range []func(lock.Etcd) ([]Descriptor, error){toolchain, modules, edits, release} {
		for _, e := range l.Etcd {
			ds, err := kind(e)
			if err != nil {
				return nil, fmt.Errorf("etcd %s: %w", e.Version, err)
			}
			add(ds...)
		}
	}
	if l.Migrate != nil {
		ds, err := migrate(*l.Migrate)
		if err != nil {
			return nil, fmt.Errorf("migrate: %w", err)
		}
		add(ds...)
	}
	for _, s := range l.Suites {
		add(suite(s)...)
	}
	for _, set := range l.Debian {
		for _, p := range set.Packages {
			add(debianPackage(p))
		}
	}
	for _, f := range l.Files {
		add(Descriptor{Name: "file " + f.Path, Digest: map[string]string{"sha256": f.SHA256}})
	}
	return all, nil
}

// migrate is compiled as etcd is, from sources that travel in etcdimg.
func migrate(m lock.Migrate) ([]Descriptor, error) {
	asEtcd := lock.Etcd{Toolchain: m.Toolchain, GoSum: m.GoSum}
	all, err := toolchain(asEtcd)
	if err != nil {
		return nil, err
	}
	imported, err := modules(asEtcd)
	if err != nil {
		return nil, err
	}
	return append(append(all, imported...), Descriptor{
		Name: "sources of migrate", URI: "pkg:golang/" + toolModule + "#migrate",
		Digest: map[string]string{"sha256": strings.TrimPrefix(m.Sources, "sha256:")},
	}), nil
}

// The name of etcdimg itself among the dependencies, and its module.
const (
	toolName   = "etcdimg"
	toolModule = "github.com/etcdimg/etcdimg"
)

func (t Tool) descriptor() (Descriptor, error) {
	d := Descriptor{Name: toolName, URI: "pkg:golang/" + toolModule, Digest: map[string]string{}}
	if t.Version != "" && t.Version != "(devel)" {
		d.URI = moduleURI(toolModule, t.Version)
	}
	if t.Sum != "" {
		digest, err := dirHash(t.Sum)
		if err != nil {
			return d, err
		}
		d.Digest["dirHash"] = digest
	}
	if t.Commit != "" {
		d.Digest["gitCommit"] = t.Commit
	}
	if t.Modified {
		d.Annotations = map[string]any{"modified": true}
	}
	return d, nil
}

// toolchain has no digest: the same compiler is another module on every kind
// of machine, each of which the checksum database vouches for by its name.
func toolchain(e lock.Etcd) ([]Descriptor, error) {
	if e.Toolchain == "" {
		return nil, nil
	}
	return []Descriptor{{
		Name: e.Toolchain, URI: "https://go.dev/dl/" + e.Toolchain + ".src.tar.gz",
		Annotations: map[string]any{"module": "golang.org/toolchain@v0.0.1-" + e.Toolchain, "verifiedBy": "the Go checksum database"},
	}}, nil
}

// modules are those whose content the wrapper's go.sum has, in its order. It
// has the checksums of more go.mod files, which only chose versions.
func modules(e lock.Etcd) ([]Descriptor, error) {
	var all []Descriptor
	n := 0
	for line := range strings.Lines(e.GoSum) {
		n++
		f := strings.Fields(line)
		if len(f) == 0 {
			continue
		}
		if len(f) != 3 {
			return nil, fmt.Errorf("go.sum:%d: want a module, a version and a checksum", n)
		}
		if strings.HasSuffix(f[1], "/go.mod") {
			continue
		}
		digest, err := dirHash(f[2])
		if err != nil {
			return nil, fmt.Errorf("go.sum:%d: %w", n, err)
		}
		all = append(all, Descriptor{
			Name: f[0] + "@" + f[1], URI: moduleURI(f[0], f[1]), Digest: map[string]string{"dirHash": digest},
			Annotations: map[string]any{"h1": f[2]},
		})
	}
	return all, nil
}

// dirHash turns the form of a module's checksum that Go has into in-toto's.
func dirHash(sum string) (string, error) {
	encoded, ok := strings.CutPrefix(sum, "h1:")
	b, err := base64.StdEncoding.DecodeString(encoded)
	if !ok || err != nil || len(b) != sha256.Size {
		return "", fmt.Errorf("%q is no checksum of a module: want h1: and 44 characters", sum)
	}
	return hex.EncodeToString(b), nil
}

// moduleURI is a module's package URL (purl-spec, type golang).
func moduleURI(path, version string) string {
	return "pkg:golang/" + path + "@" + strings.ReplaceAll(url.PathEscape(version), "+", "%2B")
}

// edits are the changes to published modules. What they change is in the lock.
func edits(e lock.Etcd) ([]Descriptor, error) {
	var all []Descriptor
	for _, edit := range e.Edits {
		raw, err := canonical(edit)
		if err != nil {
			return nil, err
		}
		sum := sha256.Sum256(raw)
		var files []map[string]string
		for _, f := range edit.Files {
			file := map[string]string{"path": f.Path, "after": f.After}
			if f.Before != "" {
				file["before"] = f.Before
			}
			files = append(files, file)
		}
		all = append(all, Descriptor{
			Name:        "edit of " + edit.Module + "@" + edit.Version,
			Digest:      map[string]string{"sha256": hex.EncodeToString(sum[:])},
			Annotations: map[string]any{"reason": edit.Reason, "files": files},
		})
	}
	return all, nil
}

func canonical(v any) ([]byte, error) {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	err := e.Encode(v)
	return bytes.TrimSuffix(b.Bytes(), []byte("\n")), err
}

func release(e lock.Etcd) ([]Descriptor, error) {
	if e.Release == nil {
		return nil, nil
	}
	file := func(f lock.File) Descriptor {
		return Descriptor{Name: f.Path, URI: etcd.DefaultReleases + "/" + f.Path, Digest: map[string]string{"sha256": f.SHA256}}
	}
	sums := file(e.Release.Checksums)
	sums.Annotations = map[string]any{"signature": e.Release.Signature}
	all := []Descriptor{sums}
	for _, arch := range slices.Sorted(maps.Keys(e.Release.Archives)) {
		all = append(all, file(e.Release.Archives[arch].File))
	}
	return all, nil
}

func suite(s lock.Suite) []Descriptor {
	if s.Skipped != "" {
		return nil
	}
	return []Descriptor{{
		Name:        s.Archive + " " + s.Suite + " " + s.Arch,
		URI:         archiveURI(s.Archive, debian.SnapshotOf(s.Date)) + "/dists/" + s.Suite + "/InRelease",
		Digest:      map[string]string{"sha256": s.SHA256},
		Annotations: map[string]any{"date": s.Date.UTC(), "signedBy": s.SignedBy},
	}}
}

func debianPackage(p lock.Package) Descriptor {
	return Descriptor{
		Name: p.Name + "_" + p.Version + "_" + p.Arch,
		// purl-spec, type deb
		URI:              "pkg:deb/debian/" + p.Name + "@" + url.QueryEscape(p.Version) + "?arch=" + p.Arch,
		Digest:           map[string]string{"sha256": p.SHA256},
		DownloadLocation: archiveURI(p.Archive, p.Snapshot) + "/" + p.Path,
		Annotations:      map[string]any{"source": p.Source},
	}
}

// archiveURI is where an archive is for good: the snapshot of one with a name,
// else its own address.
func archiveURI(archive, snapshot string) string {
	if strings.Contains(archive, ":") {
		return archive
	}
	return debian.SnapshotBase + "/archive/" + archive + "/" + snapshot
}
