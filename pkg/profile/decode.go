package profile

import (
	"fmt"
	"path/filepath"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"time"
)

// decoder reads nodes into the types, going by their tags, and records a
// problem for whatever does not fit.
type decoder struct {
	problems *problems
	origins  map[string]position // filled with where each key was written, unless nil
	whole    bool                // the tree is the whole profile: required keys must be there, and defaults apply
}

func (d *decoder) profile(n *node, p *Profile) {
	d.structure(n, reflect.ValueOf(p).Elem(), "")
}

// value reads n into v. A value that does not fit leaves v as it is.
func (d *decoder) value(n *node, v reflect.Value, key string, rule valueRule) {
	if n == nil {
		return
	}
	if n.kind == scalar && n.tag == "!!null" {
		remedy := "give it a value, or remove it"
		if v.Kind() == reflect.Slice {
			remedy = "write [] for an empty list, or remove the key"
		}
		d.refuse(n, key, "has no value", remedy)
		return
	}
	switch v.Interface().(type) {
	case Mode:
		d.mode(n, v, key)
		return
	case Duration:
		d.duration(n, v, key)
		return
	case Arch:
		d.arch(n, v, key)
		return
	case From:
		d.from(n, v, key, rule)
		return
	}
	switch v.Kind() {
	case reflect.Pointer:
		target := reflect.New(v.Type().Elem())
		d.value(n, target.Elem(), key, rule)
		v.Set(target)
	case reflect.Struct:
		d.structure(n, v, key)
	case reflect.Map:
		d.pairs(n, v, key, rule)
	case reflect.Slice:
		d.items(n, v, key, rule)
	case reflect.String:
		d.text(n, v, key, rule)
	case reflect.Int:
		d.integer(n, v, key, rule)
	case reflect.Bool:
		d.boolean(n, v, key)
	default:
		panic("profile: no way to read a " + v.Type().String())
	}
}

func (d *decoder) structure(n *node, v reflect.Value, key string) {
	known := members(v.Type())
	names := make([]string, len(known))
	for i, m := range known {
		names[i] = m.name
	}
	if n.kind != mapping {
		remedy := "write KEY: VALUE lines beneath it, of " + join(names)
		if n.kind == scalar && len(names) == 1 {
			remedy = fmt.Sprintf("write {%s: %s}", names[0], n.text)
		}
		d.mismatch(n, key, "a mapping", remedy)
		return
	}
	for _, m := range known {
		at := child(key, m.name)
		f := n.field(m.name)
		if f != nil && m.clearable() && f.value != nil && f.value.kind == scalar && f.value.tag == "!!str" && f.value.text == "" {
			f = nil
		}
		switch {
		case f != nil:
			d.origin(at, f.pos)
			d.value(f.value, v.Field(m.index), at, m.rule)
		case !d.whole:
		case m.required:
			d.problems.at(n.pos, at, "is missing", fmt.Sprintf("add it (%s)", strings.TrimSuffix(m.doc, ".")))
		case m.fallback != "":
			d.value(m.fallbackNode(), v.Field(m.index), at, m.rule)
		case m.typ.Kind() == reflect.Struct:
			d.structure(&node{kind: mapping}, v.Field(m.index), at)
		}
	}
	for _, f := range n.fields {
		if !slices.Contains(names, f.name) {
			d.unknown(f, key, names)
		}
	}
}

func (d *decoder) unknown(f field, parent string, names []string) {
	at := child(parent, f.name)
	if near := nearest(f.name, names); near != "" {
		d.problems.at(f.pos, at, "unknown key", fmt.Sprintf("did you mean %s?", near)).meant = child(parent, near)
		return
	}
	remedy := "remove it; the keys here are " + join(names)
	if parent == "" {
		remedy = "remove it; the command etcdimg schema lists the keys"
	}
	d.problems.at(f.pos, at, "unknown key", remedy)
}

func (d *decoder) pairs(n *node, v reflect.Value, key string, rule valueRule) {
	if n.kind != mapping {
		d.mismatch(n, key, "a mapping", "write KEY: VALUE lines beneath it")
		return
	}
	out := reflect.MakeMapWithSize(v.Type(), len(n.fields))
	for _, f := range n.fields {
		at := child(key, f.name)
		d.origin(at, f.pos)
		value := reflect.New(v.Type().Elem()).Elem()
		d.value(f.value, value, at, valueRule{})
		out.SetMapIndex(reflect.ValueOf(f.name), value)
		if check := formats[rule.format].pair; check != nil {
			if message, remedy := check(f.name, value.String()); message != "" {
				d.problems.at(f.pos, at, message, remedy)
			}
		}
	}
	v.Set(out)
}

func (d *decoder) items(n *node, v reflect.Value, key string, rule valueRule) {
	if n.kind != list {
		remedy := "write a list: [a, b]"
		if n.kind == scalar {
			remedy = fmt.Sprintf("write a list: [%s]", n.text)
		}
		d.mismatch(n, key, "a list", remedy)
		return
	}
	out := reflect.MakeSlice(v.Type(), len(n.items), len(n.items))
	for i, item := range n.items {
		if item == nil {
			continue
		}
		at := fmt.Sprintf("%s[%d]", key, i)
		d.origin(at, item.pos)
		d.value(item, out.Index(i), at, rule)
	}
	v.Set(out)
}

// text takes what YAML sees as text, not a number that happens to have the
// right form: 3.10 would be another number than it seems.
func (d *decoder) text(n *node, v reflect.Value, key string, rule valueRule) {
	switch {
	case n.kind != scalar:
		d.mismatch(n, key, "a string", "write one line of text")
		return
	case n.tag == "!!int" && rule.integer, n.tag == "!!str", n.tag == "!!timestamp":
	default:
		_, remedy := rule.check(n.text)
		if remedy == "" {
			remedy = fmt.Sprintf("write it in quotes: %q", n.text)
		}
		d.mismatch(n, key, "a string", remedy)
		return
	}
	text := n.text
	if message, remedy := rule.check(text); message != "" {
		d.refuse(n, key, message, remedy)
	} else if rule.format == "local" && !filepath.IsAbs(text) && n.pos.src != nil && n.pos.src.dir != "." {
		text = filepath.Join(n.pos.src.dir, text)
	}
	v.SetString(text)
}

func (d *decoder) integer(n *node, v reflect.Value, key string, rule valueRule) {
	if n.kind != scalar || n.tag != "!!int" {
		d.mismatch(n, key, "an integer", "write a decimal number")
		return
	}
	number, err := strconv.ParseInt(n.text, 10, 64)
	if err != nil || strconv.FormatInt(number, 10) != n.text {
		d.refuse(n, key, n.text+" is not a plain decimal number", "write it without leading zeros, base or underscores")
		return
	}
	if f := formats[rule.format]; f.limited && (number < f.least || number > f.most) {
		d.refuse(n, key, fmt.Sprintf("%d is out of range", number), fmt.Sprintf("write a number from %d to %d", f.least, f.most))
		return
	}
	v.SetInt(number)
}

func (d *decoder) boolean(n *node, v reflect.Value, key string) {
	if n.kind != scalar || n.tag != "!!bool" {
		d.mismatch(n, key, "a boolean", "write true or false")
		return
	}
	v.SetBool(strings.EqualFold(n.text, "true"))
}

func (d *decoder) mode(n *node, v reflect.Value, key string) {
	if n.kind != scalar || n.tag == "!!bool" {
		d.mismatch(n, key, "a mode", "write it in octal, as 0o755")
		return
	}
	mode, err := ParseMode(n.text)
	if err != nil {
		remedy := "write it in octal, as 0o755"
		if fixed, err := ParseMode("0o" + n.text); err == nil {
			remedy = "write " + fixed.String()
		}
		d.refuse(n, key, err.Error(), remedy)
		return
	}
	v.SetUint(uint64(mode))
}

func (d *decoder) duration(n *node, v reflect.Value, key string) {
	if n.kind != scalar || n.tag == "!!bool" {
		d.mismatch(n, key, "a duration", "write it with its unit, as 30s")
		return
	}
	parsed, err := time.ParseDuration(n.text)
	switch {
	case err != nil && isDecimal(n.text):
		d.refuse(n, key, fmt.Sprintf("%q has no unit", n.text), fmt.Sprintf("write %ss", n.text))
	case err != nil:
		d.refuse(n, key, fmt.Sprintf("%q is not a duration", n.text), "write it as 30s or 1m30s")
	case parsed < 0:
		d.refuse(n, key, fmt.Sprintf("%s is negative", n.text), "write a positive duration, as 30s")
	default:
		v.SetInt(int64(parsed))
	}
}

func (d *decoder) arch(n *node, v reflect.Value, key string) {
	if n.kind != scalar || n.tag != "!!str" {
		d.mismatch(n, key, "an architecture", "write one of "+join(Archs()))
		return
	}
	arch, ok := lookupArch(n.text)
	if !ok {
		remedy := "write one of " + join(Archs())
		if near := nearest(n.text, archSpellings()); near != "" {
			remedy = fmt.Sprintf("did you mean %s?", near)
		}
		d.refuse(n, key, fmt.Sprintf("unknown architecture %q", n.text), remedy)
		return
	}
	v.SetString(string(arch))
}

func (d *decoder) origin(key string, pos position) {
	if d.origins != nil && pos.src != nil {
		d.origins[key] = pos
	}
}

func (d *decoder) refuse(n *node, key, message, remedy string) {
	d.problems.at(n.pos, key, message, remedy)
}

func (d *decoder) mismatch(n *node, key, wanted, remedy string) {
	d.refuse(n, key, fmt.Sprintf("is %s, and must be %s", describe(n), wanted), remedy)
}

// describe is what YAML sees in a value.
func describe(n *node) string {
	switch n.kind {
	case list:
		return "a list"
	case mapping:
		return "a mapping"
	}
	switch n.tag {
	case "!!int":
		return "the number " + n.text
	case "!!float":
		return "the number " + n.text
	case "!!bool":
		return "the boolean " + n.text
	}
	return strconv.Quote(n.text)
}

func isDecimal(s string) bool {
	return s != "" && strings.Trim(s, "0123456789") == ""
}
