package profile

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
)

// Problem is one thing wrong with a profile.
type Problem struct {
	File    string // as it was given to Load or Read, or as an include led to it
	Line    int    // from 1; 0 where the value stands in no file
	Column  int    // from 1; 0 with Line
	Key     string // path of the key, as etcd.versions[0]; empty where the file itself is meant
	Message string // what is wrong
	Remedy  string // what to do about it

	cause error  // the error that it came from, if any
	meant string // for an unknown key: the key that it is likely a misspelling of
}

// Error is file:line: key: what is wrong: what to do.
func (p *Problem) Error() string {
	var b strings.Builder
	if p.File != "" {
		b.WriteString(p.File)
		if p.Line > 0 {
			fmt.Fprintf(&b, ":%d", p.Line)
		}
		b.WriteString(": ")
	}
	if p.Key != "" {
		b.WriteString(p.Key + ": ")
	}
	b.WriteString(p.Message)
	if p.Remedy != "" {
		b.WriteString(": " + p.Remedy)
	}
	return b.String()
}

// Unwrap is the error that the problem came from: of the file system where a
// file could not be read, else nil.
func (p *Problem) Unwrap() error { return p.cause }

// Errors is everything that is wrong with a profile, in the order of file and
// line. It is never empty.
type Errors []*Problem

// Error has one line for each problem.
func (e Errors) Error() string {
	lines := make([]string, len(e))
	for i, p := range e {
		lines[i] = p.Error()
	}
	return strings.Join(lines, "\n")
}

// Unwrap gives each problem as a *Problem, so that errors.As and errors.Is see
// them all.
func (e Errors) Unwrap() []error {
	all := make([]error, len(e))
	for i, p := range e {
		all[i] = p
	}
	return all
}

// problems collects, each problem once however often it is found.
type problems struct {
	list []*Problem
	seen map[string]bool
}

func (ps *problems) add(p *Problem) {
	id := fmt.Sprintf("%d %s", p.Column, p.Error())
	if ps.seen[id] {
		return
	}
	if ps.seen == nil {
		ps.seen = map[string]bool{}
	}
	ps.seen[id] = true
	ps.list = append(ps.list, p)
}

func (ps *problems) at(pos position, key, message, remedy string) *Problem {
	p := &Problem{File: pos.file(), Line: pos.line, Column: pos.column, Key: key, Message: message, Remedy: remedy}
	ps.add(p)
	return p
}

// touch tells whether a problem is about key, something within it, or something
// that it is part of.
func (ps *problems) touch(key string) bool {
	return ps.cover(key) || slices.ContainsFunc(ps.list, func(p *Problem) bool {
		return within(p.Key, key) || p.meant != "" && within(p.meant, key)
	})
}

// cover tells whether a problem is about key or something that it is part of.
func (ps *problems) cover(key string) bool {
	return slices.ContainsFunc(ps.list, func(p *Problem) bool {
		return within(key, p.Key) || p.meant != "" && within(key, p.meant)
	})
}

// within tells whether inner is outer or a key beneath it.
func within(inner, outer string) bool {
	rest, ok := strings.CutPrefix(inner, outer)
	return ok && (rest == "" || rest[0] == '.' || rest[0] == '[')
}

func (ps *problems) err() error {
	if len(ps.list) == 0 {
		return nil
	}
	slices.SortStableFunc(ps.list, func(a, b *Problem) int {
		return cmp.Or(cmp.Compare(a.File, b.File), cmp.Compare(a.Line, b.Line), cmp.Compare(a.Column, b.Column),
			cmp.Compare(a.Key, b.Key), cmp.Compare(a.Message, b.Message))
	})
	return Errors(ps.list)
}

// nearest is the name that word is most likely a misspelling of, or "": one
// with at most one mistake in three letters.
func nearest(word string, names []string) string {
	best, distance := "", len(word)/3+1
	for _, name := range names {
		if d := editDistance(strings.ToLower(word), name); d < distance {
			best, distance = name, d
		}
	}
	return best
}

// editDistance counts the bytes to insert, drop, replace or swap with their
// neighbour.
func editDistance(a, b string) int {
	rows := make([][]int, len(a)+1)
	for i := range rows {
		rows[i] = make([]int, len(b)+1)
		rows[i][0] = i
	}
	for j := range rows[0] {
		rows[0][j] = j
	}
	for i := 1; i <= len(a); i++ {
		for j := 1; j <= len(b); j++ {
			replaced := rows[i-1][j-1]
			if a[i-1] != b[j-1] {
				replaced++
			}
			rows[i][j] = min(replaced, rows[i-1][j]+1, rows[i][j-1]+1)
			if i > 1 && j > 1 && a[i-1] == b[j-2] && a[i-2] == b[j-1] {
				rows[i][j] = min(rows[i][j], rows[i-2][j-2]+1)
			}
		}
	}
	return rows[len(a)][len(b)]
}
