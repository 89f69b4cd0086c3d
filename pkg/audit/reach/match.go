package reach

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/url"
	"os"
	"path/filepath"
	"slices"
)

// Level says how near.
type Level int

// The levels, nearest last.
const (
	Required Level = iota
	Imported
	Called
)

// Hit is a vulnerability that a program has.
type Hit struct {
	ID      string   `json:"id"`     // of the record: GO-2023-1988
	Module  string   `json:"module"` // stdlib for Go itself
	Version string   `json:"version"`
	Fixed   string   `json:"fixed,omitempty"`
	Level   Level    `json:"level"`
	Symbols []string `json:"symbols,omitempty"` // vulnerable functions that are there: golang.org/x/net/html.Parse
}

// Match holds programs against records of Go's database: raw JSON, by
// identifier. dir is for what is needed on the way. The hits are those of each
// program, by record and module. Of a program whose functions could not be
// listed every vulnerable one counts as called.
func Match(ctx context.Context, programs []*Program, records map[string]json.RawMessage, dir string) ([][]Hit, error) {
	db := filepath.Join(dir, "db")
	if err := os.Mkdir(db, 0o700); err != nil {
		return nil, err
	}
	defer os.RemoveAll(db)
	for id, r := range records {
		if err := os.WriteFile(filepath.Join(db, id+".json"), r, 0o600); err != nil {
			return nil, err
		}
	}
	found := make([][]Hit, len(programs))
	if len(records) == 0 {
		return found, nil
	}
	for i, p := range programs {
		blob, err := p.writeBlob(dir)
		if err != nil {
			return nil, err
		}
		address := url.URL{Scheme: "file", Path: filepath.ToSlash(db)}
		out, err := govulncheck(ctx, "-mode=binary", "-format=json", "-db="+address.String(), blob)
		if err != nil {
			return nil, err
		}
		if found[i], err = read(out); err != nil {
			return nil, err
		}
		for n := range found[i] {
			if !p.Symbols {
				found[i][n].Level, found[i][n].Symbols = Called, nil
			}
		}
	}
	return found, nil
}

// message is a finding, as x/vuln writes it (protocol v1.0.0).
type message struct {
	Finding *struct {
		OSV   string `json:"osv"`
		Fixed string `json:"fixed_version"`
		Trace []struct {
			Module, Version, Package, Function, Receiver string
		} `json:"trace"`
	} `json:"finding"`
}

// read puts together what x/vuln says once for the module, once for the
// package, and once for every function.
func read(out []byte) ([]Hit, error) {
	type key struct{ id, module string }
	hits := map[key]*Hit{}
	for d := json.NewDecoder(bytes.NewReader(out)); ; {
		var m message
		err := d.Decode(&m)
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return nil, fmt.Errorf("reading what golang.org/x/vuln found: %w", err)
		}
		if m.Finding == nil || len(m.Finding.Trace) == 0 {
			continue
		}
		t := m.Finding.Trace[0]
		h := hits[key{m.Finding.OSV, t.Module}]
		if h == nil {
			h = &Hit{ID: m.Finding.OSV, Module: t.Module, Version: t.Version, Fixed: m.Finding.Fixed}
			hits[key{m.Finding.OSV, t.Module}] = h
		}
		switch {
		case t.Function != "":
			h.Level = Called
			name := t.Function
			if t.Receiver != "" {
				name = t.Receiver + "." + name
			}
			h.Symbols = append(h.Symbols, t.Package+"."+name)
		case t.Package != "":
			h.Level = max(h.Level, Imported)
		}
	}
	var all []Hit
	for _, h := range hits {
		slices.Sort(h.Symbols)
		h.Symbols = slices.Compact(h.Symbols)
		all = append(all, *h)
	}
	slices.SortFunc(all, func(a, b Hit) int { return cmp.Or(cmp.Compare(a.ID, b.ID), cmp.Compare(a.Module, b.Module)) })
	return all, nil
}
