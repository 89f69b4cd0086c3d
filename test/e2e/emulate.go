//go:build e2e

package e2e

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

const binfmt = "/proc/sys/fs/binfmt_misc"

// emulate has the kernel run foreign programs through qemu's user-mode
// emulation, containers included. The interpreter is registered by the line
// that the distribution's package brings: its flags are O (open the program
// for the interpreter), P (keep argv[0]) and F (open the interpreter now, so
// that it is found inside containers). What the tests registered goes when
// they end.
func (l *lab) emulate(t testing.TB, goarch string) {
	t.Helper()
	cpu := map[string]string{"arm64": "aarch64", "ppc64le": "ppc64le", "s390x": "s390x"}[goarch]
	entry := filepath.Join(binfmt, "qemu-"+cpu)
	if err := register(entry, filepath.Join("/usr/lib/binfmt.d", "qemu-"+cpu+".conf"), l.atEnd); err != nil {
		l.cannotRun(t, "no emulation of %s: %v", goarch, err)
	}
	b, err := os.ReadFile(entry)
	if err != nil {
		t.Fatal(err)
	}
	for line := range bytes.Lines(b) {
		if flags, ok := bytes.CutPrefix(line, []byte("flags: ")); ok && !bytes.ContainsRune(flags, 'F') {
			l.cannotRun(t, "%s was registered without the flag F, so containers can not find the interpreter", entry)
		}
	}
}

// register hands the line of a binfmt.d(5) file to the kernel, if entry is not
// there yet.
func register(entry, conf string, atEnd func(func())) error {
	if _, err := os.Stat(filepath.Join(binfmt, "register")); errors.Is(err, os.ErrNotExist) {
		if err := syscall.Mount("binfmt_misc", binfmt, "binfmt_misc", 0, ""); err != nil {
			return fmt.Errorf("mounting binfmt_misc: %w", err)
		}
	}
	if _, err := os.Stat(entry); err == nil {
		return nil
	}
	b, err := os.ReadFile(conf)
	if err != nil {
		return fmt.Errorf("qemu-user-static is not installed: %w", err)
	}
	for line := range strings.Lines(string(b)) {
		line = strings.TrimSpace(line)
		if line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		if err := os.WriteFile(filepath.Join(binfmt, "register"), []byte(line), 0); err != nil && !errors.Is(err, os.ErrExist) {
			return fmt.Errorf("registering the line of %s: %w", conf, err)
		}
		atEnd(func() { os.WriteFile(entry, []byte("-1"), 0) })
	}
	return nil
}
