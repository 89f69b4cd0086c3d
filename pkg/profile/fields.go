package profile

import (
	"reflect"
	"strings"
)

// member is one field of a struct of types.go, as its tags describe it.
type member struct {
	index    int
	typ      reflect.Type
	name     string // the key
	doc      string
	required bool
	fallback string // the default, as in YAML
	rule     valueRule
}

// valueRule is what the tags say about a value, or about each item of a list
// and each pair of a map.
type valueRule struct {
	enum    []string
	format  string // a row of formats
	integer bool   // a number without quotes is taken as text
}

// members are the keys of a mapping that is read into a struct type.
func members(t reflect.Type) []member {
	var all []member
	for i := range t.NumField() {
		f := t.Field(i)
		name, _, _ := strings.Cut(f.Tag.Get("json"), ",")
		if !f.IsExported() || name == "" || name == "-" {
			continue
		}
		m := member{index: i, typ: f.Type, name: name, doc: f.Tag.Get("doc"), fallback: f.Tag.Get("default")}
		m.required = f.Tag.Get("required") == "true"
		m.rule = valueRule{format: f.Tag.Get("format"), integer: f.Tag.Get("accept") == "integer"}
		if enum := f.Tag.Get("enum"); enum != "" {
			m.rule.enum = strings.Split(enum, ",")
		}
		all = append(all, m)
	}
	return all
}

// clearable tells whether an empty text is the same as none: so a profile takes
// back what its include says.
func (m member) clearable() bool {
	return m.typ.Kind() == reflect.String && m.typ != reflect.TypeFor[Arch]() && !m.required && m.fallback == ""
}

// fallbackNode is the default of a member, as if it had been written.
func (m member) fallbackNode() *node {
	item := func(text string) *node {
		tag := "!!str"
		if m.typ.Kind() == reflect.Int {
			tag = "!!int"
		}
		return &node{kind: scalar, tag: tag, text: text}
	}
	if m.typ.Kind() != reflect.Slice {
		return item(m.fallback)
	}
	out := &node{kind: list}
	for _, text := range strings.Split(m.fallback, ",") {
		out.items = append(out.items, item(text))
	}
	return out
}
