package lock

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

// PathFor is where the lock of a profile is: beside it, with .lock.json in the
// place of its ending.
func PathFor(profile string) string {
	return strings.TrimSuffix(profile, filepath.Ext(profile)) + ".lock.json"
}

// Bytes is the lock as a file has it: JSON, indented by two spaces, in the
// order of the types, maps by key. The same lock gives the same bytes.
func (l *Lock) Bytes() ([]byte, error) {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	e.SetIndent("", "  ")
	if err := e.Encode(l); err != nil {
		return nil, fmt.Errorf("writing the lock: %w", err)
	}
	return b.Bytes(), nil
}

// WriteFile writes the lock, whole or not at all.
func (l *Lock) WriteFile(path string) error {
	b, err := l.Bytes()
	if err != nil {
		return err
	}
	f, err := os.CreateTemp(filepath.Dir(path), "."+filepath.Base(path)+"-")
	if err != nil {
		return fmt.Errorf("writing the lock: %w", err)
	}
	defer os.Remove(f.Name())
	_, err = f.Write(b)
	if err == nil {
		err = f.Chmod(0o644)
	}
	if cerr := f.Close(); err == nil {
		err = cerr
	}
	if err == nil {
		err = os.Rename(f.Name(), path)
	}
	if err != nil {
		return fmt.Errorf("writing the lock %s: %w", path, err)
	}
	return nil
}

// lines is a text that JSON has as an array of its lines, so that a change of
// one is a change of one line of the lock. A text whose last line has no end
// is a string.
type lines string

func (t lines) MarshalJSON() ([]byte, error) {
	text, ended := strings.CutSuffix(string(t), "\n")
	if !ended {
		return encode(string(t))
	}
	return encode(strings.Split(text, "\n"))
}

func (t *lines) UnmarshalJSON(b []byte) error {
	var all []string
	if json.Unmarshal(b, &all) == nil {
		*t = lines(strings.Join(all, "\n") + "\n")
		return nil
	}
	return json.Unmarshal(b, (*string)(t))
}

// encode is json.Marshal that leaves <, > and & as they are.
func encode(v any) ([]byte, error) {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	err := e.Encode(v)
	return b.Bytes(), err
}

type plainEtcd Etcd

// wireEtcd is the form of Etcd in JSON.
type wireEtcd struct {
	plainEtcd
	GoMod lines `json:"goMod"`
	GoSum lines `json:"goSum"`
}

// MarshalJSON writes go.mod and go.sum as arrays of lines.
func (e Etcd) MarshalJSON() ([]byte, error) {
	return encode(wireEtcd{plainEtcd(e), lines(e.GoMod), lines(e.GoSum)})
}

// UnmarshalJSON is the inverse of MarshalJSON.
func (e *Etcd) UnmarshalJSON(b []byte) error {
	var w wireEtcd
	if err := json.Unmarshal(b, &w); err != nil {
		return err
	}
	*e = Etcd(w.plainEtcd)
	e.GoMod, e.GoSum = string(w.GoMod), string(w.GoSum)
	return nil
}

type plainMigrate Migrate

// wireMigrate is the form of Migrate in JSON.
type wireMigrate struct {
	plainMigrate
	GoMod lines `json:"goMod"`
	GoSum lines `json:"goSum"`
}

// MarshalJSON writes go.mod and go.sum as arrays of lines.
func (m Migrate) MarshalJSON() ([]byte, error) {
	return encode(wireMigrate{plainMigrate(m), lines(m.GoMod), lines(m.GoSum)})
}

// UnmarshalJSON is the inverse of MarshalJSON.
func (m *Migrate) UnmarshalJSON(b []byte) error {
	var w wireMigrate
	if err := json.Unmarshal(b, &w); err != nil {
		return err
	}
	*m = Migrate(w.plainMigrate)
	m.GoMod, m.GoSum = string(w.GoMod), string(w.GoSum)
	return nil
}
