package lock

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
)

// Difference is a value that is another in the second of two documents.
type Difference struct {
	Key string `json:"key"` // etcd.versions[0]
	Old string `json:"old"` // in JSON, on one line; "" where there is none
	New string `json:"new"`
}

func (d Difference) String() string {
	show := func(s string) string {
		const most = 120
		switch {
		case s == "":
			return "(none)"
		case len(s) > most:
			return strings.ToValidUTF8(s[:most], "") + "…"
		}
		return s
	}
	return d.Key + ": " + show(d.Old) + " → " + show(d.New)
}

// Differences tells where two JSON documents differ, by key, each at the
// innermost key that both have. Lists of different lengths differ as wholes.
func Differences(old, new []byte) ([]Difference, error) {
	a, err := document(old)
	if err != nil {
		return nil, err
	}
	b, err := document(new)
	if err != nil {
		return nil, err
	}
	var out []Difference
	differences(&out, "", a, b)
	return out, nil
}

func document(b []byte) (any, error) {
	var v any
	d := json.NewDecoder(bytes.NewReader(b))
	d.UseNumber()
	if err := d.Decode(&v); err != nil {
		return nil, fmt.Errorf("comparing: %w", err)
	}
	return v, nil
}

// absent is the value of a key that is not there.
type absent struct{}

func differences(out *[]Difference, key string, a, b any) {
	if x, ok := a.(map[string]any); ok {
		if y, ok := b.(map[string]any); ok {
			names := maps.Clone(x)
			maps.Copy(names, y)
			for _, name := range slices.Sorted(maps.Keys(names)) {
				differences(out, join(key, name), get(x, name), get(y, name))
			}
			return
		}
	}
	if x, ok := a.([]any); ok {
		if y, ok := b.([]any); ok && len(x) == len(y) {
			for i := range x {
				differences(out, key+"["+strconv.Itoa(i)+"]", x[i], y[i])
			}
			return
		}
	}
	if before, after := show(a), show(b); before != after {
		*out = append(*out, Difference{key, before, after})
	}
}

func get(m map[string]any, key string) any {
	if v, ok := m[key]; ok {
		return v
	}
	return absent{}
}

func show(v any) string {
	if _, ok := v.(absent); ok {
		return ""
	}
	b, err := encode(v)
	if err != nil {
		return fmt.Sprint(v)
	}
	return strings.TrimSpace(string(b))
}
