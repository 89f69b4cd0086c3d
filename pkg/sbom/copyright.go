package sbom

import (
	"regexp"
	"strings"
)

// readCopyright makes an expression of a Debian package's copyright file: of
// its License fields where it is in the machine-readable form (DEP 5), else of
// the licences that stand in it or that it names by their place below
// /usr/share/common-licenses.
func readCopyright(text string) licences {
	all := newConjunction()
	if paragraphs := licenceParagraphs(text); len(paragraphs) > 0 {
		texts := map[string]string{}
		for _, p := range paragraphs {
			if len(p.text) > len(texts[p.name]) {
				texts[p.name] = p.text
			}
		}
		for _, p := range paragraphs {
			all.add(all.debian(p.name, texts[p.name]))
		}
	} else {
		for _, name := range commonLicences(text) {
			all.terms[name] = true
		}
		if len(all.terms) == 0 {
			all.addText("copyright", text)
		}
	}
	l := all.licences()
	l.Copyright = strings.Join(copyrights(text), "\n")
	return l
}

// licenceParagraph is a License field: its first line, and the rest.
type licenceParagraph struct{ name, text string }

var licenceField = regexp.MustCompile(`(?mi)^License:[ \t]*(.*)\n((?:[ \t].*(?:\n|$))*)`)

func licenceParagraphs(text string) []licenceParagraph {
	var found []licenceParagraph
	for _, m := range licenceField.FindAllStringSubmatch(text+"\n", -1) {
		name := strings.TrimSpace(m[1])
		var b strings.Builder
		for line := range strings.Lines(m[2]) {
			line = strings.TrimSpace(line)
			if line == "." {
				line = ""
			}
			b.WriteString(line + "\n")
		}
		body := strings.TrimSpace(b.String())
		if name == "" { // an old habit: the name on the next line
			name, body, _ = strings.Cut(body, "\n")
		}
		if name != "" && !strings.EqualFold(name, "none") {
			found = append(found, licenceParagraph{name, body})
		}
	}
	return found
}

var (
	orWord  = regexp.MustCompile(`(?i),?\s+(?:and/or|or)\s+`)
	andWord = regexp.MustCompile(`(?i)(?:,\s*|\s+)and\s+`)
)

// debian turns a License field's first line into an SPDX expression. A comma
// before a word binds less tightly than one without; where it matters here,
// "or" stands within what "and" joins, after "A or B, and C".
func (c *conjunction) debian(name, text string) string {
	if ref, ok := debianID(name); ok {
		return ref
	}
	join := func(parts []string, word string) string {
		for i, p := range parts {
			parts[i] = c.debian(p, text)
			if word == " AND " && strings.Contains(parts[i], " OR ") || word == " OR " && strings.Contains(parts[i], " AND ") {
				parts[i] = "(" + parts[i] + ")"
			}
		}
		return strings.Join(parts, word)
	}
	if before, after, ok := cutLast(name, ", and "); ok {
		return join([]string{before, after}, " AND ")
	}
	if parts := orWord.Split(name, -1); len(parts) > 1 {
		return join(parts, " OR ")
	}
	if parts := andWord.Split(name, -1); len(parts) > 1 {
		return join(parts, " AND ")
	}
	if text == "" {
		text = name
	}
	ref := reference(name, text)
	c.texts[ref] = text
	return ref
}

func cutLast(s, sep string) (before, after string, ok bool) {
	if i := strings.LastIndex(s, sep); i >= 0 {
		return s[:i], s[i+len(sep):], true
	}
	return s, "", false
}

// debianNames are DEP 5's short names that SPDX spells otherwise, in lower case.
var debianNames = map[string]string{
	"expat": "MIT", "mit/x11": "MIT", "x11": "X11", "zlib": "Zlib", "bsl-1": "BSL-1.0", "mpl-2": "MPL-2.0",
	"artistic": "Artistic-1.0-Perl", "artistic-1": "Artistic-1.0", "artistic-2": "Artistic-2.0", "perl": "Artistic-1.0-Perl OR GPL-1.0-or-later",
	"apache-2": "Apache-2.0", "bsd-4-clause-uc": "BSD-4-Clause-UC", "python": "PSF-2.0", "w3c": "W3C",
	"gpl": "GPL-1.0-or-later", "lgpl": "LGPL-2.0-or-later", "gfdl": "GFDL-1.1-or-later",
	"cc0": "CC0-1.0", "isc": "ISC", "bsd-3": "BSD-3-Clause", "bsd-2": "BSD-2-Clause", "bsd": "BSD-3-Clause",
}

var versioned = regexp.MustCompile(`^(A?GPL|LGPL|GFDL|LGPLv|GPLv)-?([0-9]+(?:\.[0-9]+)?)(\+?)$`)

// debianID is the SPDX name of one of Debian's short names.
func debianID(name string) (string, bool) {
	name = strings.Trim(strings.TrimSpace(name), ",;")
	if id, ok := debianNames[strings.ToLower(name)]; ok {
		return id, true
	}
	if m := versioned.FindStringSubmatch(name); m != nil {
		number := m[2]
		if !strings.Contains(number, ".") {
			number += ".0"
		}
		suffix := "-only"
		if m[3] == "+" {
			suffix = "-or-later"
		}
		return spdxID(strings.TrimSuffix(m[1], "v") + "-" + number + suffix)
	}
	return spdxID(name)
}

var (
	commonLicence = regexp.MustCompile(`/usr/share/common-licenses/([A-Za-z0-9][A-Za-z0-9.+-]*)`)
	laterVersion  = regexp.MustCompile(`(?i)any\s+later\s+version|or\s+later`)
)

// commonLicences are the licences that a text names by their place. Whether a
// later version may be chosen it says in words.
func commonLicences(text string) []string {
	seen := map[string]bool{}
	for _, m := range commonLicence.FindAllStringSubmatch(text, -1) {
		name := strings.TrimRight(m[1], ".")
		if versioned.MatchString(name) && !strings.HasSuffix(name, "+") && laterVersion.MatchString(text) {
			name += "+"
		}
		if id, ok := debianID(name); ok {
			seen[id] = true
		}
	}
	return sortedKeys(seen)
}
