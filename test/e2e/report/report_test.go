//go:build e2e

package report

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/etcdimg/etcdimg/pkg/audit"
	"github.com/etcdimg/etcdimg/pkg/audit/report"
	"github.com/etcdimg/etcdimg/pkg/audit/report/reporttest"
)

var (
	desk      = view{name: "desk", width: 1280, height: 900}
	deskDark  = view{name: "desk-dark", width: 1280, height: 900, dark: true}
	phone     = view{name: "phone", width: 360, height: 740}
	phoneDark = view{name: "phone-dark", width: 360, height: 740, dark: true}
	paper     = view{name: "paper", width: 700, height: 990, print: true}
)

// reportOf writes the report of a result into a file.
func reportOf(t testing.TB, name string, r *audit.Result) string {
	t.Helper()
	var b bytes.Buffer
	if err := report.Write(&b, r); err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), name+".html")
	writeFile(t, file, b.String())
	return file
}

func writeFile(t testing.TB, name, content string) {
	t.Helper()
	if err := os.WriteFile(name, []byte(content), 0o644); err != nil {
		t.Fatal(err)
	}
}

func TestTheReportShutsNobodyOut(t *testing.T) {
	b := theBrowser(t)
	for _, of := range []struct {
		name   string
		result *audit.Result
		views  []view
	}{
		{"sample", reporttest.Sample(), []view{desk, deskDark, phone, phoneDark}},
		{"bare", reporttest.Bare(), []view{desk, phoneDark}},
		{"hostile", reporttest.Hostile(), []view{deskDark, phone}},
	} {
		file := reportOf(t, of.name, of.result)
		for _, v := range of.views {
			t.Run(of.name+"/"+v.name, func(t *testing.T) {
				p := b.open(t, file, v)
				// What is folded must be right as well.
				for _, state := range []string{"folded", "open"} {
					p.eval(t, fmt.Sprintf("document.querySelectorAll('details').forEach((d) => { d.open = %t })", state == "open"), nil)
					p.picture(t, v.name+"-"+state)
					p.accessible(t)
				}
				p.quiet(t)
			})
		}
	}
}

func TestTheReportWorksWithTheKeyboardAlone(t *testing.T) {
	b := theBrowser(t)
	for _, v := range []view{desk, deskDark, phone} {
		t.Run(v.name, func(t *testing.T) {
			p := b.open(t, reportOf(t, "sample", reporttest.Sample()), v)
			stops := p.stops(t, 200)
			for _, wrong := range checkStops(stops) {
				t.Error(wrong)
			}
			var reachable int
			p.eval(t, "[...document.querySelectorAll('a[href], input, select, summary')].filter((e) => e.checkVisibility()).length", &reachable)
			if len(stops) != reachable {
				t.Errorf("Tab stops %d times, of %d things to work with", len(stops), reachable)
			}
		})
	}
	p := b.open(t, reportOf(t, "sample", reporttest.Sample()), desk)
	p.key(t, "Tab", 9)
	p.key(t, "Enter", 13)
	var at string
	p.eval(t, "document.activeElement.id", &at)
	if at != "report" {
		t.Errorf("the skip link leads to %q", at)
	}
}

// shown are the texts of the first column of the rows that a table shows.
func (p *page) shown(t testing.TB, table string) []string {
	t.Helper()
	var rows []string
	p.eval(t, fmt.Sprintf("[...document.querySelectorAll('#%s tbody tr:not(.about)')].filter((r) => r.checkVisibility()).map((r) => r.cells[0].innerText.split('\\n')[0])", table), &rows)
	return rows
}

func (p *page) search(t testing.TB, id, words string) (count string) {
	t.Helper()
	p.eval(t, fmt.Sprintf("{ const i = document.getElementById(%q); i.value = ''; i.focus(); i.dispatchEvent(new Event('input', {bubbles: true})) }", id), nil)
	if words != "" {
		p.typeText(t, words)
	}
	p.eval(t, fmt.Sprintf("document.getElementById(%q).closest('.filter').querySelector('[role=status]').textContent", id), &count)
	return count
}

func (p *page) choose(t testing.TB, id, value string) {
	t.Helper()
	p.eval(t, fmt.Sprintf("{ const s = document.getElementById(%q); s.value = %q; s.dispatchEvent(new Event('input', {bubbles: true})) }", id, value), nil)
}

func TestPackagesAndVulnerabilitiesAreFound(t *testing.T) {
	b := theBrowser(t)
	p := b.open(t, reportOf(t, "sample", reporttest.Sample()), phone)
	all := p.shown(t, "package-table")
	if count := p.search(t, "package-table-text", ""); count != fmt.Sprintf("%d packages", len(all)) {
		t.Errorf("of %d packages the report says %q", len(all), count)
	}
	if count := p.search(t, "package-table-text", "Golang.org/x bsd"); count != fmt.Sprintf("2 of %d packages", len(all)) {
		t.Errorf("searching says %q", count)
	}
	if got := p.shown(t, "package-table"); !slices.Equal(got, []string{"golang.org/x/crypto", "golang.org/x/net"}) {
		t.Errorf("searching finds %q", got)
	}
	if count := p.search(t, "package-table-text", "no such thing"); !strings.HasPrefix(count, "0 of ") || len(p.shown(t, "package-table")) != 0 {
		t.Errorf("searching for what is not there says %q", count)
	}
	p.search(t, "package-table-text", "")
	p.choose(t, "package-table-choice", "Debian")
	if got := p.shown(t, "package-table"); !slices.Equal(got, []string{"ca-certificates", "libc6", "tzdata"}) {
		t.Errorf("the Debian packages are %q", got)
	}
	p.choose(t, "vulnerability-table-choice", "settled")
	if got := p.shown(t, "vulnerability-table"); !slices.Equal(got, []string{"GO-2025-3487", "GO-2025-3595"}) {
		t.Errorf("settled are %q", got)
	}
	p.choose(t, "vulnerability-table-arch", "s390x")
	if got := p.shown(t, "vulnerability-table"); !slices.Equal(got, []string{"GO-2025-3487"}) {
		t.Errorf("settled on s390x are %q", got)
	}
	// What tells more about a finding comes and goes with it.
	var about int
	p.eval(t, "[...document.querySelectorAll('#vulnerability-table .about')].filter((r) => r.checkVisibility()).length", &about)
	if about != 1 {
		t.Errorf("one finding is shown with %d descriptions", about)
	}
	p.accessible(t)
	p.quiet(t)
}

func TestPaperHasEverything(t *testing.T) {
	b := theBrowser(t)
	file := reportOf(t, "sample", reporttest.Sample())
	const hidden = `[...document.querySelectorAll("main *")].filter((e) => !e.closest(".filter, summary, svg title, svg desc, nav") && !e.matches("summary, svg *") && [...e.childNodes].some((n) => n.nodeType === 3 && n.data.trim()) && !(e.checkVisibility({contentVisibilityAuto: true}) && e.getBoundingClientRect().height > 0)).map((e) => e.localName + ": " + e.textContent.trim().slice(0, 60))`
	for _, noScript := range []bool{false, true} {
		v := paper
		v.noScript = noScript
		p := b.open(t, file, v)
		if !noScript {
			p.search(t, "package-table-text", "no such thing")
		}
		var left []string
		p.eval(t, hidden, &left)
		if len(left) > 0 {
			t.Errorf("without script: %t: not on paper: %q", noScript, left)
		}
		var chrome []string
		p.eval(t, `[...document.querySelectorAll("nav, .filter, .skip, input, select")].filter((e) => e.checkVisibility()).map((e) => e.outerHTML.slice(0, 60))`, &chrome)
		if len(chrome) > 0 {
			t.Errorf("on paper, and of no use there: %q", chrome)
		}
		p.picture(t, fmt.Sprintf("paper-noscript-%t", noScript))
		p.quiet(t)
	}
	// In the dark, too, paper is white.
	v := desk
	v.dark = true
	p := b.open(t, file, v)
	pdf := p.pdf(t)
	pages := bytes.Count(pdf, []byte("/Type /Page\n")) + bytes.Count(pdf, []byte("/Type /Page/")) + bytes.Count(pdf, []byte("/Type /Page "))
	if !bytes.HasPrefix(pdf, []byte("%PDF-")) || pages < 3 {
		t.Errorf("printing gives %d bytes, %d pages", len(pdf), pages)
	}
	var open int
	p.eval(t, "document.querySelectorAll('details[open]').length", &open)
	if open != 0 {
		t.Errorf("after printing %d details stay open", open)
	}
}

func TestTheReportIsWholeWithoutScript(t *testing.T) {
	b := theBrowser(t)
	r := reporttest.Sample()
	v := phone
	v.noScript = true
	p := b.open(t, reportOf(t, "sample", r), v)
	if got := p.shown(t, "vulnerability-table"); len(got) != len(r.Findings) {
		t.Errorf("shown are %q, of %d findings", got, len(r.Findings))
	}
	var filters int
	p.eval(t, "[...document.querySelectorAll('.filter')].filter((e) => e.checkVisibility()).length", &filters)
	if filters != 0 {
		t.Errorf("%d filters are there that do nothing", filters)
	}
	p.accessible(t)
	p.quiet(t)
}

// Markup in a result stays text, and were it not, the browser would run none
// of it: no script but the report's own counts.
func TestHostileTextsStayText(t *testing.T) {
	b := theBrowser(t)
	file := reportOf(t, "hostile", reporttest.Hostile())
	p := b.open(t, file, desk)
	var found struct {
		Title    string
		Images   int
		Scripts  int
		Handlers int
		Links    []string
	}
	p.eval(t, `({
		Title: document.title, Images: document.images.length, Scripts: document.scripts.length,
		Handlers: [...document.querySelectorAll("*")].filter((e) => [...e.attributes].some((a) => a.name.startsWith("on"))).length,
		Links: [...document.links].map((a) => a.protocol).filter((s) => s !== "file:"),
	})`, &found)
	if found.Title == "owned" || found.Images != 0 || found.Scripts != 1 || found.Handlers != 0 || len(found.Links) != 0 {
		t.Errorf("the report has %+v", found)
	}
	p.quiet(t)

	raw, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	breached := filepath.Join(t.TempDir(), "breached.html")
	writeFile(t, breached, strings.Replace(string(raw), "</main>", `<script>document.title = "owned"</script><p onclick="document.title='owned'" id="trap">trap</p><img src="https://elsewhere.example/x.png"></main>`, 1))
	p = b.open(t, breached, desk)
	p.eval(t, "document.getElementById('trap').click()", nil)
	p.eval(t, "document.title", &found.Title)
	if found.Title == "owned" {
		t.Error("a script that is not the report's ran")
	}
	p.b.mu.Lock()
	defer p.b.mu.Unlock()
	if len(p.said) == 0 {
		t.Error("the browser does not complain of what the policy forbids")
	}
}

func TestALargeIndexStaysUsable(t *testing.T) {
	b := theBrowser(t)
	file := reportOf(t, "large", reporttest.Large())
	info, err := os.Stat(file)
	if err != nil {
		t.Fatal(err)
	}
	if info.Size() > 4<<20 {
		t.Errorf("the report has %d bytes", info.Size())
	}
	for _, v := range []view{desk, phone} {
		p := b.open(t, file, v)
		// Packages of four architectures are listed once, and the thousands
		// of changed files are out of the way.
		if got := p.shown(t, "package-table"); len(got) != 400 {
			t.Errorf("%d packages are shown", len(got))
		}
		var files int
		p.eval(t, "[...document.querySelectorAll('.changes tbody tr')].filter((e) => e.checkVisibility()).length", &files)
		if files > 200 {
			t.Errorf("%d changes are shown at once", files)
		}
		if count := p.search(t, "package-table-text", "module-123"); count != "1 of 400 packages" {
			t.Errorf("searching says %q", count)
		}
		p.search(t, "package-table-text", "")
		var over int
		p.eval(t, "document.documentElement.scrollWidth - innerWidth", &over)
		if over > 0 {
			t.Errorf("the report is %d pixels wider than a %s", over, v.name)
		}
		p.picture(t, v.name)
		p.quiet(t)
	}
}
