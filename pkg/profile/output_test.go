package profile_test

import (
	"bytes"
	"encoding/json"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/santhosh-tekuri/jsonschema/v6"
	"go.yaml.in/yaml/v3"

	"github.com/etcdimg/etcdimg/pkg/profile"
)

const configs = "../../configs"

// images are the profiles of configs; what begins with base is for them to
// include.
func images(t *testing.T) []string {
	t.Helper()
	var found []string
	for _, file := range files(t, configs) {
		if filepath.Base(file) != "base.yaml" {
			found = append(found, file)
		}
	}
	return found
}

func TestTheProfilesOfTheProjectAreRead(t *testing.T) {
	for _, file := range images(t) {
		if _, err := profile.Load(file); err != nil {
			t.Error(err)
		}
	}
}

func TestAPrintedProfileIsReadBackEqual(t *testing.T) {
	for _, file := range append(images(t), files(t, filepath.Join(testdata, "good"))...) {
		p, err := profile.Load(file)
		if err != nil {
			t.Fatal(err)
		}
		for form, write := range map[string]func(*profile.Profile) ([]byte, error){"YAML": (*profile.Profile).YAML, "JSON": (*profile.Profile).JSON} {
			text, err := write(p)
			if err != nil {
				t.Fatal(err)
			}
			again, err := profile.Read("elsewhere/"+filepath.Base(file), func(string) ([]byte, error) { return text, nil })
			if err != nil {
				t.Errorf("%s as %s: %v\n%s", file, form, err, text)
				continue
			}
			if diff := cmp.Diff(p, again, cmpopts.IgnoreUnexported(profile.Profile{}), cmpopts.EquateEmpty()); diff != "" {
				t.Errorf("%s as %s (-printed +read):\n%s", file, form, diff)
			}
			if again.Digest() != p.Digest() {
				t.Errorf("%s as %s: another digest", file, form)
			}
		}
	}
}

func TestAnyTextSurvivesPrinting(t *testing.T) {
	for _, text := range []string{
		"", " ", "\n", "\n\n", "a\n", " a\nb", "\n a", "a\n ", "a \nb", "\ta\n\tb", "\r\n", "a\rb", "\x00", "\x7f", "\u0080", "\ufffe", "\uffff", "\ue000", "\U0010ffff", "a\u0085b", "a\u2028b", "\ufeffa",
		"yes", "null", "~", "1.10", "0o755", "2026-01-02", "x: y", "- a", "# a", "a # b", "@a", "!a", "*a", "&a", "%a", "<<", "'", "\"", "\\", "grüße 👋", "a<b>&c",
	} {
		p := read(t, "etcd: {versions: [3.6.16]}\n")
		p.Labels = map[string]string{"text": text, "permissions": "0o755"}
		for _, write := range []func(*profile.Profile) ([]byte, error){(*profile.Profile).YAML, (*profile.Profile).JSON} {
			printed, err := write(p)
			if err != nil {
				t.Fatalf("%q: %v", text, err)
			}
			again, err := profile.Read("test.yaml", func(string) ([]byte, error) { return printed, nil })
			if err != nil {
				t.Errorf("%q: %v\n%s", text, err, printed)
			} else if again.Labels["text"] != text {
				t.Errorf("%q becomes %q by\n%s", text, again.Labels["text"], printed)
			}
		}
	}
}

func TestAProfileGoesThroughJSONAsPlainData(t *testing.T) {
	p, err := profile.Load(filepath.Join(testdata, "good/full.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	text, err := p.JSON()
	if err != nil {
		t.Fatal(err)
	}
	var again profile.Profile
	if err := json.Unmarshal(text, &again); err != nil {
		t.Fatal(err)
	}
	if again.Digest() != p.Digest() {
		t.Errorf("another digest after %s", text)
	}
}

func TestTheDigestIsOfTheMeaning(t *testing.T) {
	const one = "etcd: {versions: [3.6.16]}\narchs: [amd64]\npaths: [{path: /a, type: directory, permissions: 0o755}]\n"
	want := read(t, one).Digest()
	if !regexp.MustCompile(`^sha256:[0-9a-f]{64}$`).MatchString(want) {
		t.Errorf("%q is not a digest", want)
	}
	for name, text := range map[string]string{
		"other spelling": "# words\npaths:\n- type: directory\n  path: /a\n  permissions: 0755\narchs: [x86_64]\netcd:\n  versions: ['3.6.16']\n",
		"defaults":       one + "volumes: []\nrevision: 0\nmigrate: false\nlayering: {budget: 8}\nname: test\n",
	} {
		if got := read(t, text).Digest(); got != want {
			t.Errorf("%s: %s, want %s", name, got, want)
		}
	}
	for name, text := range map[string]string{
		"a mode":       strings.Replace(one, "0o755", "0o700", 1),
		"mode 0":       strings.Replace(one, "0o755", "0", 1),
		"a label":      one + "labels: {a: b}\n",
		"architecture": strings.Replace(one, "amd64", "arm64", 1),
	} {
		if read(t, text).Digest() == want {
			t.Errorf("%s does not change the digest", name)
		}
	}
	moved, err := profile.Read("/some/where/test.yaml", func(string) ([]byte, error) { return []byte(one), nil })
	if err != nil {
		t.Fatal(err)
	}
	if moved.Digest() != want {
		t.Error("the digest depends on where the profile stands")
	}
}

func schema(t *testing.T) *jsonschema.Schema {
	t.Helper()
	document, err := jsonschema.UnmarshalJSON(bytes.NewReader(profile.Schema()))
	if err != nil {
		t.Fatal(err)
	}
	c := jsonschema.NewCompiler()
	if err := c.AddResource("schema.json", document); err != nil {
		t.Fatal(err)
	}
	compiled, err := c.Compile("schema.json")
	if err != nil {
		t.Fatal(err)
	}
	return compiled
}

// asInstance is what an editor's schema check sees of a file.
func asInstance(t *testing.T, text []byte) any {
	t.Helper()
	var value any
	if err := yaml.Unmarshal(text, &value); err != nil {
		t.Fatal(err)
	}
	data, err := json.Marshal(value)
	if err != nil {
		t.Fatal(err)
	}
	instance, err := jsonschema.UnmarshalJSON(bytes.NewReader(data))
	if err != nil {
		t.Fatal(err)
	}
	return instance
}

func TestTheCommittedSchemaIsThatOfTheTypes(t *testing.T) {
	golden(t, filepath.Join(configs, "schema.json"), profile.Schema())
}

func TestTheSchemaAcceptsWhatIsRead(t *testing.T) {
	s := schema(t)
	good := filepath.Join(testdata, "good")
	for _, file := range append(files(t, configs), append(files(t, good), files(t, filepath.Join(good, "shared"))...)...) {
		text, err := below(".")(file)
		if err != nil {
			t.Fatal(err)
		}
		if err := s.Validate(asInstance(t, text)); err != nil {
			t.Errorf("%s: %v", file, err)
		}
	}
	for _, file := range images(t) {
		p, err := profile.Load(file)
		if err != nil {
			t.Fatal(err)
		}
		text, err := p.YAML()
		if err != nil {
			t.Fatal(err)
		}
		if err := s.Validate(asInstance(t, text)); err != nil {
			t.Errorf("%s as resolved: %v", file, err)
		}
	}
}

func TestTheSchemaRefusesWhatNoProfileMayHold(t *testing.T) {
	s := schema(t)
	for _, text := range []string{
		"unknown: 1", "etcd: {versions: [v3.6.16]}", "etcd: {versions: 3.6.16}", "etcd: {from: binary}", "archs: [riscv64]",
		"ports: [2379]", "ports: [2379/icmp]", "work-dir: data", "volumes: [data]", "stop-signal: TERM",
		"paths: [{path: /a}]", "paths: [{path: /a, type: folder}]", "paths: [{path: /a, type: directory, permissions: 0o10000}]",
		"paths: [{path: /a, type: directory, permissions: \"755\"}]", "layering: {budget: 0}", "layering: {budget: 128}",
		"accounts: {users: [{username: a, uid: -1}]}", "accounts: {users: [{uid: 1}]}", "healthcheck: {interval: 1s}",
		"healthcheck: {test: [NONE], interval: 30}", "labels: {a: 1}", "contents: {packages: [Bash]}",
	} {
		if err := s.Validate(asInstance(t, []byte(text))); err == nil {
			t.Errorf("accepts %s", text)
		}
		if _, err := profile.Read("x", func(string) ([]byte, error) { return []byte(text), nil }); err == nil {
			t.Errorf("%s is read", text)
		}
	}
}
