package profile_test

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/etcdimg/etcdimg/pkg/profile"
)

func files(t *testing.T, dir string) []string {
	t.Helper()
	var names []string
	for _, pattern := range []string{"*.yaml", "*.yml"} {
		found, err := filepath.Glob(filepath.Join(dir, pattern))
		if err != nil {
			t.Fatal(err)
		}
		names = append(names, found...)
	}
	if len(names) == 0 {
		t.Fatalf("no profiles in %s", dir)
	}
	return names
}

// memory is an opener of profiles in memory.
func memory(files map[string]string) profile.Opener {
	return func(name string) ([]byte, error) {
		text, ok := files[filepath.Clean(name)]
		if !ok {
			return nil, &fs.PathError{Op: "open", Path: name, Err: fs.ErrNotExist}
		}
		return []byte(text), nil
	}
}

func read(t *testing.T, text string) *profile.Profile {
	t.Helper()
	p, err := profile.Read("test.yaml", memory(map[string]string{"test.yaml": text}))
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func TestBadProfilesAreRefusedWithPlaceReasonAndRemedy(t *testing.T) {
	dir := filepath.Join(testdata, "bad")
	for _, file := range files(t, dir) {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".yaml"), func(t *testing.T) {
			p, err := profile.Read(filepath.Base(file), below(dir))
			if err == nil {
				t.Fatalf("was read: %+v", p)
			}
			var all profile.Errors
			if !errors.As(err, &all) {
				t.Fatalf("is %T, not Errors: %v", err, err)
			}
			for _, problem := range all {
				if problem.File == "" || problem.Line == 0 || problem.Column == 0 || problem.Message == "" || problem.Remedy == "" {
					t.Errorf("lacks a place, a reason or a remedy: %+v", problem)
				}
			}
			golden(t, strings.TrimSuffix(file, ".yaml")+".txt", []byte(err.Error()+"\n"))
		})
	}
}

func TestGoodProfilesResolve(t *testing.T) {
	dir := filepath.Join(testdata, "good")
	for _, file := range files(t, dir) {
		t.Run(filepath.Base(file), func(t *testing.T) {
			p, err := profile.Read(filepath.Base(file), below(dir))
			if err != nil {
				t.Fatal(err)
			}
			text, err := p.YAML()
			if err != nil {
				t.Fatal(err)
			}
			golden(t, strings.TrimSuffix(file, filepath.Ext(file))+".resolved", text)
		})
	}
}

func TestProblemsAreErrorsThatProgramsCanInspect(t *testing.T) {
	_, err := profile.Read("a.yaml", memory(map[string]string{"a.yaml": "include: b.yaml\nname: x\n"}))
	if !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a missing include is not fs.ErrNotExist: %v", err)
	}
	var problem *profile.Problem
	if !errors.As(err, &problem) {
		t.Fatalf("no *Problem in %v", err)
	}
	if problem.File != "a.yaml" || problem.Line != 1 || problem.Key != "include" {
		t.Errorf("wrong place: %+v", problem)
	}
	if _, err := profile.Load(filepath.Join(t.TempDir(), "none.yaml")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a missing profile is not fs.ErrNotExist: %v", err)
	}
}

func TestProblemsOfAllFilesComeAtOnceInOrder(t *testing.T) {
	_, err := profile.Read("z.yaml", memory(map[string]string{
		"z.yaml": "include: a.yaml\nports: [1]\nwrong: 1\n",
		"a.yaml": "etcd: {versions: [x]}\nwork-dir: y\n",
	}))
	var all profile.Errors
	if !errors.As(err, &all) {
		t.Fatal(err)
	}
	var got []string
	for _, p := range all {
		got = append(got, p.File+" "+p.Key)
	}
	want := []string{"a.yaml etcd.versions[0]", "a.yaml work-dir", "z.yaml ports[0]", "z.yaml wrong"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

func TestIncludeMergesMapsAndReplacesLists(t *testing.T) {
	p, err := profile.Read("top.yaml", memory(map[string]string{
		"top.yaml":    "include: middle.yaml\nlabels: {a: top}\nports: [1/tcp]\nwork-dir: \"\"\nvolumes: []\n",
		"middle.yaml": "include: bottom.yaml\nlabels: {b: middle}\nlayering: {budget: 3}\n",
		"bottom.yaml": "etcd: {versions: [3.6.16]}\nlabels: {a: bottom, b: bottom, c: bottom}\nports: [2/tcp, 3/tcp]\nlayering: {budget: 2, compression: zstd}\nwork-dir: /x\nvolumes: [/v]\n",
	}))
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(map[string]string{"a": "top", "b": "middle", "c": "bottom"}, p.Labels); diff != "" {
		t.Errorf("labels: %s", diff)
	}
	if diff := cmp.Diff([]string{"1/tcp"}, p.Ports); diff != "" {
		t.Errorf("ports: %s", diff)
	}
	if diff := cmp.Diff(profile.Layering{Strategy: "component", Budget: 3, Compression: "zstd"}, p.Layering); diff != "" {
		t.Errorf("layering: %s", diff)
	}
	if p.WorkDir != "" || len(p.Volumes) != 0 {
		t.Errorf("an empty value does not take back the include's: %q %q", p.WorkDir, p.Volumes)
	}
	if p.Include != "" || p.Name != "top" {
		t.Errorf("include %q, name %q", p.Include, p.Name)
	}
	for key, want := range map[string]struct {
		file string
		line int
	}{
		"labels.a":           {"top.yaml", 2},
		"labels.b":           {"middle.yaml", 2},
		"etcd.versions[0]":   {"bottom.yaml", 1},
		"etcd.toolchain":     {"bottom.yaml", 1}, // absent: the mapping around it
		"tag":                {"top.yaml", 1},    // absent: the profile
		"layering.budget":    {"middle.yaml", 3},
		"layering.strategy":  {"middle.yaml", 3},
		"layering.something": {"middle.yaml", 3},
	} {
		if file, line := p.Origin(key); file != want.file || line != want.line {
			t.Errorf("%s is of %s:%d, want %s:%d", key, file, line, want.file, want.line)
		}
	}
	if got, want := p.Problem("labels.b", "is wrong", "right it").Error(), "middle.yaml:2: labels.b: is wrong: right it"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestIncludesCanNotNestForever(t *testing.T) {
	// Each file includes one of another name, as a symbolic link can make it.
	_, err := profile.Read("d.yaml", func(string) ([]byte, error) { return []byte("include: d/d.yaml\n"), nil })
	if err == nil || !strings.Contains(err.Error(), "nested deeper") {
		t.Errorf("got %v", err)
	}
}

func TestLocalFilesAreFoundFromTheFileThatNamesThem(t *testing.T) {
	root := t.TempDir()
	for name, text := range map[string]string{
		"configs/top.yaml": "include: ../shared/base.yaml\ncontents: {files: [{source: ./motd, path: /etc/motd}]}\n",
		"shared/base.yaml": "contents: {keyring: [keys/a.asc, /abs/b.asc]}\ncertificates: {additional: [{name: ca, source: ../ca.pem}]}\n",
	} {
		if err := os.MkdirAll(filepath.Join(root, filepath.Dir(name)), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(root, name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	p, err := profile.Load(filepath.Join(root, "configs/top.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct{ named, shown, found string }{
		{p.Contents.Files[0].Source, "./motd", filepath.Join(root, "configs/motd")},
		{p.Contents.Keyring[0], "../shared/keys/a.asc", filepath.Join(root, "shared/keys/a.asc")},
		{p.Contents.Keyring[1], "/abs/b.asc", "/abs/b.asc"},
		{p.Certificates.Additional[0].Source, "../ca.pem", filepath.Join(root, "ca.pem")},
	} {
		if c.named != c.shown {
			t.Errorf("is named %q, want %q", c.named, c.shown)
		}
		if got := p.Local(c.named); got != c.found {
			t.Errorf("%s is looked for at %q, want %q", c.named, got, c.found)
		}
	}
	text, err := p.JSON()
	if err != nil {
		t.Fatal(err)
	}
	if strings.Contains(string(text), root) {
		t.Errorf("a path of the machine is in the profile:\n%s", text)
	}
}

func TestLocalFilesAreReadFromWhereTheProfileWas(t *testing.T) {
	const text = "etcd: {versions: [3.6.16]}\ncontents: {files: [{source: ./motd, path: /etc/motd}]}\n"
	p, err := profile.Read("dir/top.yaml", func(name string) ([]byte, error) {
		return []byte(map[string]string{"dir/top.yaml": text, "dir/motd": "hello"}[name]), nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if b, err := p.ReadLocal(p.Contents.Files[0].Source); err != nil || string(b) != "hello" {
		t.Errorf("through the opener: %q, %v", b, err)
	}
	file := filepath.Join(t.TempDir(), "motd")
	if err := os.WriteFile(file, []byte("from disk"), 0o644); err != nil {
		t.Fatal(err)
	}
	if b, err := new(profile.Profile).ReadLocal(file); err != nil || string(b) != "from disk" {
		t.Errorf("of a profile that was not read: %q, %v", b, err)
	}
}

func TestDefaults(t *testing.T) {
	p := read(t, "etcd: {versions: [3.6.16]}\naccounts: {users: [{username: root, uid: 0}, {username: a, uid: 7}, {username: b, uid: 8, gid: 0}]}\n")
	want := &profile.Profile{
		Name:        "test",
		Etcd:        profile.Etcd{Versions: []string{"3.6.16"}, Binaries: []string{"etcd"}, From: profile.From{"default": "source"}},
		Environment: map[string]string{"PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"},
		Accounts: profile.Accounts{Users: []profile.User{
			{UserName: "root", HomeDir: "/root", Shell: "/sbin/nologin"},
			{UserName: "a", UID: 7, GID: 7, HomeDir: "/home/a", Shell: "/sbin/nologin"},
			{UserName: "b", UID: 8, GID: 0, HomeDir: "/home/b", Shell: "/sbin/nologin"},
		}},
		Archs:    profile.Archs(),
		Tag:      "{{.EtcdVersion}}-{{.Revision}}",
		Layering: profile.Layering{Strategy: "component", Budget: 8, Compression: "gzip"},
	}
	if diff := cmp.Diff(asJSON(t, want), asJSON(t, p)); diff != "" {
		t.Error(diff)
	}
}

func asJSON(t *testing.T, p *profile.Profile) string {
	t.Helper()
	text, err := p.JSON()
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

func TestValidateJudgesAProfileThatAProgramMade(t *testing.T) {
	p := read(t, "etcd: {versions: [3.6.16]}\n")
	if err := p.Validate(); err != nil {
		t.Fatal(err)
	}
	p.Accounts.RunAs, p.Archs = "nobody", nil
	err := p.Validate()
	var all profile.Errors
	if !errors.As(err, &all) || len(all) != 2 {
		t.Fatalf("got %v", err)
	}
	made := &profile.Profile{Tag: "x", Archs: profile.Archs(), Paths: []profile.Path{{Path: "/a", Type: "permissions", Permissions: 0o700}}}
	if err := made.Validate(); err != nil {
		t.Error(err)
	}
}

func TestRunAs(t *testing.T) {
	const head = "etcd: {versions: [3.6.16]}\ncontents: {repositories: [debian trixie main], packages: [\"@required\"]}\n"
	const users = "accounts: {users: [{username: app, uid: 7, gid: 8}], run-as: "
	for runAs, want := range map[string][2]int{
		`""`: {0, 0}, "root": {0, 0}, "app": {7, 8}, "7": {7, 8}, "9": {9, 0}, `"7:9"`: {7, 9},
		"nobody": {65534, 65534}, "www-data": {33, 33}, `"4294967294"`: {4294967294, 0},
	} {
		p := read(t, head+users+runAs+"}\n")
		uid, gid, ok := p.RunAs()
		if !ok || uid != want[0] || gid != want[1] {
			t.Errorf("run-as %s is %d:%d (%t), want %d:%d", runAs, uid, gid, ok, want[0], want[1])
		}
	}
	p := read(t, "etcd: {versions: [3.6.16]}\n")
	for _, runAs := range []string{"nobody", "1:", ":1", "-1", "+1", "1:2:3", "4294967295", "99999999999999999999", "a:b"} {
		p.Accounts.RunAs = runAs
		if uid, gid, ok := p.RunAs(); ok {
			t.Errorf("run-as %q is taken for %d:%d", runAs, uid, gid)
		}
	}
}

func TestVolumesOfUsersThatCanWriteThem(t *testing.T) {
	for name, text := range map[string]string{
		"by root":             "paths: []\n",
		"by its owner":        "accounts: {run-as: 7}\npaths: [{path: /data, type: directory, uid: 7, permissions: 0o300}]\n",
		"by its group":        "accounts: {run-as: \"7:8\"}\npaths: [{path: /data, type: directory, gid: 8, permissions: 0o770}]\n",
		"by a member":         "accounts: {run-as: app, users: [{username: app, uid: 7}], groups: [{groupname: g, gid: 8, members: [app]}]}\npaths: [{path: /data, type: directory, gid: 8, permissions: 0o770}]\n",
		"by anyone":           "accounts: {run-as: 7}\npaths: [{path: /data, type: directory, permissions: 0o1777}]\n",
		"by a path around it": "accounts: {run-as: 7}\npaths: [{path: /, type: permissions, uid: 7, permissions: 0o755, recursive: true}]\n",
		"of base-files":       "accounts: {run-as: 7}\ncontents: {repositories: [debian trixie main], packages: [base-files]}\npaths: [{path: /data, type: directory, uid: 7}]\nlabels: {x: y}\n",
	} {
		volumes := "volumes: [/data]\n"
		if name == "of base-files" {
			volumes = "volumes: [/data, /tmp, /var/tmp]\n"
		}
		if _, err := profile.Read("v.yaml", memory(map[string]string{"v.yaml": "etcd: {versions: [3.6.16]}\n" + volumes + text})); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestOlderLinesMayStandBesideADefaultThatHasEtcdutl(t *testing.T) {
	// They just have no etcdutl of their own.
	p := read(t, "etcd: {versions: [3.6.16, 3.4.26, 3.0.17], binaries: [etcd, etcdctl, etcdutl]}\n")
	if !slices.Contains(p.Etcd.Binaries, "etcdutl") {
		t.Error("etcdutl is gone")
	}
}

func TestLocalFilesAreReadByWhatReadTheProfile(t *testing.T) {
	files := map[string]string{
		"configs/p.yaml": "contents:\n  keyring: [../keys/a.asc, /abs/b.asc]\n  files: [{source: motd, path: /etc/motd}, {source: motd, path: /etc/issue}]\ncertificates: {additional: [{name: a, source: ca.pem}, {name: b, source: ca.pem}]}\n",
		"configs/motd":   "hello", "keys/a.asc": "a", "/abs/b.asc": "b", "configs/ca.pem": "ca",
	}
	p, err := profile.Read("configs/p.yaml", memory(files))
	if err != nil {
		t.Fatal(err)
	}
	if got := strings.Join(p.Sources(p.Archs), " "); got != "../keys/a.asc /abs/b.asc ca.pem motd" {
		t.Errorf("sources are %s", got)
	}
	for source, want := range map[string]string{"motd": "hello", "../keys/a.asc": "a", "/abs/b.asc": "b", "ca.pem": "ca"} {
		if b, err := p.ReadLocal(source); err != nil || string(b) != want {
			t.Errorf("%s is %q, %v; want %q", source, b, err, want)
		}
	}
	if _, err := p.ReadLocal("other"); err == nil {
		t.Error("a file that is not there is no error")
	}
	// A profile that nobody read stands in the working directory.
	if b, err := new(profile.Profile).ReadLocal("testdata/../read_test.go"); err != nil || len(b) == 0 {
		t.Errorf("%d bytes, %v", len(b), err)
	}
}
