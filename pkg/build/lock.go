package build

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/etcdimg/etcdimg/pkg/debian"
	"github.com/etcdimg/etcdimg/pkg/lock"
	"github.com/etcdimg/etcdimg/pkg/profile"
)

// blank is the lock of a profile before anything is pinned.
func blank(p *profile.Profile) (*lock.Lock, error) {
	config, err := p.JSON()
	if err != nil {
		return nil, err
	}
	files, err := localFiles(p)
	if err != nil {
		return nil, err
	}
	return &lock.Lock{
		SchemaVersion: lock.SchemaVersion, FormatVersion: lock.FormatVersion,
		Profile: p.Digest(), Config: json.RawMessage(config), Files: files,
	}, nil
}

// localFiles are the digests of what a profile takes from beside it, by path.
func localFiles(p *profile.Profile) ([]lock.LocalFile, error) {
	named := map[string]string{} // path → key
	for i, f := range p.Contents.Files {
		for _, arch := range p.Archs {
			named[f.SourceFor(arch)] = fmt.Sprintf("contents.files[%d]", i)
		}
	}
	for i, c := range p.Certificates.Additional {
		if c.Source != "" {
			named[c.Source] = fmt.Sprintf("certificates.additional[%d]", i)
		}
	}
	for i, k := range p.Contents.Keyring {
		named[k] = fmt.Sprintf("contents.keyring[%d]", i)
	}
	for i, k := range p.Etcd.Keyring {
		named[k] = fmt.Sprintf("etcd.keyring[%d]", i)
	}
	var files []lock.LocalFile
	for path, key := range named {
		b, err := p.ReadLocal(path)
		if err != nil {
			return nil, p.Problem(key, err.Error(), "name a file relative to the profile")
		}
		sum := sha256.Sum256(b)
		files = append(files, lock.LocalFile{Path: path, SHA256: hex.EncodeToString(sum[:])})
	}
	slices.SortFunc(files, func(a, b lock.LocalFile) int { return strings.Compare(a.Path, b.Path) })
	return files, nil
}

// MismatchError says that a lock is not of a profile as it is now.
type MismatchError struct {
	Differences []Mismatch
}

// Mismatch is a key of the profile, or a file that it names, that is another
// than when the lock was made.
type Mismatch struct {
	lock.Difference
	File string // where the key is written
	Line int    // from 1; 0 for none
}

func (e *MismatchError) Error() string {
	var b strings.Builder
	b.WriteString("the lock does not match the profile:")
	for _, d := range e.Differences {
		b.WriteString("\n  ")
		if d.Line > 0 {
			fmt.Fprintf(&b, "%s:%d: ", d.File, d.Line)
		}
		b.WriteString(d.String())
	}
	return b.String()
}

// Match tells whether a lock is of a profile, and of an image format that this
// etcdimg makes. Its error for a profile that changed since is a
// *MismatchError, which names every key.
func Match(p *profile.Profile, l *lock.Lock) error {
	if err := Supported(l.FormatVersion); err != nil {
		return err
	}
	e := &MismatchError{}
	if l.Profile != p.Digest() {
		differ, err := configDifferences(l.Config, p)
		if err != nil {
			return err
		}
		for _, d := range differ {
			file, line := p.Origin(d.Key)
			e.Differences = append(e.Differences, Mismatch{d, file, line})
		}
	}
	files, err := localFiles(p)
	if err != nil {
		return err
	}
	e.files(l.Files, files)
	if len(e.Differences) > 0 {
		return e
	}
	for _, arch := range p.Archs {
		if len(l.Debian) > 0 && !slices.ContainsFunc(l.Debian, func(d lock.Debian) bool { return d.Arch == string(arch) }) {
			return fmt.Errorf("the lock has packages, but none for %s: lock again", arch)
		}
	}
	for i, version := range p.Etcd.Versions {
		if i >= len(l.Etcd) || l.Etcd[i].Version != version {
			return fmt.Errorf("the lock lacks etcd %s: lock again", version)
		}
	}
	return nil
}

// Supported says of an image format why it can not be made, nil if it can.
func Supported(format int) error {
	switch {
	case format == lock.FormatVersion:
		return nil
	case format > lock.FormatVersion:
		return fmt.Errorf("the lock is for image format %d, and this etcdimg makes formats up to %d: use a newer etcdimg", format, lock.FormatVersion)
	}
	return fmt.Errorf("the lock is for image format %d, which this etcdimg, of format %d, can not make any more: use the etcdimg that made the lock, or lock again for an image of other bytes", format, lock.FormatVersion)
}

// configDifferences tells where a profile is not the one that a lock was made
// of. That one is read as profiles are read now, so that a key which etcdimg
// has learnt since is no difference.
func configDifferences(config []byte, p *profile.Profile) ([]lock.Difference, error) {
	now, err := p.JSON()
	if err != nil {
		return nil, err
	}
	if then, err := profile.Read("config of the lock", func(string) ([]byte, error) { return config, nil }); err == nil {
		if then.Digest() == p.Digest() {
			return nil, nil
		}
		if config, err = then.JSON(); err != nil {
			return nil, err
		}
	}
	return lock.Differences(config, now)
}

func (e *MismatchError) files(then, now []lock.LocalFile) {
	add := func(path, old, new string) {
		if old != new {
			e.Differences = append(e.Differences, Mismatch{Difference: lock.Difference{Key: "file " + path, Old: old, New: new}})
		}
	}
	sums := map[string]string{}
	for _, f := range now {
		sums[f.Path] = f.SHA256
	}
	for _, f := range then {
		add(f.Path, f.SHA256, sums[f.Path])
		delete(sums, f.Path)
	}
	for _, f := range now {
		if _, left := sums[f.Path]; left {
			add(f.Path, "", f.SHA256)
		}
	}
}

// scriptLister knows which maintainer scripts of packages no rule stands for.
type scriptLister interface {
	Uncovered(ctx context.Context, set lock.Debian) ([]lock.Scripts, error)
}

// RecordScripts records in a lock which maintainer scripts of its packages no
// rule stands for. It downloads the packages.
func (b *Builder) RecordScripts(ctx context.Context, l *lock.Lock) error {
	lister, ok := b.Packages.(scriptLister)
	if !ok {
		return errors.New("these packages do not tell their scripts")
	}
	for i, set := range l.Debian {
		var err error
		if l.Debian[i].Uncovered, err = lister.Uncovered(ctx, set); err != nil {
			return fmt.Errorf("looking into the packages for %s: %w", set.Arch, err)
		}
	}
	return nil
}

// Uncovered implements scriptLister.
func (d *debianPackages) Uncovered(ctx context.Context, set lock.Debian) ([]lock.Scripts, error) {
	pkgs, err := d.unpack(ctx, set.Packages)
	if err != nil {
		return nil, err
	}
	var out []lock.Scripts
	for _, f := range debian.Uncovered(pkgs) {
		out = append(out, lock.Scripts{Package: f.Package, Scripts: f.Scripts})
	}
	return out, nil
}
