package sbom

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/etcdimg/etcdimg/pkg/cache"
)

// knowledge of licences, each found once per store.
type knowledge struct {
	store   Store
	modules Modules // nil for none: then nothing is known of modules but what the store has
}

// The cache's names for the licences of a module version, and of a copyright
// file.
const (
	recordLicences  = "module-licences"
	recordCopyright = "copyright-licences"
)

// of returns the licences of modules. Those that the store lacks are read from
// the modules' files, by one process at a time: the next finds them.
func (l *knowledge) of(ctx context.Context, modules []Module) (map[Module]licences, error) {
	slices.SortFunc(modules, func(a, b Module) int {
		return cmp.Or(cmp.Compare(a.Path, b.Path), cmp.Compare(a.Version, b.Version), cmp.Compare(a.Sum, b.Sum))
	})
	known, missing, err := l.known(modules)
	if err != nil || len(missing) == 0 || l.modules == nil {
		return known, err
	}
	unlock, err := l.store.Lock(ctx, recordLicences, cache.Key(recordLicences))
	if err != nil {
		return known, err
	}
	defer unlock()
	if known, missing, err = l.known(modules); err != nil || len(missing) == 0 {
		return known, err
	}
	files, err := l.modules.RootFiles(ctx, missing, isLicenceFile)
	if err != nil {
		return known, fmt.Errorf("reading the licences of modules: %w", err)
	}
	for _, m := range missing {
		known[m] = readLicences(files[m])
		if err := l.store.WriteRecord(recordLicences, m.key(), known[m]); err != nil {
			return known, err
		}
	}
	return known, nil
}

// known returns what the store knows, and the modules of which it knows nothing.
func (l *knowledge) known(modules []Module) (map[Module]licences, []Module, error) {
	found := map[Module]licences{}
	var missing []Module
	for _, m := range modules {
		var known licences
		err := l.store.ReadRecord(recordLicences, m.key(), &known)
		switch {
		case err == nil:
			found[m] = known
		case errors.Is(err, cache.ErrNotFound):
			missing = append(missing, m)
		default:
			return nil, nil, err
		}
	}
	return found, missing, nil
}

// copyright returns the licences that a Debian package's copyright file names.
func (l *knowledge) copyright(text string) (licences, error) {
	key := cache.Key("copyright 1", text)
	var known licences
	err := l.store.ReadRecord(recordCopyright, key, &known)
	if !errors.Is(err, cache.ErrNotFound) {
		return known, err
	}
	known = readCopyright(text)
	return known, l.store.WriteRecord(recordCopyright, key, known)
}

func (m Module) key() string {
	return cache.Key("module licences 1", m.Path, m.Version, m.Sum)
}
