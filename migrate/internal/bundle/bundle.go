// Package bundle knows the etcd binaries beside the operator: which versions
// there are, and where their programs stand.
//
// It must not know what to run them for.
package bundle

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/etcdimg/etcdimg/migrate/internal/version"
)

// Bundle is a set of versions in one directory.
type Bundle struct {
	dir      string
	versions []version.Version // in ascending order
	plain    version.Version   // the version of the programs without a suffix, if they are all there is
}

// Open checks that each version listed has etcd-V and etcdctl-V in dir. With
// none listed it takes those that are there; in an image of one version that is
// the plain etcd, which is asked for its version.
func Open(ctx context.Context, dir string, listed []version.Version) (*Bundle, error) {
	b := &Bundle{dir: dir}
	if len(listed) > 0 {
		b.versions = slices.Clone(listed)
		for _, v := range listed {
			for _, program := range []string{"etcd", "etcdctl"} {
				if err := executable(b.path(program, v)); err != nil {
					return nil, fmt.Errorf("version %s is said to be bundled: %w", v, err)
				}
			}
		}
	} else if err := b.discover(ctx); err != nil {
		return nil, err
	}
	slices.SortFunc(b.versions, version.Version.Compare)
	b.versions = slices.Compact(b.versions)
	return b, nil
}

func (b *Bundle) discover(ctx context.Context) error {
	entries, err := os.ReadDir(b.dir)
	if err != nil {
		return err
	}
	for _, e := range entries {
		s, ok := strings.CutPrefix(e.Name(), "etcd-")
		if v, err := version.Parse(s); ok && err == nil && executable(filepath.Join(b.dir, e.Name())) == nil {
			b.versions = append(b.versions, v)
		}
	}
	if len(b.versions) > 0 {
		return nil
	}
	name := filepath.Join(b.dir, "etcd")
	if executable(name) != nil {
		return fmt.Errorf("%s holds no etcd: name the directory of the binaries with --bin-dir", b.dir)
	}
	if b.plain, err = ask(ctx, name); err != nil {
		return err
	}
	b.versions = []version.Version{b.plain}
	return nil
}

// ask runs "etcd --version", whose first line ends in the version on all lines.
func ask(ctx context.Context, name string) (version.Version, error) {
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	out, err := exec.CommandContext(ctx, name, "--version").Output()
	if err != nil {
		return version.Version{}, fmt.Errorf("asking %s for its version: %w", name, err)
	}
	first, _, _ := strings.Cut(string(out), "\n")
	words := strings.Fields(first)
	if len(words) == 0 {
		return version.Version{}, fmt.Errorf("%s --version printed nothing", name)
	}
	return version.Parse(words[len(words)-1])
}

// Versions are the bundled versions in ascending order.
func (b *Bundle) Versions() []version.Version { return slices.Clone(b.versions) }

// Has says whether exactly this version is there.
func (b *Bundle) Has(v version.Version) bool { return slices.Contains(b.versions, v) }

func (b *Bundle) path(program string, v version.Version) string {
	if v == b.plain {
		return filepath.Join(b.dir, program)
	}
	return filepath.Join(b.dir, program+"-"+v.String())
}

// Program is the path of etcd, etcdctl or etcdutl of a bundled version; "" when
// it is not there.
func (b *Bundle) Program(program string, v version.Version) string {
	p := b.path(program, v)
	if executable(p) != nil {
		return ""
	}
	return p
}

// RestoreCommand is the beginning of the command line by which a version makes a data
// directory from a database, and the environment it needs; nil when no program
// for it is bundled. Up to 3.5 etcdctl can, from 3.5 on etcdutl.
func (b *Bundle) RestoreCommand(v version.Version) (args, env []string) {
	if p := b.Program("etcdutl", v); p != "" && !v.Line().Before(version.Line{Major: 3, Minor: 5}) {
		return []string{p, "snapshot", "restore"}, nil
	}
	if p := b.Program("etcdctl", v); p != "" && v.Line().Before(version.Line{Major: 3, Minor: 6}) && v.Major == 3 {
		return []string{p, "snapshot", "restore"}, []string{"ETCDCTL_API=3"}
	}
	return nil, nil
}

// InstallPlain copies etcd and etcdctl of a version over the plain names, as
// the published operator does. A plain program that is the same file content
// already is left alone, so that a read-only directory does not matter then.
func (b *Bundle) InstallPlain(v version.Version) error {
	if v == b.plain {
		return nil
	}
	for _, program := range []string{"etcd", "etcdctl"} {
		from, to := b.path(program, v), filepath.Join(b.dir, program)
		same, err := sameContent(from, to)
		if err != nil {
			return err
		}
		if same {
			continue
		}
		if err := replace(from, to); err != nil {
			return fmt.Errorf("making %s the etcd to run: %w (set DO_NOT_MOVE_BINARIES=true to leave %s alone)", from, err, b.dir)
		}
	}
	return nil
}

func replace(from, to string) (err error) {
	in, err := os.Open(from)
	if err != nil {
		return err
	}
	defer in.Close()
	info, err := in.Stat()
	if err != nil {
		return err
	}
	next := to + "-next"
	if err := os.Remove(next); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	out, err := os.OpenFile(next, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o700)
	if err != nil {
		return err
	}
	_, err = out.ReadFrom(in)
	err = errors.Join(err, out.Chmod(info.Mode().Perm()), out.Sync(), out.Close())
	if err == nil {
		err = os.Rename(next, to)
	}
	if err != nil {
		_ = os.Remove(next) // the first error says what is wrong
	}
	return err
}

func executable(name string) error {
	info, err := os.Stat(name)
	if err != nil {
		return err
	}
	if !info.Mode().IsRegular() || info.Mode().Perm()&0o111 == 0 {
		return fmt.Errorf("%s can not be executed", name)
	}
	return nil
}

// CheckInstall fails where InstallPlain would, as far as can be told without
// writing.
func (b *Bundle) CheckInstall(v version.Version) error {
	if v == b.plain {
		return nil
	}
	for _, program := range []string{"etcd", "etcdctl"} {
		same, err := sameContent(b.path(program, v), filepath.Join(b.dir, program))
		if err != nil {
			return err
		}
		if same {
			continue
		}
		if err := unix.Access(b.dir, unix.W_OK); err != nil {
			return fmt.Errorf("%s can not be written (%w), so %s can not be made the plain %s; set DO_NOT_MOVE_BINARIES=true to leave it alone", b.dir, err, b.path(program, v), program)
		}
	}
	return nil
}
