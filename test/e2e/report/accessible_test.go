//go:build e2e

package report

import (
	_ "embed"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

//go:embed testdata/accessible.js
var accessible string

// fault is one way in which a page shuts somebody out.
type fault struct {
	Rule    string
	At      string
	Element int // its place among all of the document's
	Why     string
}

// faults holds the page against every rule of accessible.js, and against what
// the browser tells assistive technology.
func (p *page) faults(t testing.TB) (rules []string, found []fault) {
	t.Helper()
	var got struct {
		Rules  []string
		Faults []fault
	}
	p.eval(t, accessible, &got)
	return got.Rules, append(got.Faults, p.unnamed(t)...)
}

// accessible asserts that the page has no fault.
func (p *page) accessible(t testing.TB) {
	t.Helper()
	rules, found := p.faults(t)
	if len(rules) < 15 {
		t.Errorf("only the rules %v were looked at", rules)
	}
	for i, f := range found {
		if i == 20 {
			t.Errorf("… and %d more", len(found)-i)
			break
		}
		t.Errorf("%s: %s: %s", f.Rule, f.At, f.Why)
	}
}

// unnamed looks at the accessibility tree as Chromium computes it: whatever
// can be worked with, and every table, needs a name there, and every table that
// is drawn must be one there.
func (p *page) unnamed(t testing.TB) []fault {
	t.Helper()
	type value struct{ Value any }
	var tree struct {
		Nodes []struct {
			Ignored bool
			Role    value
			Name    value
		}
	}
	if err := p.b.call(p.session, "Accessibility.getFullAXTree", struct{}{}, &tree); err != nil {
		t.Fatal(err)
	}
	needs := []string{"link", "button", "searchbox", "textbox", "combobox", "checkbox", "table", "img", "image", "navigation", "region", "DisclosureTriangle", "columnheader", "rowheader"}
	var found []fault
	tables := 0
	for _, n := range tree.Nodes {
		role := fmt.Sprint(n.Role.Value)
		if n.Ignored || !slices.Contains(needs, role) {
			continue
		}
		if role == "table" {
			tables++
		}
		if name, _ := n.Name.Value.(string); strings.TrimSpace(name) == "" {
			found = append(found, fault{Rule: "name", At: role, Element: -1, Why: "has no name in the accessibility tree"})
		}
	}
	var drawn int
	p.eval(t, "[...document.querySelectorAll('table')].filter((t) => t.checkVisibility()).length", &drawn)
	if drawn != tables {
		found = append(found, fault{Rule: "name", At: "page", Element: -1, Why: fmt.Sprintf("%d tables are drawn, the accessibility tree has %d", drawn, tables)})
	}
	return found
}

// stop is one element on the way of the Tab key.
type stop struct {
	At      string
	Place   int // in the document's order
	Outline float64
	Ratio   float64 // contrast of the mark
	Visible bool
}

const whereFocus = `(() => {
  const e = document.activeElement;
  if (!e || e === document.body) return {Place: -1};
  const s = getComputedStyle(e), r = e.getBoundingClientRect();
  const nums = (c) => c.match(/[\d.]+/g).map(Number);
  const lum = (c) => { const [r, g, b] = c.slice(0, 3).map((v) => ((v /= 255) <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4)); return 0.2126 * r + 0.7152 * g + 0.0722 * b; };
  let ground = null;
  for (let at = e.parentElement; at && !ground; at = at.parentElement) { const c = nums(getComputedStyle(at).backgroundColor); if (c.length < 4 || c[3] === 1) ground = c; }
  const [hi, lo] = [lum(nums(s.outlineColor)), lum(ground || [255, 255, 255])].sort((a, b) => b - a);
  return {
    At: e.localName + (e.id ? "#" + e.id : "") + " " + (e.textContent || "").trim().slice(0, 30),
    Place: [...document.querySelectorAll("*")].indexOf(e),
    Outline: s.outlineStyle === "none" ? 0 : parseFloat(s.outlineWidth),
    Ratio: (hi + 0.05) / (lo + 0.05),
    Visible: r.width > 1 && r.height > 1 && r.bottom > 0 && r.right > 0 && r.top < innerHeight && r.left < innerWidth,
  };
})()`

// stops presses Tab from the page's beginning until the focus leaves the page,
// or the limit.
func (p *page) stops(t testing.TB, limit int) []stop {
	t.Helper()
	var all []stop
	for range limit {
		p.key(t, "Tab", 9)
		var s stop
		p.eval(t, whereFocus, &s)
		if s.Place < 0 || len(all) > 0 && s.Place == all[0].Place {
			break
		}
		all = append(all, s)
	}
	return all
}

// checkStops says what is wrong with the way of the focus.
func checkStops(all []stop) []string {
	var wrong []string
	last := -1
	for _, s := range all {
		if s.Place < last {
			wrong = append(wrong, s.At+": comes after what follows it")
		}
		if s.Outline < 2 || s.Ratio < 3 {
			wrong = append(wrong, fmt.Sprintf("%s: the mark of the focus is %.0f pixels wide, with %.1f:1", s.At, s.Outline, s.Ratio))
		}
		if !s.Visible {
			wrong = append(wrong, s.At+": has the focus, and can not be seen")
		}
		last = s.Place
	}
	return wrong
}

// A checker that finds nothing anywhere would pass every page: this one has
// one element for each way of being wrong, and says so.
func TestTheCheckerFindsWhatIsWrong(t *testing.T) {
	b := theBrowser(t)
	file, err := filepath.Abs("testdata/broken.html")
	if err != nil {
		t.Fatal(err)
	}
	p := b.open(t, file, view{width: 800, height: 600})
	var marked []struct {
		Element int
		Rules   string
	}
	p.eval(t, "[...document.querySelectorAll('*')].map((e, i) => ({Element: i, Rules: e.dataset.fault || ''})).filter((e) => e.Rules)", &marked)
	want := map[string]bool{}
	for _, m := range marked {
		for rule := range strings.FieldsSeq(m.Rules) {
			want[fmt.Sprintf("%s %d", rule, m.Element)] = true
		}
	}
	rules, found := p.faults(t)
	got := map[string]bool{}
	for _, f := range found {
		if f.Element < 0 {
			got[f.Rule] = true
			continue
		}
		key := fmt.Sprintf("%s %d", f.Rule, f.Element)
		got[key] = true
		if !want[key] {
			t.Errorf("finds what is not wrong: %s: %s: %s", f.Rule, f.At, f.Why)
		}
	}
	for key := range want {
		if !got[key] {
			t.Errorf("does not find the fault %s (the element's place in the document)", key)
		}
	}
	for _, rule := range rules {
		if !slices.ContainsFunc(found, func(f fault) bool { return f.Rule == rule }) {
			t.Errorf("the rule %s is not broken by testdata/broken.html", rule)
		}
	}
	if !got["name"] {
		t.Error("the accessibility tree's missing names are not found")
	}
	if wrong := checkStops(p.stops(t, 30)); !slices.ContainsFunc(wrong, func(s string) bool { return strings.Contains(s, "comes after") }) {
		t.Errorf("the focus out of order is not found: %q", wrong)
	}
}

// The console and the network are really listened to.
func TestTheBrowserHearsWhatAPageDoes(t *testing.T) {
	b := theBrowser(t)
	file := filepath.Join(t.TempDir(), "loud.html")
	writeFile(t, file, `<!doctype html><title>Loud</title><link rel=stylesheet href="http://styles.example/x.css"><img src="http://pictures.example/x.png"><script>console.error("oh"); nothing.there()</script>`)
	p := b.open(t, file, view{width: 800, height: 600})
	b.mu.Lock()
	defer b.mu.Unlock()
	if len(p.requests) != 2 || len(p.said) < 2 {
		t.Errorf("heard the requests %q and on the console %q", p.requests, p.said)
	}
}
