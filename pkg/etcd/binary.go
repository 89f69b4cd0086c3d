package etcd

import (
	"debug/buildinfo"
	"debug/elf"
	"fmt"
	"io"
	"maps"
	"os"
	"slices"
	"strings"
)

// Binary is a compiled program in the store.
type Binary struct {
	Digest string `json:"digest"` // "sha256:" and 64 hex digits
	Size   int64  `json:"size"`   // bytes
}

// Binaries are programs by name: etcd, etcdctl, etcdutl.
type Binaries map[string]Binary

// Content is a binary's bytes in the store. It is a rootfs.Content.
type Content struct {
	binary Binary
	store  Store
}

// Content returns the bytes of a binary that Compile returned.
func (c *Compiler) Content(b Binary) Content { return Content{binary: b, store: c.Store} }

// Digest is the digest of the bytes.
func (c Content) Digest() string { return c.binary.Digest }

// Size is the number of bytes.
func (c Content) Size() int64 { return c.binary.Size }

// Open returns the bytes, verified. A binary that turns out to be damaged is
// removed from the store, and the next Compile makes it again.
func (c Content) Open() (io.ReadCloser, error) {
	f, err := c.store.Open(c.binary.Digest)
	if err != nil {
		return nil, err
	}
	return f, nil
}

// machines are the ELF machines (ELF gABI, e_machine) of the architectures.
var machines = map[string]elf.Machine{
	"amd64": elf.EM_X86_64, "arm64": elf.EM_AARCH64, "ppc64le": elf.EM_PPC64, "s390x": elf.EM_S390,
}

// checkBinary tells whether file is what was to be compiled: a static
// executable for the architecture, whose own build information names the
// pinned module, toolchain and settings.
func checkBinary(file string, pin recipe, arch, pkg string) error {
	f, err := os.Open(file)
	if err != nil {
		return err
	}
	defer f.Close()
	if err := checkExecutable(f, arch); err != nil {
		return err
	}
	info, err := buildinfo.Read(f)
	if err != nil {
		return fmt.Errorf("it has no build information: %w", err)
	}
	if info.GoVersion != pin.Toolchain {
		return fmt.Errorf("%s compiled it, not %s", info.GoVersion, pin.Toolchain)
	}
	if info.Path != pkg {
		return fmt.Errorf("it is %s, not %s", info.Path, pkg)
	}
	want, err := mainVersion(pin.GoMod, info.Main.Path)
	if err != nil {
		return err
	}
	if info.Main.Version != want {
		return fmt.Errorf("it comes from %s %s, not %s", info.Main.Path, info.Main.Version, orNone(want))
	}
	settings := map[string]string{}
	for _, s := range info.Settings {
		settings[s.Key] = s.Value
	}
	expected := map[string]string{"-trimpath": "true"}
	for _, kv := range target(pin.Etcd, arch) {
		k, v, _ := strings.Cut(kv, "=")
		expected[k] = v
	}
	// What is not recorded is what it is by default: a module that is off
	// never is, and a level only since the toolchain knows it.
	defaults := map[string]string{"GOFIPS140": "off", levels[arch].setting: levels[arch].base}
	for _, k := range slices.Sorted(maps.Keys(expected)) {
		got, want := or(settings[k], defaults[k]), expected[k]
		if k == "GOFIPS140" {
			got, _, _ = strings.Cut(got, "-") // its checksum follows the version
		}
		if got != want {
			return fmt.Errorf("it was compiled with %s=%s, not %s", k, got, want)
		}
	}
	return nil
}

func orNone(v string) string {
	if v == "" {
		return "any that the lock pins"
	}
	return v
}
