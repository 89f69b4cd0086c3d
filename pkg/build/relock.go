package build

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"

	"golang.org/x/sync/errgroup"

	"github.com/etcdimg/etcdimg/pkg/debian"
	"github.com/etcdimg/etcdimg/pkg/lock"
	"github.com/etcdimg/etcdimg/pkg/profile"
)

// Update says which pins of a lock are chosen anew. The zero value chooses
// only what the lock can not have: because its profile changed since.
type Update struct {
	Etcd      bool     // etcd's modules, or the archives of its releases
	Toolchain bool     // the compiler, where the profile does not name one
	Debian    bool     // all packages
	Packages  []string // packages by name, with what they newly depend on
}

// UpdateAll chooses everything anew.
func UpdateAll() Update { return Update{Etcd: true, Toolchain: true, Debian: true} }

// ParseUpdate reads words: etcd, debian, toolchain, all, or names of packages.
// No word means all.
func ParseUpdate(words []string) Update {
	if len(words) == 0 {
		return UpdateAll()
	}
	var u Update
	for _, w := range words {
		switch w {
		case "all":
			u.Etcd, u.Toolchain, u.Debian = true, true, true
		case "etcd":
			u.Etcd = true
		case "toolchain":
			u.Toolchain = true
		case "debian":
			u.Debian = true
		default:
			u.Packages = append(u.Packages, w)
		}
	}
	return u
}

// Relock pins the inputs of a profile as Resolve does, but keeps what an older
// lock of it pins, as far as the profile still wants it and u does not ask for
// another.
func (b *Builder) Relock(ctx context.Context, p *profile.Profile, old *lock.Lock, u Update) (*lock.Lock, error) {
	then, err := profile.Read("config of the lock", func(string) ([]byte, error) { return old.Config, nil })
	if err != nil {
		b.Log.Warn("the lock is of a profile that can not be read any more; choosing everything anew", "error", err)
		return b.Resolve(ctx, p, p.Archs)
	}
	for _, name := range u.Packages {
		if err := hasPackage(old, name); err != nil {
			return nil, err
		}
	}
	fresh, err := blank(p, p.Archs)
	if err != nil {
		return nil, err
	}
	if p.Migrate {
		pin, err := b.relockMigrate(p, then, old, u)
		if err != nil {
			return nil, err
		}
		fresh.Migrate = &pin
	}
	fresh.Etcd = make([]lock.Etcd, len(p.Etcd.Versions))
	g, gctx := errgroup.WithContext(ctx)
	for i, version := range p.Etcd.Versions {
		g.Go(func() error {
			var err error
			fresh.Etcd[i], err = b.relockEtcd(gctx, p, then, old, fresh, i, version, u)
			return err
		})
	}
	g.Go(func() error { return b.relockDebian(gctx, p, then, old, fresh, u) })
	if err := g.Wait(); err != nil {
		return nil, err
	}
	return fresh, nil
}

// relockEtcd is the pin of one etcd version: the older lock's, with what
// changes in it.
func (b *Builder) relockEtcd(ctx context.Context, p, then *profile.Profile, old, fresh *lock.Lock, i int, version string, u Update) (lock.Etcd, error) {
	request := etcdRequest(p, version, p.Archs)
	at := slices.IndexFunc(old.Etcd, func(e lock.Etcd) bool { return e.Version == version })
	same := at >= 0 && reflect.DeepEqual(request, etcdRequest(then, version, then.Archs)) &&
		slices.Equal(p.Etcd.Keyring, then.Etcd.Keyring) && sameKeys(p.Etcd.Keyring, old, fresh)
	if same && !u.Etcd && !u.Toolchain {
		return old.Etcd[at], nil
	}
	if at >= 0 && !u.Toolchain && p.Etcd.Toolchain == "" && then.Etcd.Toolchain == "" {
		request.Toolchain = old.Etcd[at].Toolchain
	}
	pin, err := b.pinEtcd(ctx, p, i, request)
	if err != nil {
		return lock.Etcd{}, err
	}
	if same && !u.Etcd { // the toolchain alone
		toolchain := pin.Toolchain
		pin = old.Etcd[at]
		pin.Toolchain = toolchain
	}
	return pin, nil
}

// relockMigrate pins the operator that is at hand, since no other can be
// compiled; the older lock's toolchain stays.
func (b *Builder) relockMigrate(p, then *profile.Profile, old *lock.Lock, u Update) (lock.Migrate, error) {
	toolchain := p.Etcd.Toolchain
	if toolchain == "" && then.Etcd.Toolchain == "" && !u.Toolchain && old.Migrate != nil {
		toolchain = old.Migrate.Toolchain
	}
	return b.pinMigrate(p, toolchain)
}

func (b *Builder) relockDebian(ctx context.Context, p, then *profile.Profile, old, fresh *lock.Lock, u Update) error {
	same := slices.Equal(p.Contents.Repositories, then.Contents.Repositories) &&
		slices.Equal(p.Contents.Packages, then.Contents.Packages) &&
		slices.Equal(p.Archs, then.Archs) && sameKeys(p.Contents.Keyring, old, fresh)
	if same && !u.Debian && len(u.Packages) == 0 {
		fresh.Suites, fresh.Debian = old.Suites, old.Debian
		return nil
	}
	var keep map[string][]lock.Package
	if !u.Debian {
		keep = map[string][]lock.Package{}
		for _, set := range old.Debian {
			keep[set.Arch] = slices.DeleteFunc(slices.Clone(set.Packages), func(p lock.Package) bool {
				return slices.Contains(u.Packages, p.Name)
			})
		}
	}
	var err error
	fresh.Suites, fresh.Debian, err = b.resolvePackages(ctx, p, p.Archs, keep)
	var unsolved *debian.UnsolvableError
	if errors.As(err, &unsolved) && keep != nil {
		err = fmt.Errorf("%w\nThe other packages stay as the lock has them: name those that have to move, too, or update debian as a whole", err)
	}
	if err != nil {
		return err
	}
	if same && reflect.DeepEqual(pinned(fresh), pinned(old)) {
		fresh.Suites, fresh.Debian = old.Suites, old.Debian // nothing was newer in the newer indexes
	}
	return nil
}

// pinned are a lock's packages without what is known of their scripts.
func pinned(l *lock.Lock) []lock.Debian {
	sets := slices.Clone(l.Debian)
	for i := range sets {
		sets[i].Uncovered, sets[i].Unseen = nil, nil
	}
	return sets
}

// sameKeys says whether the keys in files of the profile's are those that the
// lock was made with.
func sameKeys(keyring []string, old, fresh *lock.Lock) bool {
	for _, key := range keyring {
		is := func(f lock.LocalFile) bool { return f.Path == key }
		i, j := slices.IndexFunc(old.Files, is), slices.IndexFunc(fresh.Files, is)
		if i < 0 || j < 0 || old.Files[i] != fresh.Files[j] {
			return false
		}
	}
	return true
}

// hasPackage refuses to update what the lock has not.
func hasPackage(l *lock.Lock, name string) error {
	var names []string
	for _, set := range l.Debian {
		for _, p := range set.Packages {
			if p.Name == name {
				return nil
			}
			names = append(names, p.Name)
		}
	}
	slices.Sort(names)
	return fmt.Errorf("the lock has no package %s to update: say etcd, debian, toolchain, all, or one of %s", name, strings.Join(slices.Compact(names), ", "))
}

// Skips are the suites that a lock was made without, as SUITE:ARCH.
func Skips(l *lock.Lock) []string {
	var skips []string
	for _, s := range l.Suites {
		if s.Skipped != "" {
			skips = append(skips, s.Suite+":"+s.Arch)
		}
	}
	return skips
}
