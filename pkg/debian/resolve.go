package debian

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"

	"golang.org/x/sync/errgroup"

	"github.com/etcdimg/etcdimg/pkg/lock"
)

// archAll is the Architecture of packages that are the same on every machine.
const archAll = "all"

// resolverVersion rises when the same indexes and the same request come to
// something else.
const resolverVersion = "resolver 1"

// resolution is the record of what a request came to.
type resolution struct {
	Suites []lock.Suite  `json:"suites"`
	Sets   []lock.Debian `json:"sets"`
}

// Resolve chooses packages: what the request names and all that it depends on,
// in the highest version that the repositories' suites have, from indexes with
// a good signature. It returns the indexes that were used, in the order of the
// repositories and then by architecture, and one package set per architecture,
// by GOARCH name.
//
// Where all packages are Architecture: all, one set serves every architecture;
// the indexes of the architectures are not needed then, and Suite.Arch is
// "all". So the result is the same from a mirror that lacks some of them.
//
// The error tells everything that stands in the way, not just the first thing.
func (r *Resolver) Resolve(ctx context.Context, req Request) ([]lock.Suite, []lock.Debian, error) {
	q, err := r.understand(req)
	if err != nil {
		return nil, nil, err
	}
	if len(q.want.Names)+len(q.want.Groups) == 0 {
		return nil, q.sets(nil, nil), nil
	}
	if len(q.repos) == 0 {
		return nil, nil, errors.New("packages are wanted, but contents.repositories is empty: add \"debian trixie main\"")
	}
	suites, err := r.openSuites(ctx, q)
	if err != nil {
		return nil, nil, err
	}
	key, err := r.resolutionKey(q, suites)
	if err != nil {
		return nil, nil, err
	}
	var known resolution
	if r.opts.Store.ReadRecord(kindResolved, key, &known) == nil {
		return known.Suites, known.Sets, nil
	}
	found, err := r.resolveAll(ctx, q, suites)
	if errors.Is(err, errIncomplete) {
		r.log.Debug("asking for each architecture's own packages", "reason", err)
		found, err = r.resolveEach(ctx, q, suites)
	}
	if err != nil {
		return nil, nil, err
	}
	if err := r.opts.Store.WriteRecord(kindResolved, key, found); err != nil {
		return nil, nil, err
	}
	return found.Suites, found.Sets, nil
}

// query is a request, understood.
type query struct {
	repos []repository
	want  *wanted
	archs []string // GOARCH, sorted
	keys  *keyring
	keep  map[string][]lock.Package
}

func (r *Resolver) understand(req Request) (*query, error) {
	q := &query{keep: req.Keep}
	var errs []error
	for _, line := range req.Repositories {
		repo, err := parseRepository(line)
		if err == nil && slices.ContainsFunc(q.repos, func(o repository) bool { return o.Archive == repo.Archive && o.Suite == repo.Suite }) {
			err = fmt.Errorf("repository %q: suite %s is there already: name all of its components in one line", line, repo.Suite)
		}
		errs = append(errs, err)
		q.repos = append(q.repos, repo)
	}
	var err error
	q.want, err = parsePackages(req.Packages)
	errs = append(errs, err)
	for _, a := range req.Archs {
		if _, ok := DebianArch(a); !ok {
			errs = append(errs, fmt.Errorf("architecture %q: want one of %s", a, goArchNames()))
		}
	}
	q.archs = slices.Compact(slices.Sorted(slices.Values(req.Archs)))
	q.keys, err = readKeyring(req.Keyring)
	errs = append(errs, err)
	return q, errors.Join(errs...)
}

func (q *query) sets(packages []lock.Package, omitted []string) []lock.Debian {
	var sets []lock.Debian
	for _, a := range q.archs {
		sets = append(sets, lock.Debian{Arch: a, Packages: packages, Omitted: omitted})
	}
	return sets
}

// openSuites opens all suites at once and reports on all of them.
func (r *Resolver) openSuites(ctx context.Context, q *query) ([]*suite, error) {
	suites, errs := make([]*suite, len(q.repos)), make([]error, len(q.repos))
	var g errgroup.Group
	g.SetLimit(4)
	for i, repo := range q.repos {
		g.Go(func() error {
			suites[i], errs[i] = r.openSuite(ctx, repo, q.keys)
			return nil
		})
	}
	_ = g.Wait() // errors are in errs
	return suites, errors.Join(errs...)
}

// resolutionKey is the digest of all that a resolution depends on.
func (r *Resolver) resolutionKey(q *query, suites []*suite) (string, error) {
	type index struct {
		repository
		Digest   string   `json:"digest"`
		SignedBy []string `json:"signedBy"`
	}
	in := struct {
		Indexes []index  `json:"indexes"`
		Want    *wanted  `json:"want"`
		Archs   []string `json:"archs"`
		Skips   []string `json:"skips"`

		Keep map[string][]lock.Package `json:"keep,omitempty"`
	}{Want: q.want, Archs: q.archs, Keep: q.keep, Skips: slices.Sorted(slices.Values(r.opts.SkipSuites))}
	for _, s := range suites {
		in.Indexes = append(in.Indexes, index{s.repository, s.Digest, s.SignedBy})
	}
	b, err := json.Marshal(in)
	if err != nil {
		return "", fmt.Errorf("resolution key: %w", err)
	}
	return recordKey(resolverVersion, string(b)), nil
}

// resolveAll resolves with Architecture: all packages alone. Its error is
// errIncomplete where they do not decide everything.
func (r *Resolver) resolveAll(ctx context.Context, q *query, suites []*suite) (*resolution, error) {
	if len(q.want.Groups) > 0 {
		return nil, errIncomplete
	}
	kept, ok := q.keptByAll()
	if !ok {
		return nil, errIncomplete
	}
	var candidates []*candidate
	var err error
	for rank, s := range suites {
		found, err := r.packagesAll(ctx, s)
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		if err != nil {
			return nil, fmt.Errorf("%w: %w", errIncomplete, err)
		}
		for _, c := range found {
			c.rank = rank
		}
		candidates = append(candidates, found...)
	}
	if candidates, err = r.keep(ctx, candidates, kept); err != nil {
		return nil, err
	}
	packages, omitted, err := solve(newUniverse(archAll, candidates, q.want.Pins), q.want)
	if err != nil {
		// Whatever it is, the whole of the packages may change it.
		return nil, fmt.Errorf("%w: %w", errIncomplete, err)
	}
	out := &resolution{}
	for _, s := range suites {
		out.Suites = append(out.Suites, s.locked(archAll))
	}
	out.Sets = q.sets(lockPackages(packages), omitted)
	return out, nil
}

// packagesAll returns a suite's Architecture: all packages from the first
// index that can be had: they are the same in each.
func (r *Resolver) packagesAll(ctx context.Context, s *suite) ([]*candidate, error) {
	if err := s.loadFiles(r); err != nil {
		return nil, err
	}
	var archs []string
	if !slices.ContainsFunc(s.repository.Components, func(c string) bool { return !s.has(c, archAll) }) {
		archs = append(archs, archAll)
	}
	if !s.SeparateAll {
		for _, a := range debianArchs {
			archs = append(archs, a.debian)
		}
	}
	var errs []error
	for _, a := range archs {
		found, err := r.packages(ctx, s, a)
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		if err == nil {
			return slices.DeleteFunc(found, func(c *candidate) bool { return c.Arch != archAll }), nil
		}
		r.log.Debug("an index can not be had; trying another architecture's", "error", err)
		errs = append(errs, err)
	}
	return nil, errors.Join(errs...)
}

// resolveEach resolves for every architecture by its own packages.
func (r *Resolver) resolveEach(ctx context.Context, q *query, suites []*suite) (*resolution, error) {
	sets, errs := make([]lock.Debian, len(q.archs)), make([]error, len(q.archs))
	for _, s := range suites {
		if err := s.loadFiles(r); err != nil {
			return nil, err
		}
	}
	var g errgroup.Group
	g.SetLimit(2) // an index takes some tens of megabytes
	for i, goarch := range q.archs {
		g.Go(func() error {
			sets[i], errs[i] = r.resolveArch(ctx, q, suites, goarch)
			return nil
		})
	}
	_ = g.Wait() // errors are in errs
	if ctx.Err() != nil {
		return nil, ctx.Err()
	}
	if err := errors.Join(errs...); err != nil {
		return nil, err
	}
	out := &resolution{Sets: sets}
	for _, s := range suites {
		for _, goarch := range q.archs {
			arch, _ := DebianArch(goarch)
			locked := s.locked(arch)
			if r.skip(s.repository.Suite, arch) {
				locked.Skipped = "left out on request: --skip-suite " + s.repository.Suite + ":" + arch
			}
			out.Suites = append(out.Suites, locked)
		}
	}
	return out, nil
}

func (r *Resolver) resolveArch(ctx context.Context, q *query, suites []*suite, goarch string) (lock.Debian, error) {
	arch, _ := DebianArch(goarch)
	var candidates []*candidate
	var errs []error
	for rank, s := range suites {
		if r.skip(s.repository.Suite, arch) {
			continue
		}
		archs := []string{arch}
		if s.SeparateAll {
			archs = append(archs, archAll)
		}
		for _, a := range archs {
			found, err := r.packages(ctx, s, a)
			errs = append(errs, err)
			for _, c := range found {
				c.rank = rank
			}
			candidates = append(candidates, found...)
		}
	}
	if err := errors.Join(errs...); err != nil {
		return lock.Debian{}, err
	}
	candidates, err := r.keep(ctx, candidates, q.keep[goarch])
	if err != nil {
		return lock.Debian{}, err
	}
	packages, omitted, err := solve(newUniverse(arch, candidates, q.want.Pins), q.want)
	if err != nil {
		return lock.Debian{}, fmt.Errorf("choosing packages for %s: %w", goarch, err)
	}
	return lock.Debian{Arch: goarch, Packages: lockPackages(packages), Omitted: omitted}, nil
}

func (s *suite) locked(arch string) lock.Suite {
	return lock.Suite{
		Archive: s.Archive, Suite: s.repository.Suite, Components: s.repository.Components, Arch: arch,
		Date: s.Date, SHA256: s.Digest, SignedBy: s.SignedBy,
	}
}

func lockPackages(packages []*candidate) []lock.Package {
	var out []lock.Package
	for _, c := range packages {
		if c.locked != nil {
			out = append(out, *c.locked)
			continue
		}
		p := lock.Package{
			Name: c.Name, Version: c.Version, Arch: c.Arch, Source: strings.Join(strings.Fields(c.Source), " "),
			Archive: c.suite.Archive, Suite: c.suite.repository.Suite,
			Path: c.Filename, Size: c.Size, SHA256: c.SHA256,
		}
		if isNamed(p.Archive) {
			p.Snapshot = SnapshotOf(c.suite.Date)
		}
		out = append(out, p)
	}
	return out
}
