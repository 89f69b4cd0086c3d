package build_test

import (
	"context"
	"slices"
	"strings"
	"testing"

	"github.com/etcdimg/etcdimg/pkg/build"
	"github.com/etcdimg/etcdimg/pkg/lock"
	"github.com/etcdimg/etcdimg/pkg/profile"
	"github.com/etcdimg/etcdimg/pkg/rootfs"
)

// migrate is an operator that is made as the compiler makes its programs.
type migrate struct{ *compiler }

func (m migrate) as() lock.Etcd { return lock.Etcd{Version: "operator"} }

func (m migrate) Pin(toolchain string, settings map[string]string) (lock.Migrate, error) {
	return lock.Migrate{Sources: "sha256:00", Toolchain: toolchain, Settings: settings}, nil
}

func (m migrate) Compile(ctx context.Context, pin lock.Migrate, arch string) (rootfs.Content, error) {
	made, err := m.compiler.Compile(ctx, m.as(), arch, []string{"migrate"})
	return made["migrate"], err
}

func (m migrate) Cached(pin lock.Migrate, arch string) bool {
	return m.compiler.Cached(m.as(), arch, []string{"migrate"})
}

func (m migrate) Prefetch(ctx context.Context, pin lock.Migrate, archs []string) error {
	return m.compiler.Prefetch(ctx, m.as(), archs, nil)
}

func (m migrate) Script() []byte { return []byte("#!/bin/sh\n") }

// withMigrate are the pins of a profile and of the operator.
func withMigrate(p *profile.Profile) *lock.Lock {
	l := pins(p)
	l.Migrate = &lock.Migrate{Sources: "sha256:00"}
	return l
}

func TestTheOperatorIsALayerOfItsOwnOnTop(t *testing.T) {
	l := newLab(t, t.TempDir())
	l.Operator = migrate{l.compiler}
	p := read(t, text)
	for name, shell := range map[string][]profile.Path{
		"without a shell": nil,
		"with a shell": {
			{Path: "/usr/bin/dash", Type: "empty-file", Permissions: 0o755},
			{Path: "/bin/sh", Type: "symlink", Source: "/usr/bin/dash"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			p := *p
			p.Paths = slices.Concat(p.Paths, shell)
			r, err := l.Build(t.Context(), &p, withMigrate(&p), p.Archs, func(*build.Result) error { return nil })
			if err != nil {
				t.Fatal(err)
			}
			for _, img := range r.Images {
				files := contents(t, r.Index, img.Digest)
				if got, want := files["usr/local/bin/migrate"], "migrate operator "+img.Arch; got != want {
					t.Errorf("migrate is %q, want %q", got, want)
				}
				if script, want := files["usr/local/bin/migrate-if-needed.sh"], len(shell) > 0; (script == "#!/bin/sh") != want {
					t.Errorf("the script begins with %q; want one: %v", script, want)
				}
				if top := img.Layers[len(img.Layers)-1]; !slices.Equal(top.Components, []string{"migrate"}) {
					t.Errorf("on top is %q", top.Components)
				}
			}
		})
	}
	if !slices.ContainsFunc(l.events, func(e build.Event) bool { return e.Kind == build.Finished && e.Task == "migrate arm64" }) {
		t.Error("no event tells of the operator")
	}
}

func TestAnImageHasNoOperatorUnlessItsLockSaysSo(t *testing.T) {
	l := newLab(t, t.TempDir())
	l.Operator = migrate{l.compiler}
	r := l.build(t, read(t, text), "")
	if files := contents(t, r.Index, r.Images[0].Digest); files["usr/local/bin/migrate"] != "" {
		t.Error("it is there")
	}
}

func TestABuildWithoutTheOperatorsSourcesSaysSo(t *testing.T) {
	l := newLab(t, t.TempDir())
	p := read(t, text+"migrate: true\n")
	if _, err := l.Resolve(t.Context(), p, p.Archs); err == nil || !strings.Contains(err.Error(), "test.yaml:14: migrate: this build has no migrate operator") {
		t.Errorf("resolving: %v", err)
	}
	_, err := l.Build(t.Context(), p, withMigrate(p), p.Archs, func(*build.Result) error { return nil })
	if err == nil || !strings.Contains(err.Error(), "no migrate operator") {
		t.Errorf("building: %v", err)
	}
}
