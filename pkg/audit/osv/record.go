// Package osv reads databases of vulnerabilities in the OSV format (OSV schema
// 1.x): out of a folder, an archive, or a file that an address leads to. It
// keeps what it read by the digest of what it was read from, so that the next
// look-up parses nothing.
//
// A database that is broken, empty or of something else is an error: an answer
// of "nothing known" is only ever given by records that were read. The package
// must not know images, nor compare versions by itself.
package osv

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"
)

// Record is one vulnerability: what is used of an OSV record.
type Record struct {
	ID        string    `json:"id"`
	Modified  time.Time `json:"modified,omitzero"`
	Withdrawn time.Time `json:"withdrawn,omitzero"`
	Aliases   []string  `json:"aliases,omitempty"`
	// Upstream are the vulnerabilities that it was made of: Debian's records
	// name their CVE here.
	Upstream         []string    `json:"upstream,omitempty"`
	Related          []string    `json:"related,omitempty"`
	Summary          string      `json:"summary,omitempty"`
	Details          string      `json:"details,omitempty"`
	Severity         []Score     `json:"severity,omitempty"`
	Affected         []Affected  `json:"affected"`
	References       []Reference `json:"references,omitempty"`
	DatabaseSpecific struct {
		URL      string `json:"url,omitempty"`
		Severity string `json:"severity,omitempty"`
	} `json:"database_specific,omitzero"`
}

// Score is a severity by some rule book.
type Score struct {
	Type  string `json:"type"`  // CVSS_V2, CVSS_V3, CVSS_V4, Ubuntu
	Score string `json:"score"` // a vector
}

// Reference leads to more.
type Reference struct {
	Type string `json:"type"`
	URL  string `json:"url"`
}

// Affected are the versions of one package that have it.
type Affected struct {
	Package struct {
		Ecosystem string `json:"ecosystem"` // Go, Debian:13
		Name      string `json:"name"`
		Purl      string `json:"purl,omitempty"`
	} `json:"package"`
	Ranges            []Range  `json:"ranges,omitempty"`
	Versions          []string `json:"versions,omitempty"`
	Severity          []Score  `json:"severity,omitempty"`
	EcosystemSpecific struct {
		Urgency  string  `json:"urgency,omitempty"`  // Debian's: not yet assigned, unimportant, low, medium, high, end-of-life
		Severity string  `json:"severity,omitempty"` // some others'
		Imports  Imports `json:"imports,omitempty"`
	} `json:"ecosystem_specific,omitzero"`
}

// Imports are the Go packages that have the vulnerable code.
type Imports []struct {
	Path    string   `json:"path"`
	Symbols []string `json:"symbols,omitempty"`
}

// Range is where versions get it and lose it again.
type Range struct {
	Type   string  `json:"type"` // SEMVER, ECOSYSTEM, GIT
	Events []Event `json:"events"`
}

// Event is a version at which something changes. One of the fields is set.
type Event struct {
	Introduced   string `json:"introduced,omitempty"`
	Fixed        string `json:"fixed,omitempty"`
	LastAffected string `json:"last_affected,omitempty"`
	Limit        string `json:"limit,omitempty"`
}

func (e Event) version() string {
	for _, v := range []string{e.Introduced, e.Fixed, e.LastAffected, e.Limit} {
		if v != "" {
			return v
		}
	}
	return ""
}

// maxRecord bounds one record, in bytes.
const maxRecord = 16 << 20

// ErrForeign says that something is no OSV record.
var ErrForeign = errors.New("no OSV record")

// Parse reads one record. JSON of another kind is ErrForeign.
func Parse(b []byte) (*Record, error) {
	if len(b) > maxRecord {
		return nil, fmt.Errorf("larger than %d bytes", maxRecord)
	}
	var r Record
	if err := json.Unmarshal(b, &r); err != nil {
		var syntax *json.SyntaxError
		if errors.As(err, &syntax) {
			return nil, fmt.Errorf("broken JSON: %w", err)
		}
		return nil, fmt.Errorf("%w: %w", ErrForeign, err)
	}
	if r.ID == "" {
		return nil, fmt.Errorf("%w: it has no id", ErrForeign)
	}
	if strings.ContainsAny(r.ID, " \t\r\n/\\") {
		return nil, fmt.Errorf("%w: the id %q", ErrForeign, r.ID)
	}
	if len(r.Affected) == 0 && r.Withdrawn.IsZero() {
		return nil, fmt.Errorf("%w: %s names nothing that it affects", ErrForeign, r.ID)
	}
	for _, a := range r.Affected {
		for _, rg := range a.Ranges {
			for _, e := range rg.Events {
				if e.version() == "" {
					return nil, fmt.Errorf("%w: %s has an event without a version", ErrForeign, r.ID)
				}
			}
		}
	}
	return &r, nil
}

// Of are the parts of the record about a package of an ecosystem.
func (r *Record) Of(ecosystem, name string) []Affected {
	var found []Affected
	for _, a := range r.Affected {
		if a.Package.Ecosystem == ecosystem && a.Package.Name == name {
			found = append(found, a)
		}
	}
	return found
}

// Names are all identifiers of the vulnerability, the record's first.
func (r *Record) Names() []string {
	all := []string{r.ID}
	for _, s := range slices.Concat(r.Aliases, r.Upstream) {
		if s != "" && !slices.Contains(all, s) {
			all = append(all, s)
		}
	}
	return all
}

// Has says whether a version is affected, by the OSV schema's algorithm, and
// the first version after it that is not; empty for none. compare orders
// versions as the ecosystem does.
func (a *Affected) Has(version string, compare func(a, b string) int) (affected bool, fixed string) {
	for _, v := range a.Versions {
		if v == version || compare(v, version) == 0 {
			affected = true
		}
	}
	known := len(a.Versions) > 0
	for _, r := range a.Ranges {
		if r.Type == "GIT" {
			continue
		}
		known = true
		in, fix := r.has(version, compare)
		if in {
			affected = true
			if fixed == "" || fix != "" && compare(fix, fixed) < 0 {
				fixed = fix
			}
		}
	}
	// Neither versions nor ranges: all of them.
	return affected || !known, fixed
}

func (r *Range) has(version string, compare func(a, b string) int) (affected bool, fixed string) {
	events := slices.Clone(r.Events)
	order := func(x, y string) int {
		switch {
		case x == y:
			return 0
		case x == "0": // before everything
			return -1
		case y == "0":
			return 1
		}
		return compare(x, y)
	}
	slices.SortStableFunc(events, func(x, y Event) int { return order(x.version(), y.version()) })
	for _, e := range events {
		switch {
		case e.Introduced != "":
			if order(e.Introduced, version) <= 0 {
				affected = true
			}
		case e.Fixed != "":
			if order(e.Fixed, version) <= 0 {
				affected = false
			} else if affected && fixed == "" {
				fixed = e.Fixed
			}
		case e.LastAffected != "":
			if order(e.LastAffected, version) < 0 {
				affected = false
			}
		}
	}
	if !affected {
		fixed = ""
	}
	return affected, fixed
}
