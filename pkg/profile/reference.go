package profile

import (
	"bytes"
	"fmt"
	"reflect"
	"strings"
)

// Reference is a table of every key of a profile in Markdown, made from the
// types: key, kind of value, default, meaning. Keys of lists are written with
// [], those of maps with *.
func Reference() []byte {
	var out bytes.Buffer
	out.WriteString("| key | value | default | meaning |\n|---|---|---|---|\n")
	referenceRows(&out, reflect.TypeFor[Profile](), "")
	return out.Bytes()
}

func referenceRows(out *bytes.Buffer, t reflect.Type, prefix string) {
	for _, m := range members(t) {
		key := prefix + m.name
		fallback := ""
		switch {
		case m.required:
			fallback = "required"
		case m.fallback != "":
			fallback = "`" + m.fallback + "`"
		}
		fmt.Fprintf(out, "| `%s` | %s | %s | %s |\n", key, kindInWords(m.typ, m.rule), fallback, strings.ReplaceAll(m.doc, "|", `\|`))
		inner := m.typ
		for inner.Kind() == reflect.Pointer || inner.Kind() == reflect.Slice {
			if inner.Kind() == reflect.Slice {
				key += "[]"
			}
			inner = inner.Elem()
		}
		if inner.Kind() == reflect.Struct {
			referenceRows(out, inner, key+".")
		}
	}
}

func kindInWords(t reflect.Type, rule valueRule) string {
	switch reflect.Zero(t).Interface().(type) {
	case Mode:
		return "octal mode"
	case Duration:
		return "duration"
	case From:
		return kindInWords(reflect.TypeFor[string](), rule) + ", or a map of these"
	}
	switch t.Kind() {
	case reflect.Pointer:
		return kindInWords(t.Elem(), rule)
	case reflect.Struct:
		return "mapping"
	case reflect.Map:
		return "map of " + kindInWords(t.Elem(), valueRule{}) + "s"
	case reflect.Slice:
		if len(rule.enum) > 0 {
			return "list of " + kindInWords(t.Elem(), rule)
		}
		return "list of " + kindInWords(t.Elem(), rule) + "s"
	case reflect.Bool:
		return "boolean"
	case reflect.Int:
		return "integer"
	}
	if len(rule.enum) > 0 {
		return "`" + strings.Join(rule.enum, "`, `") + "`"
	}
	return "string"
}
