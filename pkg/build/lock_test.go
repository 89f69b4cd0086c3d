package build_test

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/etcdimg/etcdimg/pkg/build"
	"github.com/etcdimg/etcdimg/pkg/lock"
	"github.com/etcdimg/etcdimg/pkg/profile"
)

// locked is a profile in a file, with a file beside it, and its lock.
func locked(t *testing.T, yaml string) (*profile.Profile, *lock.Lock) {
	t.Helper()
	dir := t.TempDir()
	for name, text := range map[string]string{"p.yaml": yaml, "motd": "hello\n"} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	p, err := profile.Load(filepath.Join(dir, "p.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	b, err := build.New(build.Options{Cache: newLab(t, t.TempDir()).Cache})
	if err != nil {
		t.Fatal(err)
	}
	l, err := b.Resolve(t.Context(), p, p.Archs)
	if err != nil {
		t.Fatal(err)
	}
	return p, l
}

// bare needs no network: the wrapper of its etcd comes with etcdimg.
const bare = `
etcd: {versions: [3.6.16]}
cmd: /usr/local/bin/etcd
work-dir: /
contents: {files: [{source: motd, path: /etc/motd}]}
archs: [amd64, arm64]
`

func reload(t *testing.T, p *profile.Profile, old, new string) *profile.Profile {
	t.Helper()
	b, err := os.ReadFile(p.File())
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(p.File(), []byte(strings.Replace(string(b), old, new, 1)), 0o644); err != nil {
		t.Fatal(err)
	}
	if p, err = profile.Load(p.File()); err != nil {
		t.Fatal(err)
	}
	return p
}

func TestALockMatchesItsProfileUntilAKeyOrAFileChanges(t *testing.T) {
	for name, c := range map[string]struct {
		old, new string
		keys     []string // that the error names, with the line in p.yaml
	}{
		"nothing":       {"", "", nil},
		"a comment":     {"\n", "\n# how\n", nil},
		"a key":         {"cmd: /usr/local/bin/etcd", "cmd: /usr/local/bin/etcd --help", []string{`p.yaml:3: cmd: "/usr/local/bin/etcd" → "/usr/local/bin/etcd --help"`}},
		"architectures": {"[amd64, arm64]", "[arm64]", []string{`p.yaml:6: archs: ["amd64","arm64"] → ["arm64"]`}},
		"two keys":      {"work-dir: /\n", "work-dir: /etc\nports: [2379/tcp]\n", []string{`work-dir: "/" → "/etc"`, `ports: (none) → ["2379/tcp"]`}},
	} {
		t.Run(name, func(t *testing.T) {
			p, l := locked(t, bare)
			err := build.Match(reload(t, p, c.old, c.new), l, p.Archs)
			if c.keys == nil {
				if err != nil {
					t.Error(err)
				}
				return
			}
			var wrong *build.MismatchError
			if !errors.As(err, &wrong) || len(wrong.Differences) != len(c.keys) {
				t.Fatalf("error: %v", err)
			}
			for _, want := range c.keys {
				if !strings.Contains(err.Error(), want) {
					t.Errorf("no %q in\n%v", want, err)
				}
			}
		})
	}
	p, l := locked(t, bare)
	if err := os.WriteFile(filepath.Join(filepath.Dir(p.File()), "motd"), []byte("another\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := build.Match(p, l, p.Archs); err == nil || !strings.Contains(err.Error(), "file motd: 5891b5b5") {
		t.Errorf("with another file beside the profile: %v", err)
	}
	p = reload(t, p, "{source: motd", "{source: nowhere")
	if err := build.Match(p, l, p.Archs); err == nil || !strings.Contains(err.Error(), "p.yaml:5: contents.files[0]: ") {
		t.Errorf("with a file that is missing: %v", err)
	}
}

func TestALockOfAnotherImageFormatIsRefused(t *testing.T) {
	for format, want := range map[int]string{lock.FormatVersion + 1: "use a newer etcdimg", 0: "can not make any more"} {
		p, l := locked(t, bare)
		l.FormatVersion = format
		if err := build.Match(p, l, p.Archs); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("format %d: %v", format, err)
		}
	}
}

func TestAKeyThatEtcdimgLearntSinceIsNoMismatch(t *testing.T) {
	p, l := locked(t, bare)
	// An older etcdimg knew no layering: it is not in the lock.
	text := string(l.Config)
	i := strings.Index(text, `"layering"`)
	l.Config = []byte(strings.TrimRight(strings.TrimSpace(text[:i]), ",") + "}")
	l.Profile = lock.ConfigDigest(l.Config)
	if err := build.Match(p, l, p.Archs); err != nil {
		t.Error(err)
	}
}

func TestALockThatLacksSomethingIsRefused(t *testing.T) {
	p, l := locked(t, bare)
	l.Debian = []lock.Debian{{Arch: "amd64"}}
	if err := build.Match(p, l, p.Archs); err == nil || !strings.Contains(err.Error(), "none for arm64") {
		t.Errorf("error: %v", err)
	}
	l.Debian, l.Etcd = nil, nil
	if err := build.Match(p, l, p.Archs); err == nil || !strings.Contains(err.Error(), "lacks etcd 3.6.16") {
		t.Errorf("error: %v", err)
	}
}

func TestALockIsTheSameWhereverItIsMade(t *testing.T) {
	_, a := locked(t, bare)
	_, b := locked(t, bare)
	one, err := a.Bytes()
	if err != nil {
		t.Fatal(err)
	}
	other, err := b.Bytes()
	if err != nil {
		t.Fatal(err)
	}
	if string(one) != string(other) {
		t.Errorf("one is\n%s\nthe other\n%s", one, other)
	}
	if _, err := lock.Read("x", one); err != nil {
		t.Error(err)
	}
}
