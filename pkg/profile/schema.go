package profile

import (
	"bytes"
	"encoding/json"
	"reflect"
)

// Schema is the JSON schema (draft 2020-12) of a profile as people write it,
// made from the types. It says what one key may hold; what several must satisfy
// together only Read checks.
func Schema() []byte {
	root := structSchema(reflect.TypeFor[Profile]())
	root["$schema"] = "https://json-schema.org/draft/2020-12/schema"
	root["title"] = "etcdimg profile"
	root["description"] = "What an etcd image is to contain and how it starts."
	var out bytes.Buffer
	encoder := json.NewEncoder(&out)
	encoder.SetEscapeHTML(false)
	encoder.SetIndent("", "  ")
	if err := encoder.Encode(root); err != nil {
		panic("profile: schema: " + err.Error()) // maps of strings, numbers and booleans only
	}
	return out.Bytes()
}

func structSchema(t reflect.Type) map[string]any {
	properties, required := map[string]any{}, []string{}
	for _, m := range members(t) {
		s := typeSchema(m.typ, m.rule)
		s["description"] = m.doc
		if m.clearable() {
			allowEmpty(s)
		}
		if m.fallback != "" {
			s["default"] = fallbackValue(m)
		}
		if m.required {
			required = append(required, m.name)
		}
		properties[m.name] = s
	}
	s := map[string]any{"type": "object", "additionalProperties": false, "properties": properties}
	if len(required) > 0 {
		s["required"] = required
	}
	return s
}

// allowEmpty lets a string be empty, too.
func allowEmpty(s map[string]any) {
	if pattern, ok := s["pattern"]; ok {
		delete(s, "pattern")
		s["anyOf"] = []any{map[string]any{"const": ""}, map[string]any{"pattern": pattern}}
	}
	if enum, ok := s["enum"].([]string); ok {
		s["enum"] = append(enum[:len(enum):len(enum)], "")
	}
}

func typeSchema(t reflect.Type, rule valueRule) map[string]any {
	switch reflect.Zero(t).Interface().(type) {
	case Mode:
		// YAML reads 0o755 as an integer.
		return map[string]any{"anyOf": []any{
			map[string]any{"type": "integer", "minimum": 0, "maximum": maxMode},
			map[string]any{"type": "string", "pattern": octal.String()},
		}}
	case Duration:
		return map[string]any{"type": "string", "pattern": `^([0-9]+(\.[0-9]+)?(ns|us|µs|ms|s|m|h))+$`}
	case Arch:
		return map[string]any{"enum": archSpellings()}
	case From:
		return fromSchema(rule)
	}
	f := formats[rule.format]
	switch t.Kind() {
	case reflect.Pointer:
		return typeSchema(t.Elem(), rule)
	case reflect.Struct:
		return structSchema(t)
	case reflect.Map:
		return map[string]any{"type": "object", "additionalProperties": typeSchema(t.Elem(), valueRule{})}
	case reflect.Slice:
		return map[string]any{"type": "array", "items": typeSchema(t.Elem(), rule)}
	case reflect.Bool:
		return map[string]any{"type": "boolean"}
	case reflect.Int:
		s := map[string]any{"type": "integer"}
		if f.limited {
			s["minimum"], s["maximum"] = f.least, f.most
		}
		return s
	case reflect.String:
		s := map[string]any{"type": "string"}
		switch {
		case rule.integer:
			s["type"] = []string{"string", "integer"}
		case len(rule.enum) > 0:
			s["enum"] = rule.enum
		case f.pattern != nil:
			s["pattern"] = f.pattern.String()
		}
		return s
	}
	panic("profile: no schema for " + t.String())
}

// fallbackValue is a member's default as JSON has it.
func fallbackValue(m member) any {
	v := reflect.New(m.typ).Elem()
	d := decoder{problems: &problems{}}
	d.value(m.fallbackNode(), v, m.name, m.rule)
	return v.Interface()
}
