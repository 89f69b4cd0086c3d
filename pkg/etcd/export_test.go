package etcd

import (
	"context"
	"encoding/json"
)

// Complete resolves a version as if it were not embedded, and returns the
// files that lines/ would have of it, by their endings.
func (s *Resolver) Complete(ctx context.Context, r Request) (map[string]string, error) {
	v, err := parseVersion(r.Version)
	if err != nil {
		return nil, err
	}
	l, err := line(v)
	if err != nil {
		return nil, err
	}
	w, err := s.complete(ctx, l, v, r)
	if err != nil {
		return nil, err
	}
	info, err := json.Marshal(struct {
		Version string
		Time    any
	}{l.moduleVersion(v), w.Date})
	return map[string]string{".mod": w.GoMod, ".sum": w.GoSum, ".info": string(info) + "\n"}, err
}
