package debian

import (
	"context"
	"fmt"
	"slices"

	"github.com/etcdimg/etcdimg/pkg/lock"
)

// keep leaves, of what the indexes offer under the names of kept packages,
// those packages alone. What an archive no longer offers is known from its
// .deb, which is fetched by the lock.
func (r *Resolver) keep(ctx context.Context, offered []*candidate, kept []lock.Package) ([]*candidate, error) {
	if len(kept) == 0 {
		return offered, nil
	}
	pins := map[string]*lock.Package{}
	for i := range kept {
		pins[kept[i].Name] = &kept[i]
	}
	out := make([]*candidate, 0, len(offered))
	for _, c := range offered {
		pin, ok := pins[c.Name]
		switch {
		case !ok:
			out = append(out, c)
		case c.SHA256 == pin.SHA256 && c.locked == nil:
			same := *c
			same.locked = pin
			out = append(out, &same)
			pins[c.Name] = &lock.Package{} // matches nothing further
		}
	}
	for i := range kept {
		if pins[kept[i].Name] != &kept[i] {
			continue
		}
		c, err := r.keptCandidate(ctx, kept[i])
		if err != nil {
			return nil, err
		}
		out = append(out, c)
	}
	return out, nil
}

func (r *Resolver) keptCandidate(ctx context.Context, p lock.Package) (*candidate, error) {
	pkg, err := r.Unpack(ctx, p)
	if err != nil {
		return nil, fmt.Errorf("keeping what no index offers any more: %w", err)
	}
	stanza := append(slices.Clone(pkg.Control),
		Field{Name: "Filename", Value: p.Path}, Field{Name: "SHA256", Value: p.SHA256}, Field{Name: "Size", Value: fmt.Sprint(p.Size)})
	c, err := newCandidate(stanza, interner{})
	if err != nil {
		return nil, err
	}
	c.locked = &p
	c.suite = &suite{repository{Archive: p.Archive, Suite: p.Suite}, &release{}}
	return c, nil
}

// keptByAll are the kept packages of every architecture, where they are the
// same for all and none is of an architecture.
func (q *query) keptByAll() ([]lock.Package, bool) {
	if len(q.keep) == 0 || len(q.archs) == 0 {
		return nil, true
	}
	kept := q.keep[q.archs[0]]
	for _, a := range q.archs {
		if !slices.Equal(q.keep[a], kept) {
			return nil, false
		}
	}
	return kept, !slices.ContainsFunc(kept, func(p lock.Package) bool { return p.Arch != archAll })
}
