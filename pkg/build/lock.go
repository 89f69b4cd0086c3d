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

	"golang.org/x/sync/errgroup"

	"github.com/etcdimg/etcdimg/pkg/debian"
	"github.com/etcdimg/etcdimg/pkg/lock"
	"github.com/etcdimg/etcdimg/pkg/profile"
)

// blank is the lock of a profile for some architectures before anything is pinned.
func blank(p *profile.Profile, archs []profile.Arch) (*lock.Lock, error) {
	config, err := p.JSON()
	if err != nil {
		return nil, err
	}
	files, err := localFiles(p, archs)
	if err != nil {
		return nil, err
	}
	return &lock.Lock{
		SchemaVersion: lock.SchemaVersion, FormatVersion: lock.FormatVersion,
		Profile: p.Digest(), Config: json.RawMessage(config), Files: files,
	}, nil
}

// localFiles are the digests of what a profile takes from beside it for some
// architectures, by path.
func localFiles(p *profile.Profile, archs []profile.Arch) ([]lock.LocalFile, error) {
	named := map[string]string{} // path → key
	for i, f := range p.Contents.Files {
		for _, arch := range archs {
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
// *MismatchError, which names every key. Of local files it reads those of the
// given architectures: others need not be there.
func Match(p *profile.Profile, l *lock.Lock, archs []profile.Arch) error {
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
	files, err := localFiles(p, archs)
	if err != nil {
		return err
	}
	needed, all := p.Sources(archs), p.Sources(p.Archs)
	then := slices.DeleteFunc(slices.Clone(l.Files), func(f lock.LocalFile) bool {
		return slices.Contains(all, f.Path) && !slices.Contains(needed, f.Path)
	})
	e.files(then, files)
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

// scriptLister knows which maintainer scripts of packages no rule stands for,
// and, where some may be missing, which packages no source has.
type scriptLister interface {
	Uncovered(ctx context.Context, pins []lock.Package, mayLack bool) (scripts []lock.Scripts, unseen []string, err error)
}

// RecordScripts records in a lock which maintainer scripts of its packages no
// rule stands for. It downloads the packages, but not those of a set that is
// the same in the older lock, which may be nil. A package that no source has is
// an error, or, if mayLack is set, recorded.
func (b *Builder) RecordScripts(ctx context.Context, l, old *lock.Lock, mayLack bool) error {
	lister, ok := b.Packages.(scriptLister)
	if !ok {
		return errors.New("these packages do not tell their scripts")
	}
	for i := range l.Debian {
		set := &l.Debian[i]
		if known := sameSet(old, l.FormatVersion, *set); known != nil {
			set.Uncovered, set.Unseen = known.Uncovered, known.Unseen
			continue
		}
		var err error
		if set.Uncovered, set.Unseen, err = lister.Uncovered(ctx, set.Packages, mayLack); err != nil {
			return fmt.Errorf("looking into the packages for %s: %w", set.Arch, err)
		}
	}
	return nil
}

// sameSet finds an older lock's set of the same packages for the same
// architecture. Another format has other rules, so that what is known of
// scripts does not hold for it.
func sameSet(old *lock.Lock, format int, set lock.Debian) *lock.Debian {
	if old == nil || old.FormatVersion != format {
		return nil
	}
	for i, o := range old.Debian {
		if o.Arch == set.Arch && slices.Equal(o.Packages, set.Packages) {
			return &old.Debian[i]
		}
	}
	return nil
}

// Uncovered implements scriptLister.
func (d *debianPackages) Uncovered(ctx context.Context, pins []lock.Package, mayLack bool) (scripts []lock.Scripts, unseen []string, err error) {
	if mayLack {
		if pins, unseen, err = d.available(ctx, pins); err != nil {
			return nil, nil, err
		}
	}
	pkgs, err := d.unpack(ctx, pins)
	if err != nil {
		return nil, nil, err
	}
	for _, f := range debian.Uncovered(pkgs) {
		scripts = append(scripts, lock.Scripts{Package: f.Package, Scripts: f.Scripts})
	}
	return scripts, unseen, nil
}

// Unavailable says whether an error is that no source has a package right now.
// That one has other bytes under its name is another error.
func Unavailable(err error) bool {
	return errors.Is(err, debian.ErrUnavailable) && !debian.Tampered(err)
}

// available tells packages that can be had from those that no source has.
func (d *debianPackages) available(ctx context.Context, pins []lock.Package) (there []lock.Package, unseen []string, err error) {
	lacking := make([]bool, len(pins))
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(cap(d.places))
	for i, p := range pins {
		g.Go(func() error {
			if d.resolver.Has(p) {
				return nil
			}
			_, err := d.resolver.Fetch(ctx, p)
			if Unavailable(err) {
				lacking[i], err = true, nil
			}
			return err
		})
	}
	if err := g.Wait(); err != nil {
		return nil, nil, err
	}
	for i, p := range pins {
		if lacking[i] {
			unseen = append(unseen, p.Name)
		} else {
			there = append(there, p)
		}
	}
	return there, unseen, nil
}
