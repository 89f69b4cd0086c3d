package profile_test

import (
	"runtime"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/etcdimg/etcdimg/pkg/profile"
)

func TestModesAreOctalInEverySpelling(t *testing.T) {
	for text, want := range map[string]profile.Mode{
		"0o755": 0o755, "0755": 0o755, "0": 0, "00": 0, "0o0": 0, "0o4755": 0o4755, "07777": 0o7777, "0o1777": 0o1777,
	} {
		got, err := profile.ParseMode(text)
		if err != nil || got != want {
			t.Errorf("%s is %s (%v), want %s", text, got, err, want)
		}
		if again, err := profile.ParseMode(got.String()); err != nil || again != got {
			t.Errorf("%s is printed as %s, which is %s (%v)", text, got, again, err)
		}
	}
	for _, text := range []string{"", "755", "0o", "o755", "0x1ed", "0o789", "0o10000", "-0755", "0755 ", "0o77777777777777777777"} {
		if got, err := profile.ParseMode(text); err == nil {
			t.Errorf("%q is taken for %s", text, got)
		}
	}
}

func TestArchitecturesByAnyOfTheirNames(t *testing.T) {
	for text, want := range map[string]profile.Arch{
		"amd64": "amd64", "x86_64": "amd64", "arm64": "arm64", "aarch64": "arm64",
		"ppc64le": "ppc64le", "ppc64el": "ppc64le", "s390x": "s390x", "linux/arm64": "arm64",
	} {
		if got, err := profile.ParseArch(text); err != nil || got != want {
			t.Errorf("%s is %s (%v), want %s", text, got, err, want)
		}
	}
	for _, text := range []string{"", "riscv64", "linux/", "windows/amd64", "AMD64", "all"} {
		if got, err := profile.ParseArch(text); err == nil {
			t.Errorf("%q is taken for %s", text, got)
		}
	}
	if got, err := profile.ParseArch("host"); (err == nil) != (got == profile.Arch(runtime.GOARCH)) {
		t.Errorf("the host %s is %q (%v)", runtime.GOARCH, got, err)
	}
}

func TestCommandsAreSplitAsAShellWould(t *testing.T) {
	for line, want := range map[string][]string{
		"":                         nil,
		"  \t\n":                   nil,
		"/usr/local/bin/etcd":      {"/usr/local/bin/etcd"},
		" a  b\tc\n":               {"a", "b", "c"},
		`'a b' "c d"`:              {"a b", "c d"},
		`a'b'"c"d`:                 {"abcd"},
		`'' ""`:                    {"", ""},
		`a\ b \\ \"`:               {"a b", `\`, `"`},
		`"a\"b\\c\d\$e"`:           {`a"b\c\d$e`},
		`'a\b'`:                    {`a\b`},
		"a\\\nb \"c\\\nd\"":        {"ab", "cd"},
		`--name=$NAME > x | y # z`: {"--name=$NAME", ">", "x", "|", "y", "#", "z"},
		`grüße 'шум'`:              {"grüße", "шум"},
	} {
		got, err := profile.SplitCommand(line)
		if err != nil {
			t.Errorf("%q: %v", line, err)
		} else if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%q (-want +got):\n%s", line, diff)
		}
	}
	for _, line := range []string{`'a`, `"a`, `a"b`, `a\`, `"a\"`, "a\x00b", "'\x00'"} {
		if got, err := profile.SplitCommand(line); err == nil {
			t.Errorf("%q is split into %q", line, got)
		}
	}
}

func TestArgvIsEntrypointThenCmd(t *testing.T) {
	p := &profile.Profile{Entrypoint: profile.Command{Command: "migrate --"}, Cmd: "etcd --name 'a b'"}
	got, err := p.Argv()
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{"migrate", "--", "etcd", "--name", "a b"}, got); diff != "" {
		t.Error(diff)
	}
	p.Cmd = "'"
	if got, err := p.Argv(); err == nil {
		t.Errorf("got %q", got)
	}
}

func TestTagsAreMadeFromTheTemplate(t *testing.T) {
	p := &profile.Profile{Name: "etcd", Revision: 2, Etcd: profile.Etcd{Versions: []string{"3.6.16", "3.5.35"}}}
	for template, want := range map[string]string{
		"{{.EtcdVersion}}-{{.Revision}}":          "3.6.16-2",
		"v{{.EtcdVersion}}":                       "v3.6.16",
		"{{.Name}}_{{ printf `%03d` .Revision }}": "etcd_002",
		"latest": "latest",
	} {
		p.Tag = template
		if got, err := p.ImageTag(); err != nil || got != want {
			t.Errorf("%s gives %q (%v), want %q", template, got, err, want)
		}
	}
	for _, template := range []string{"", "{{.Arch}}", "a b", "-a", "{{range 3}}x{{end}}", "{{template `tag`}}", "{{", "a/b"} {
		p.Tag = template
		if got, err := p.ImageTag(); err == nil {
			t.Errorf("%q gives %q", template, got)
		}
	}
}
