package report

import (
	"fmt"
	"path"
	"slices"
	"strings"

	"github.com/etcdimg/etcdimg/pkg/audit"
)

// finding is a vulnerability with its states in words.
type finding struct {
	audit.Finding
	Anchor   string
	Link     string // where people read about it; empty for what is no web address
	Severity mark
	Reach    mark
	Reached  string // what the reach means
	Settled  mark
	Why      []string // the state, in words
	In       []string // names of binaries
	Every    bool     // image has it
}

// findings puts what is open first; within, it stays worst first.
func (p *page) findings() []finding {
	var all []finding
	for i, f := range p.Result.Findings {
		v := finding{Finding: f, Anchor: fmt.Sprintf("finding-%d", i+1), Severity: severity(f.Severity), Every: p.everywhere(f.Archs)}
		if strings.HasPrefix(f.URL, "https://") || strings.HasPrefix(f.URL, "http://") {
			v.Link = f.URL
		}
		v.Reach, v.Reached = reach(f.Reachability)
		v.Settled, v.Why = settled(f)
		for _, file := range f.Files {
			v.In = add(v.In, path.Base(file))
		}
		all = append(all, v)
	}
	slices.SortStableFunc(all, func(a, b finding) int {
		switch {
		case a.Open == b.Open:
			return 0
		case a.Open:
			return -1
		}
		return 1
	})
	return all
}

func severity(s audit.Severity) mark {
	tones := map[audit.Severity]string{audit.Critical: "bad", audit.High: "bad", audit.Medium: "warn", audit.Low: "info", audit.Negligible: "plain"}
	if tone, ok := tones[s]; ok {
		return mark{"severity-" + string(s), tone, sentence(string(s))}
	}
	return mark{"severity-unknown", "plain", "Not rated"}
}

func reach(r audit.Reachability) (mark, string) {
	switch r {
	case audit.Called:
		return mark{"called", "bad", "Called"}, "vulnerable functions are in the binary"
	case audit.Imported:
		return mark{"imported", "warn", "Imported"}, "the vulnerable package is in the binary, its vulnerable functions are not"
	case audit.Required:
		return mark{"required", "plain", "Required"}, "the module is named by the binary, the vulnerable package is not in it"
	case audit.PackageLevel:
		return mark{"installed", "plain", "Installed"}, "whether its code runs was not looked at"
	}
	return mark{"reach-unknown", "plain", "Reach not known"}, string(r)
}

// settled is where a finding stands, and by whose word.
func settled(f audit.Finding) (mark, []string) {
	var why []string
	m := mark{"open", "bad", "Open"}
	if !f.Open {
		m = mark{"settled", "good", "Settled"}
	}
	if v := f.VEX; v != nil {
		switch v.Status {
		case "not_affected":
			m = mark{"not-affected", "good", "Not affected"}
		case "fixed":
			m = mark{"fixed", "good", "Fixed"}
		case "affected":
			m = mark{"affected", "bad", "Affected"}
		case "under_investigation":
			m = mark{"under-investigation", "warn", "Under investigation"}
		}
		if v.Justification != "" {
			why = append(why, sentence(strings.ReplaceAll(v.Justification, "_", " ")))
		}
		if v.Statement != "" {
			why = append(why, v.Statement)
		}
		by := "said by " + v.From
		if v.Author != "" && v.Author != v.From {
			by += ", " + v.Author
		}
		why = append(why, by+" on "+date(v.Timestamp))
	}
	if e := f.Exception; e != nil {
		if !e.Expired {
			m = mark{"excepted", "info", "Excepted"}
		}
		why = append(why, excepted(*e))
	}
	return m, why
}

func excepted(e audit.Exception) string {
	if e.Expired {
		return fmt.Sprintf("its exception expired on %s: %s (line %d of the policy)", e.Expires, e.Reason, e.Line)
	}
	return fmt.Sprintf("excepted until %s: %s (line %d of the policy)", e.Expires, e.Reason, e.Line)
}

// severities counts the open findings: "1 high, 2 medium".
func severities(all []finding) string {
	var parts []string
	for _, s := range []audit.Severity{audit.Critical, audit.High, audit.Medium, audit.Low, audit.Negligible, audit.Unknown} {
		n := 0
		want := severity(s)
		for _, f := range all {
			if f.Open && f.Severity == want {
				n++
			}
		}
		if n > 0 {
			parts = append(parts, fmt.Sprintf("%d %s", n, strings.ToLower(want.Text)))
		}
	}
	return strings.Join(parts, ", ")
}

// sentence starts with a capital letter.
func sentence(s string) string {
	if s == "" {
		return s
	}
	return strings.ToUpper(s[:1]) + s[1:]
}
