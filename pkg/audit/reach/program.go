package reach

import (
	"bytes"
	"context"
	"debug/buildinfo"
	"debug/elf"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"golang.org/x/vuln/scan"
)

// Program is what is kept of a Go program.
type Program struct {
	GoVersion string   `json:"goVersion"`        // go1.27.4
	Main      string   `json:"main,omitempty"`   // path of its main package
	Modules   []Module `json:"modules"`          // that it is linked with, the main one too
	Symbols   bool     `json:"symbols"`          // its functions could be listed
	Blob      []byte   `json:"blob"`             // what x/vuln's extract mode says of it
	Reason    string   `json:"reason,omitempty"` // why its functions could not be listed
}

// Module is a module as a program names it.
type Module struct {
	Path    string `json:"path"`
	Version string `json:"version,omitempty"`
}

// ErrNoProgram says that a file is no Go program.
var ErrNoProgram = errors.New("no Go program")

// IsProgram says by its first bytes whether a file can be one.
func IsProgram(head []byte) bool { return bytes.HasPrefix(head, []byte(elf.ELFMAG)) }

// Read reads a program. dir is for what is needed on the way.
func Read(ctx context.Context, name, dir string) (*Program, error) {
	file, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	info, err := buildinfo.Read(file)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrNoProgram, err)
	}
	p := &Program{GoVersion: info.GoVersion, Main: info.Path}
	if info.Main.Path != "" {
		p.Modules = append(p.Modules, Module{info.Main.Path, info.Main.Version})
	}
	for _, m := range info.Deps {
		if r := m.Replace; r != nil && r.Version != "" {
			m = r
		}
		p.Modules = append(p.Modules, Module{m.Path, m.Version})
	}
	elfFile, err := elf.NewFile(file)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrNoProgram, err)
	}
	if isStripped(elfFile) {
		name, err = withSymbol(file, elfFile, dir)
		switch {
		case errors.Is(err, errNoModuleData):
			p.Reason = "it is stripped, and " + err.Error()
			name = file.Name()
		case err != nil:
			return nil, err
		default:
			defer os.Remove(name)
		}
	}
	blob, err := govulncheck(ctx, "-mode=extract", name)
	if err != nil {
		return nil, err
	}
	return p, p.take(blob)
}

func withSymbol(file *os.File, f *elf.File, dir string) (string, error) {
	copied, err := os.CreateTemp(dir, "program-")
	if err != nil {
		return "", err
	}
	err = restored(file, f, copied)
	if closed := copied.Close(); err == nil {
		err = closed
	}
	if err != nil {
		return "", errors.Join(err, os.Remove(copied.Name()))
	}
	return copied.Name(), nil
}

// take keeps what the extract mode said. A module that was replaced by a folder
// counts as the version that it replaces: nobody publishes vulnerabilities of
// folders.
func (p *Program) take(blob []byte) error {
	head, body, ok := bytes.Cut(blob, []byte("\n"))
	var all map[string]json.RawMessage
	if !ok || json.Unmarshal(body, &all) != nil {
		return errors.New("x/vuln said something else than what it says of programs")
	}
	var modules []map[string]json.RawMessage
	if raw, ok := all["modules"]; ok {
		if err := json.Unmarshal(raw, &modules); err != nil {
			return fmt.Errorf("x/vuln's list of modules: %w", err)
		}
	}
	for _, m := range modules {
		var replaced struct{ Version string }
		if raw, ok := m["Replace"]; ok && json.Unmarshal(raw, &replaced) == nil && replaced.Version == "" {
			delete(m, "Replace")
		}
	}
	var err error
	if all["modules"], err = json.Marshal(modules); err != nil {
		return err
	}
	var symbols []json.RawMessage
	if raw, ok := all["pkgSymbols"]; ok {
		if err := json.Unmarshal(raw, &symbols); err != nil {
			return fmt.Errorf("x/vuln's list of symbols: %w", err)
		}
	}
	if p.Symbols = len(symbols) > 0; p.Symbols {
		p.Reason = ""
	} else if p.Reason == "" {
		p.Reason = "its functions could not be listed"
	}
	body, err = json.Marshal(all)
	p.Blob = append(append(head, '\n'), body...)
	return err
}

// govulncheck runs x/vuln in this process. In the modes that look at programs it
// starts no other, and fetches nothing.
func govulncheck(ctx context.Context, args ...string) ([]byte, error) {
	var out, said bytes.Buffer
	cmd := scan.Command(ctx, args...)
	cmd.Stdin, cmd.Stdout, cmd.Stderr, cmd.Env = bytes.NewReader(nil), &out, &said, []string{}
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	if err := cmd.Wait(); err != nil {
		return nil, fmt.Errorf("golang.org/x/vuln: %w: %s", err, bytes.TrimSpace(said.Bytes()))
	}
	return out.Bytes(), nil
}

// writeBlob puts what is kept of a program where x/vuln reads it.
func (p *Program) writeBlob(dir string) (string, error) {
	name := filepath.Join(dir, "program")
	return name, os.WriteFile(name, p.Blob, 0o600)
}
