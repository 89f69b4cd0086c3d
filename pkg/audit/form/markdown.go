package form

import (
	"cmp"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/etcdimg/etcdimg/pkg/audit"
)

// Markdown writes the result for a pull request: GitHub's dialect, with tables.
func Markdown(w io.Writer, r *audit.Result) error {
	p := &printer{w: w}
	p.f("## Audit of `%s`\n\n", code(r.Reference))
	p.f("%s, digest `%s`: %s.\n\n", cell(cmp.Or(r.Title, "An image")), r.Digest, counts(r))
	for _, d := range r.Databases {
		p.f("- Database `%s` of %s (%s), %d records\n", code(d.Source), d.Date.Format(time.DateOnly), cell(d.DateFrom), d.Records)
	}
	for _, g := range r.NotJudged {
		p.f("- **Not judged:** %s: %s\n", cell(g.What), cell(g.Reason))
	}
	p.f("\n")
	if len(r.Databases) > 0 {
		markdownFindings(p, r)
	}
	if r.Policy != nil {
		markdownPolicy(p, r.Policy)
	}
	if s := r.Since; s != nil {
		p.f("### Since `%s`\n\n%d changes; new findings: %s; gone: %s.\n", code(s.Reference), len(s.Changes), cell(cmp.Or(strings.Join(s.New, ", "), "none")), cell(cmp.Or(strings.Join(s.Gone, ", "), "none")))
	}
	return p.err
}

func markdownFindings(p *printer, r *audit.Result) {
	if len(r.Findings) == 0 {
		p.f("### Findings\n\nNone.\n\n")
		return
	}
	p.f("### Findings\n\n| | Vulnerability | Severity | Reach | Package | Right in | Status |\n|---|---|---|---|---|---|---|\n")
	for _, f := range r.Findings {
		mark, status := "", ""
		if f.Open {
			mark = "open"
		}
		if f.VEX != nil {
			status = strings.ReplaceAll(f.VEX.Status, "_", " ") + " (" + f.VEX.From + ")"
		}
		if e := f.Exception; e != nil {
			status += "; excepted until " + e.Expires + ": " + e.Reason
			if e.Expired {
				status += " (expired)"
			}
		}
		id := cell(f.ID)
		if strings.HasPrefix(f.URL, "https://") && !strings.ContainsAny(f.URL, "()<> |") {
			id = fmt.Sprintf("[%s](%s)", id, f.URL)
		}
		p.f("| %s | %s %s | %s | %s | %s %s | %s | %s |\n", mark, id, cell(f.Summary), f.Severity, f.Reachability, cell(f.Package), cell(f.Installed), cell(f.Fixed), cell(status))
	}
	p.f("\n")
}

func markdownPolicy(p *printer, pol *audit.Policy) {
	verdict := "holds"
	if pol.Broken {
		verdict = "is **broken**"
	}
	p.f("### Policy\n\n`%s` %s. Rules: %s.\n\n", code(pol.Source), verdict, cell(cmp.Or(strings.Join(pol.Rules, ", "), "none")))
	if len(pol.Breaks) == 0 {
		return
	}
	p.f("| Rule | Subject | Expected | Found | Exception |\n|---|---|---|---|---|\n")
	for _, b := range pol.Breaks {
		e := ""
		if b.Exception != nil {
			e = "until " + b.Exception.Expires + ": " + b.Exception.Reason
			if b.Exception.Expired {
				e = "expired, " + e
			}
		}
		p.f("| %s | %s | %s | %s | %s |\n", cell(b.Rule), cell(b.Subject), cell(b.Expected), cell(b.Found), cell(e))
	}
	p.f("\n")
}

// cell is text by strangers in a table: on one line, and nothing but text.
func cell(s string) string {
	return strings.NewReplacer("|", `\|`, "<", "&lt;", ">", "&gt;", "`", "'", "[", `\[`, "]", `\]`, "*", `\*`, "_", `\_`).Replace(oneLine(s))
}

func code(s string) string { return strings.ReplaceAll(oneLine(s), "`", "'") }
