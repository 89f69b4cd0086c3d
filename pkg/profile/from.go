package profile

import (
	"encoding/json"
	"fmt"
	"maps"
	"reflect"
	"slices"
)

// From says where binaries come from, "source" or "release", by architecture;
// under "default" for those that have no entry. In YAML it is one word for all
// of them, or a mapping.
type From map[string]string

// fromDefault is the key for the architectures without one of their own.
const fromDefault = "default"

// Of is where the binaries for an architecture come from.
func (f From) Of(arch Arch) string {
	if from, ok := f[string(arch)]; ok {
		return from
	}
	return f.Default()
}

// Default is where they come from for the architectures without an entry.
func (f From) Default() string {
	if from, ok := f[fromDefault]; ok {
		return from
	}
	return "source"
}

// ByArch are the entries of single architectures, by GOARCH.
func (f From) ByArch() map[string]string {
	own := maps.Clone(f)
	delete(own, fromDefault)
	return own
}

// MarshalJSON gives one word for all architectures where one will do.
func (f From) MarshalJSON() ([]byte, error) {
	if word, ok := f[fromDefault]; ok && len(f) == 1 {
		return json.Marshal(word)
	}
	return json.Marshal(map[string]string(f))
}

// UnmarshalJSON reads both forms.
func (f *From) UnmarshalJSON(data []byte) error {
	var word string
	if err := json.Unmarshal(data, &word); err == nil {
		*f = From{fromDefault: word}
		return nil
	}
	return json.Unmarshal(data, (*map[string]string)(f))
}

// from reads a word or a mapping. Architectures may be called by their other
// names.
func (d *decoder) from(n *node, v reflect.Value, key string, rule valueRule) {
	out := From{}
	word := func(n *node, at, entry string) {
		text := reflect.New(reflect.TypeFor[string]()).Elem()
		d.value(n, text, at, rule)
		out[entry] = text.String()
	}
	switch n.kind {
	case scalar:
		word(n, key, fromDefault)
	case mapping:
		for _, f := range n.fields {
			at := child(key, f.name)
			d.origin(at, f.pos)
			entry := f.name
			if arch, ok := lookupArch(f.name); ok {
				entry = string(arch)
			} else if f.name != fromDefault {
				remedy := "write one of " + join(Archs()) + ", or " + fromDefault
				if near := nearest(f.name, append(archSpellings(), fromDefault)); near != "" {
					remedy = fmt.Sprintf("did you mean %s?", near)
				}
				d.problems.at(f.pos, at, fmt.Sprintf("unknown architecture %q", f.name), remedy)
				continue
			}
			if _, twice := out[entry]; twice {
				d.problems.at(f.pos, at, entry+" is given twice", "keep one of them")
				continue
			}
			if f.value != nil {
				word(f.value, at, entry)
			}
		}
	default:
		d.mismatch(n, key, "source, release or a mapping", "write source or release, or ARCHITECTURE: source lines beneath it")
	}
	v.Set(reflect.ValueOf(out.normal()))
}

// normal says the same in the one form that all which say it have in common,
// so that they have one digest, too.
func (f From) normal() From {
	if _, ok := f[fromDefault]; !ok {
		f[fromDefault] = "source"
	}
	for entry, from := range f {
		if entry != fromDefault && from == f[fromDefault] {
			delete(f, entry)
		}
	}
	return f
}

// releases are those of the given architectures that take official releases.
func (f From) releases(archs []Arch) []Arch {
	return slices.DeleteFunc(slices.Clone(archs), func(a Arch) bool { return f.Of(a) != "release" })
}

// fromSchema is the JSON schema of the two forms.
func fromSchema(rule valueRule) map[string]any {
	word := map[string]any{"enum": rule.enum}
	properties := map[string]any{fromDefault: word}
	for _, name := range archSpellings() {
		properties[name] = word
	}
	return map[string]any{"anyOf": []any{
		word, map[string]any{"type": "object", "additionalProperties": false, "properties": properties},
	}}
}
