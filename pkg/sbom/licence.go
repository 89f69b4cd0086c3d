package sbom

import (
	"crypto/sha256"
	"encoding/hex"
	"path"
	"regexp"
	"slices"
	"strings"

	"github.com/github/go-spdx/v2/spdxexp"
	"github.com/google/licensecheck"
)

// licences is what is known of the licences of one package.
type licences struct {
	Expression string            `json:"expression"`          // SPDX licence expression; empty where nothing is known
	Texts      map[string]string `json:"texts,omitempty"`     // of the LicenseRef-… in it
	Copyright  string            `json:"copyright,omitempty"` // notices, one on a line
}

// ValidLicence says whether s is an SPDX licence expression.
func ValidLicence(s string) bool {
	if s == "" {
		return false
	}
	ok, _ := spdxexp.ValidateLicenses([]string{s})
	return ok
}

// isLicenceFile tells a module's licence files from its others, by name.
var isLicenceFile = regexp.MustCompile(`(?i)^((un)?licen[cs]e|copying|mit-license)([-._][^/]*)?$`).MatchString

// readLicences makes one expression of licence files, by name. Where there are
// several licences all of them hold.
func readLicences(files map[string]string) licences {
	all := newConjunction()
	var notices []string
	for _, name := range sortedKeys(files) {
		text := files[name]
		all.addText(strings.TrimSuffix(path.Base(name), path.Ext(name)), text)
		notices = append(notices, copyrights(text)...)
	}
	l := all.licences()
	slices.Sort(notices)
	l.Copyright = strings.Join(slices.Compact(notices), "\n")
	return l
}

// conjunction is a growing list of licences that all hold.
type conjunction struct {
	terms map[string]bool
	texts map[string]string
}

func newConjunction() *conjunction {
	return &conjunction{terms: map[string]bool{}, texts: map[string]string{}}
}

// add adds an expression's terms, each choice in one order.
func (c *conjunction) add(expression string) {
	terms := splitAnd(unparen(expression))
	if len(terms) == 1 {
		choices := strings.Split(terms[0], " OR ")
		if !strings.Contains(terms[0], "(") {
			slices.Sort(choices)
			choices = slices.Compact(choices)
		}
		c.terms[strings.Join(choices, " OR ")] = true
		return
	}
	for _, t := range terms {
		c.add(t)
	}
}

// addText adds the licences that a text is; a text that is none of the known
// ones is a licence of its own.
func (c *conjunction) addText(name, text string) {
	found := false
	for _, m := range licensecheck.Scan([]byte(text)).Match {
		if m.IsURL {
			continue
		}
		found = true
		if id, ok := spdxID(m.ID); ok {
			c.terms[id] = true
		} else {
			c.addOwn(m.ID, text[m.Start:m.End])
		}
	}
	if !found && strings.TrimSpace(text) != "" {
		c.addOwn(name, text)
	}
}

// addOwn adds a licence that SPDX has no name for, and returns its reference.
func (c *conjunction) addOwn(name, text string) string {
	ref := reference(name, text)
	c.terms[ref] = true
	c.texts[ref] = strings.TrimSpace(text)
	return ref
}

func (c *conjunction) licences() licences {
	l := licences{Expression: conjoin(sortedKeys(c.terms))}
	for ref, text := range c.texts {
		if strings.Contains(l.Expression, ref) {
			if l.Texts == nil {
				l.Texts = map[string]string{}
			}
			l.Texts[ref] = text
		}
	}
	return l
}

// conjoin is an expression in which all of the terms hold.
func conjoin(terms []string) string {
	if len(terms) == 1 {
		return terms[0]
	}
	out := make([]string, len(terms))
	for i, t := range terms {
		if strings.Contains(t, " OR ") {
			t = "(" + t + ")"
		}
		out[i] = t
	}
	return strings.Join(out, " AND ")
}

// reference is the name of a licence that SPDX has no name for: the same name
// with another text is another licence.
func reference(name, text string) string {
	sum := sha256.Sum256([]byte(strings.Join(strings.Fields(text), " ")))
	return "LicenseRef-" + idString(name) + "-" + hex.EncodeToString(sum[:4])
}

var notIDString = regexp.MustCompile(`[^A-Za-z0-9.]+`)

// idString is what may stand in an SPDX identifier.
func idString(s string) string {
	s = strings.Trim(notIDString.ReplaceAllString(s, "-"), "-.")
	if s == "" {
		return "unnamed"
	}
	return s[:min(len(s), 80)]
}

// withoutSuffix are the licences of which a text alone does not say whether
// later versions may be chosen: then it is this one.
var withoutSuffix = regexp.MustCompile(`^(A?GPL|LGPL|GFDL)-[0-9.]+$`)

// spdxID is a licence's name in the SPDX list, where it has one that is not
// out of use.
func spdxID(id string) (string, bool) {
	if withoutSuffix.MatchString(id) {
		id += "-only"
	}
	ok, id := spdxexp.ActiveLicense(id)
	return id, ok
}

// copyrightLine is a notice as it stands in licences: with a year, so that
// talk about notices is none.
var copyrightLine = regexp.MustCompile(`(?mi)^[ \t/*#;-]*(copyright\b[^\n]*\d{4}[^\n]*|©[^\n]*\d{4}[^\n]*)$`)

func copyrights(text string) []string {
	var found []string
	for _, m := range copyrightLine.FindAllStringSubmatch(text, -1) {
		if line := strings.Join(strings.Fields(m[1]), " "); !strings.Contains(line, "[yyyy]") && len(line) < 200 {
			found = append(found, line)
		}
	}
	return found
}

// merge makes one of the licences of several things.
func merge(all ...licences) licences {
	c := newConjunction()
	var notices []string
	for _, l := range all {
		if l.Expression == "" {
			continue
		}
		c.add(l.Expression)
		for ref, text := range l.Texts {
			c.texts[ref] = text
		}
		if l.Copyright != "" {
			notices = append(notices, strings.Split(l.Copyright, "\n")...)
		}
	}
	out := c.licences()
	slices.Sort(notices)
	out.Copyright = strings.Join(slices.Compact(notices), "\n")
	return out
}

// splitAnd undoes conjoin.
func splitAnd(expression string) []string {
	var terms []string
	depth, from := 0, 0
	for i := 0; i < len(expression); i++ {
		switch {
		case expression[i] == '(':
			depth++
		case expression[i] == ')':
			depth--
		case depth == 0 && strings.HasPrefix(expression[i:], " AND "):
			terms = append(terms, unparen(expression[from:i]))
			from = i + len(" AND ")
		}
	}
	return append(terms, unparen(expression[from:]))
}

// unparen takes the parentheses off that stand around all of an expression.
func unparen(s string) string {
	if !strings.HasPrefix(s, "(") {
		return s
	}
	depth := 0
	for i, r := range s {
		switch r {
		case '(':
			depth++
		case ')':
			depth--
		}
		if depth == 0 && i < len(s)-1 {
			return s
		}
	}
	return unparen(s[1 : len(s)-1])
}

func sortedKeys[V any](m map[string]V) []string {
	keys := make([]string, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return keys
}
