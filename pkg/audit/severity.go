package audit

import (
	"slices"
	"strings"

	gocvss20 "github.com/pandatix/go-cvss/20"
	gocvss30 "github.com/pandatix/go-cvss/30"
	gocvss31 "github.com/pandatix/go-cvss/31"
	gocvss40 "github.com/pandatix/go-cvss/40"

	"github.com/etcdimg/etcdimg/pkg/audit/osv"
)

// order is the severities, worst first.
var order = []Severity{Critical, High, Medium, Low, Negligible, Unknown}

// words are what databases call severities: GitHub's, Debian's urgencies.
var words = map[string]Severity{
	"critical": Critical, "high": High, "moderate": Medium, "medium": Medium, "low": Low,
	"unimportant": Negligible, "negligible": Negligible,
}

// severityOf is how bad a record says that it is for a package. Debian's
// security team has looked at what it calls unimportant; else a CVSS vector
// tells more than a word.
func severityOf(r *osv.Record, parts []osv.Affected) (s Severity, vector string) {
	var word Severity
	scores := slices.Clone(r.Severity)
	for _, a := range parts {
		scores = append(scores, a.Severity...)
		for _, w := range []string{a.EcosystemSpecific.Urgency, a.EcosystemSpecific.Severity} {
			if found, ok := words[strings.ToLower(strings.TrimRight(w, "*"))]; ok {
				word = found
			}
		}
	}
	if word == Negligible {
		return word, ""
	}
	for _, score := range scores {
		base, ok := cvss(score.Score)
		if found := rating(base); ok && (s == "" || slices.Index(order, found) < slices.Index(order, s)) {
			s, vector = found, score.Score
		}
	}
	if s != "" {
		return s, vector
	}
	if found, ok := words[strings.ToLower(r.DatabaseSpecific.Severity)]; ok {
		return found, ""
	}
	if word != "" {
		return word, ""
	}
	return Unknown, ""
}

// cvss is the base score of a vector of any version of CVSS.
func cvss(vector string) (float64, bool) {
	switch {
	case strings.HasPrefix(vector, "CVSS:4.0/"):
		if v, err := gocvss40.ParseVector(vector); err == nil {
			return v.Score(), true
		}
	case strings.HasPrefix(vector, "CVSS:3.1/"):
		if v, err := gocvss31.ParseVector(vector); err == nil {
			return v.BaseScore(), true
		}
	case strings.HasPrefix(vector, "CVSS:3.0/"):
		if v, err := gocvss30.ParseVector(vector); err == nil {
			return v.BaseScore(), true
		}
	default:
		if v, err := gocvss20.ParseVector(vector); err == nil {
			return v.BaseScore(), true
		}
	}
	return 0, false
}

// rating is the word for a score (CVSS v3.1, table 14).
func rating(score float64) Severity {
	switch {
	case score >= 9:
		return Critical
	case score >= 7:
		return High
	case score >= 4:
		return Medium
	case score > 0:
		return Low
	}
	return Negligible
}
