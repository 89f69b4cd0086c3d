package main

import (
	"context"
	"crypto/sha256"
	"debug/buildinfo"
	"debug/elf"
	"debug/macho"
	"encoding/hex"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
)

// inspect holds each binary against what it should be: of this version and
// toolchain, with exactly the modules that go.sum names, static, and for its
// platform.
func (r *release) inspect(context.Context) error {
	for i := range r.built {
		b := &r.built[i]
		file := filepath.Join(r.dir, b.name)
		var err error
		if b.sha256, b.size, err = digest(file); err != nil {
			return err
		}
		if b.info, err = buildinfo.ReadFile(file); err != nil {
			return err
		}
		if err := r.checkInfo(b); err != nil {
			return fmt.Errorf("%s: %w", b.name, err)
		}
		if err := checkFile(file, b.platform); err != nil {
			return fmt.Errorf("%s: %w", b.name, err)
		}
	}
	return nil
}

func digest(file string) (string, int64, error) {
	f, err := os.Open(file)
	if err != nil {
		return "", 0, err
	}
	defer f.Close()
	h := sha256.New()
	n, err := io.Copy(h, f)
	return hex.EncodeToString(h.Sum(nil)), n, err
}

func (r *release) checkInfo(b *binary) error {
	goos, goarch, _ := strings.Cut(b.platform, "/")
	settings := map[string]string{}
	for _, s := range b.info.Settings {
		settings[s.Key] = s.Value
	}
	for _, c := range []struct{ what, got, want string }{
		{"the toolchain", b.info.GoVersion, r.toolchain()},
		{"the module", b.info.Main.Path, modulePath},
		{"the version", b.info.Main.Version, r.version},
		{"the module's sum", b.info.Main.Sum, r.sum},
		{"GOOS", settings["GOOS"], goos},
		{"GOARCH", settings["GOARCH"], goarch},
		{"CGO_ENABLED", settings["CGO_ENABLED"], "0"},
		{"-trimpath", settings["-trimpath"], "true"},
	} {
		if c.got != c.want {
			return fmt.Errorf("%s is %q, want %q", c.what, c.got, c.want)
		}
	}
	// go install PACKAGE@VERSION asks the checksum database, not go.sum: the
	// tests ran with what go.sum names.
	known := map[string]bool{}
	for line := range strings.Lines(r.goSum) {
		known[strings.TrimSpace(line)] = true
	}
	for _, m := range b.info.Deps {
		if m.Replace != nil {
			return fmt.Errorf("%s was replaced by %s", m.Path, m.Replace.Path)
		}
		if line := m.Path + " " + m.Version + " " + m.Sum; !known[line] {
			return fmt.Errorf("%q is not in go.sum", line)
		}
	}
	return nil
}

// checkFile says of a binary why it is no static program for a platform.
func checkFile(file, platform string) error {
	goos, goarch, _ := strings.Cut(platform, "/")
	switch goos {
	case "linux":
		f, err := elf.Open(file)
		if err != nil {
			return err
		}
		defer f.Close()
		want := map[string]elf.Machine{"amd64": elf.EM_X86_64, "arm64": elf.EM_AARCH64, "ppc64le": elf.EM_PPC64, "s390x": elf.EM_S390}[goarch]
		if f.Machine != want || f.Type != elf.ET_EXEC {
			return fmt.Errorf("it is an ELF %s for %s, want ET_EXEC for %s", f.Type, f.Machine, want)
		}
		for _, p := range f.Progs {
			if p.Type == elf.PT_INTERP || p.Type == elf.PT_DYNAMIC {
				return fmt.Errorf("it is not static: it has a segment %s", p.Type)
			}
		}
	case "darwin":
		f, err := macho.Open(file)
		if err != nil {
			return err
		}
		defer f.Close()
		want := map[string]macho.Cpu{"amd64": macho.CpuAmd64, "arm64": macho.CpuArm64}[goarch]
		if f.Cpu != want || f.Type != macho.TypeExec {
			return fmt.Errorf("it is a Mach-O %s for %s, want an executable for %s", f.Type, f.Cpu, want)
		}
		libraries, err := f.ImportedLibraries()
		if err != nil {
			return err
		}
		for _, l := range libraries {
			// There is no static program on macOS: system calls go through these.
			if !strings.HasPrefix(l, "/usr/lib/") && !strings.HasPrefix(l, "/System/Library/") {
				return fmt.Errorf("it needs %s, which macOS does not bring", l)
			}
		}
	}
	return nil
}
