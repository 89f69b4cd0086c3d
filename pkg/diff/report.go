package diff

import (
	"fmt"
	"io"
	"slices"
	"strings"
)

// Text writes changes for people, one on a line, under headings.
func Text(w io.Writer, changes []Change) error {
	if len(changes) == 0 {
		_, err := fmt.Fprintln(w, "no difference")
		return err
	}
	for _, k := range kinds() {
		first := true
		for _, c := range changes {
			if c.Kind != k.kind {
				continue
			}
			if first {
				if _, err := fmt.Fprintf(w, "%s\n", k.heading); err != nil {
					return err
				}
				first = false
			}
			if _, err := fmt.Fprintf(w, "  %s: %s%s\n", c.title(), c.values(), c.marks()); err != nil {
				return err
			}
		}
	}
	return nil
}

// maxRows bounds a table in Markdown: a comment on a pull request has room for
// 65,536 characters.
const maxRows = 200

// Markdown writes changes as tables for a pull request.
func Markdown(w io.Writer, changes []Change) error {
	if len(changes) == 0 {
		_, err := fmt.Fprintln(w, "No difference.")
		return err
	}
	var b strings.Builder
	for _, k := range kinds() {
		var rows []Change
		for _, c := range changes {
			if c.Kind == k.kind {
				rows = append(rows, c)
			}
		}
		if len(rows) == 0 {
			continue
		}
		if b.Len() > 0 {
			b.WriteByte('\n')
		}
		fmt.Fprintf(&b, "### %s (%d)\n\n| | before | after |\n|---|---|---|\n", k.heading, len(rows))
		for _, c := range rows[:min(len(rows), maxRows)] {
			fmt.Fprintf(&b, "| %s%s | %s | %s |\n", cell(c.title()), c.marks(), code(c.Old), code(c.New))
		}
		if n := len(rows) - maxRows; n > 0 {
			fmt.Fprintf(&b, "\nand %d more\n", n)
		}
	}
	_, err := io.WriteString(w, b.String())
	return err
}

func (c Change) title() string {
	s := c.Name
	if c.Of != "" {
		s += " of " + c.Of
	}
	if len(c.Archs) > 0 {
		s += " (" + strings.Join(c.Archs, ", ") + ")"
	}
	return s
}

func (c Change) marks() string {
	var marks []string
	switch {
	case len(c.Fixes) > 0:
		marks = append(marks, "security: fixes "+strings.Join(c.Fixes, ", "))
	case c.Security:
		marks = append(marks, "security")
	}
	if len(c.Brings) > 0 {
		marks = append(marks, "brings "+strings.Join(c.Brings, ", "))
	}
	if len(marks) == 0 {
		return ""
	}
	return " (" + strings.Join(marks, "; ") + ")"
}

// cell keeps a text within its cell of a table.
func cell(s string) string {
	return strings.NewReplacer("|", `\|`, "\n", " ", "\r", " ", "<", "&lt;", "`", "'").Replace(s)
}

func code(s string) string {
	const most = 120
	if s == "" {
		return ""
	}
	if r := []rune(s); len(r) > most {
		s = string(r[:most]) + "…"
	}
	return "`" + strings.NewReplacer("|", `\|`, "\n", " ", "\r", " ", "`", "'").Replace(s) + "`"
}

// Sort puts changes into the order of reports.
func Sort(changes []Change) {
	rank := map[Kind]int{}
	for i, k := range kinds() {
		rank[k.kind] = i
	}
	slices.SortStableFunc(changes, func(a, b Change) int { return rank[a.Kind] - rank[b.Kind] })
}
