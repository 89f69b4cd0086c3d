package policy

import (
	"fmt"
	"slices"
	"strings"
)

// Permits says whether a licence expression (SPDX 2.3, annex D) can be met with
// the licences that are allowed: of OR one side, of AND both.
func (l *Licences) Permits(expression string) (bool, error) {
	p := &licenceParser{words: split(expression), ok: l.one}
	met, err := p.or()
	if err == nil && p.i < len(p.words) {
		err = fmt.Errorf("%q after its end", p.words[p.i])
	}
	if err != nil {
		return false, fmt.Errorf("licence expression %q: %w", expression, err)
	}
	return met, nil
}

// one says whether a single licence is accepted. An exception only grants
// more, so whoever accepts the licence accepts it with any.
func (l *Licences) one(id, exception string) bool {
	whole := id
	if exception != "" {
		whole += " WITH " + exception
	}
	named := func(list []string) bool {
		return slices.ContainsFunc(list, func(s string) bool {
			return strings.EqualFold(s, id) || strings.EqualFold(strings.Join(strings.Fields(s), " "), whole)
		})
	}
	if named(l.Deny) {
		return false
	}
	return len(l.Allow) == 0 || named(l.Allow)
}

func split(s string) []string {
	return strings.Fields(strings.NewReplacer("(", " ( ", ")", " ) ").Replace(s))
}

type licenceParser struct {
	words []string
	i     int
	depth int
	ok    func(id, exception string) bool
}

func (p *licenceParser) next(word string) bool {
	if p.i < len(p.words) && strings.EqualFold(p.words[p.i], word) {
		p.i++
		return true
	}
	return false
}

func (p *licenceParser) or() (bool, error) {
	met, err := p.and()
	for err == nil && p.next("OR") {
		var other bool
		other, err = p.and()
		met = met || other
	}
	return met, err
}

func (p *licenceParser) and() (bool, error) {
	met, err := p.simple()
	for err == nil && p.next("AND") {
		var other bool
		other, err = p.simple()
		met = met && other
	}
	return met, err
}

// maxDepth bounds the parentheses of an expression.
const maxDepth = 100

func (p *licenceParser) simple() (bool, error) {
	if p.next("(") {
		if p.depth++; p.depth > maxDepth {
			return false, fmt.Errorf("more than %d parentheses", maxDepth)
		}
		met, err := p.or()
		if err == nil && !p.next(")") {
			err = fmt.Errorf("a parenthesis is not closed")
		}
		p.depth--
		return met, err
	}
	id, err := p.word()
	if err != nil {
		return false, err
	}
	exception := ""
	if p.next("WITH") {
		if exception, err = p.word(); err != nil {
			return false, err
		}
	}
	return p.ok(id, exception), nil
}

func (p *licenceParser) word() (string, error) {
	if p.i >= len(p.words) {
		return "", fmt.Errorf("it ends too early")
	}
	w := p.words[p.i]
	if slices.Contains([]string{"(", ")", "AND", "OR", "WITH"}, strings.ToUpper(w)) {
		return "", fmt.Errorf("%q where a licence belongs", w)
	}
	p.i++
	return w, nil
}
