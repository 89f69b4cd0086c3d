package server

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"

	"github.com/etcdimg/etcdimg/migrate/internal/version"
)

// pollEvery is how often a server that starts is asked whether it is ready.
const pollEvery = 50 * time.Millisecond

// Ready waits until the server has agreed on its own line's version and answers
// a linearizable read. It never asks /health: up to 3.4 that writes a v2 entry,
// which 3.6 dies of.
func (s *Server) Ready(ctx context.Context) error {
	ctx, cancel := context.WithTimeoutCause(ctx, s.config.ReadyIn, fmt.Errorf("not ready within %s", s.config.ReadyIn))
	defer cancel()
	tick := time.NewTicker(pollEvery)
	defer tick.Stop()
	var last error
	for {
		if last = s.ready(ctx); last == nil {
			select {
			case <-s.ended: // so it was another one that answered
				return s.died()
			default:
				return nil
			}
		}
		select {
		case <-s.ended:
			return s.died()
		case <-ctx.Done():
			return fmt.Errorf("etcd %s: %w (last: %v; its last words: %s)", s.config.Version, context.Cause(ctx), last, s.output)
		case <-tick.C:
		}
	}
}

// Until waits until a condition of the caller's holds, as long as the server lives.
func (s *Server) Until(ctx context.Context, in time.Duration, done func() (bool, error)) error {
	ctx, cancel := context.WithTimeoutCause(ctx, in, fmt.Errorf("not done within %s", in))
	defer cancel()
	tick := time.NewTicker(pollEvery)
	defer tick.Stop()
	for {
		if ok, err := done(); ok || err != nil {
			return err
		}
		select {
		case <-s.ended:
			return s.died()
		case <-ctx.Done():
			return fmt.Errorf("etcd %s: %w (its last words: %s)", s.config.Version, context.Cause(ctx), s.output)
		case <-tick.C:
		}
	}
}

func (s *Server) ready(ctx context.Context) error {
	var v struct {
		Cluster string `json:"etcdcluster"`
		Storage string `json:"storage"`
	}
	if err := s.get(ctx, "/version", &v); err != nil {
		return err
	}
	want := s.config.Version.Line().String() + ".0"
	if v.Cluster != want {
		return fmt.Errorf("the cluster version is %q, not %q yet", v.Cluster, want)
	}
	if tellsStorage(s.config.Version.Line()) && v.Storage != want {
		return fmt.Errorf("the storage version is %q, not %q yet", v.Storage, want)
	}
	return s.Serving(ctx)
}

// Serving is nil once the server answers a read that goes through raft.
func (s *Server) Serving(ctx context.Context) error {
	if s.gateway() == "" {
		return s.get(ctx, "/v2/keys/?quorum=true", &struct{}{})
	}
	return s.LinearizableRead(ctx)
}

// tellsStorage says whether a line's /version has the storage version.
func tellsStorage(l version.Line) bool { return !l.Before(version.Line{Major: 3, Minor: 6}) }

// gateways are the paths of the JSON gateway by the first line that has them.
var gateways = []struct {
	from version.Line
	path string
}{
	{version.Line{Major: 3, Minor: 4}, "/v3"},
	{version.Line{Major: 3, Minor: 3}, "/v3beta"},
	{version.Line{Major: 3, Minor: 0}, "/v3alpha"},
}

// gateway is the path of the JSON gateway; "" on lines without one.
func (s *Server) gateway() string {
	for _, g := range gateways {
		if !s.config.Version.Line().Before(g.from) {
			return g.path
		}
	}
	return ""
}

// LinearizableRead reads through the whole of raft and touches no key. Where
// users are asked for, the refusal comes after the read, and is as good.
func (s *Server) LinearizableRead(ctx context.Context) error {
	err := s.post(ctx, "/kv/range", map[string]any{"key": []byte{0}, "count_only": true}, &struct{}{})
	if err != nil && (strings.Contains(err.Error(), "user name is empty") || strings.Contains(err.Error(), "permission denied") || strings.Contains(err.Error(), "invalid auth token")) {
		return nil
	}
	return err
}

// Grant makes a lease and gives back its ID.
func (s *Server) Grant(ctx context.Context, ttl time.Duration) (string, error) {
	var r struct{ ID string }
	err := s.post(ctx, "/lease/grant", map[string]any{"TTL": int64(ttl / time.Second)}, &r)
	return r.ID, err
}

// Put writes a key that belongs to a lease.
func (s *Server) Put(ctx context.Context, key, value []byte, lease string) error {
	return s.post(ctx, "/kv/put", map[string]any{"key": key, "value": value, "lease": lease}, &struct{}{})
}

// V2Keys reads the whole v2 tree through the server, as raw JSON.
func (s *Server) V2Keys(ctx context.Context, into any) error {
	return s.get(ctx, "/v2/keys/?recursive=true&sorted=true&quorum=true", into)
}

// get reads JSON from a path.
func (s *Server) get(ctx context.Context, path string, into any) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, s.url+path, nil)
	if err != nil {
		return err
	}
	return s.do(req, into)
}

// post sends JSON to a path of the gateway.
func (s *Server) post(ctx context.Context, path string, body, into any) error {
	b, err := json.Marshal(body)
	if err != nil {
		return err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, s.url+s.gateway()+path, bytes.NewReader(b))
	if err != nil {
		return err
	}
	req.Header.Set("Content-Type", "application/json")
	return s.do(req, into)
}

// maxAnswer bounds an answer: a whole v2 tree may come in one.
const maxAnswer = 1 << 30

func (s *Server) do(req *http.Request, into any) error {
	resp, err := s.http.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer))
	if err != nil {
		return err
	}
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("%s %s: %s: %s", req.Method, req.URL.Path, resp.Status, bytes.TrimSpace(b[:min(len(b), 300)]))
	}
	return json.Unmarshal(b, into)
}
