package debian

import (
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
)

func TestAptSourcesAreReadInAptsOrder(t *testing.T) {
	dir := t.TempDir()
	for name, text := range map[string]string{
		"sources.list": `# a comment
deb http://one.example/debian trixie main # and another
deb-src http://source.example/debian trixie main
deb [ arch=amd64 signed-by=/k ] https://two.example/debian trixie main
deb [arch=amd64 https://broken.example/debian trixie main
deb cdrom:[Debian]/ trixie main
`,
		"sources.list.d/b.list":          "deb file:/srv/mirror/debian trixie main\ndeb http://one.example/debian trixie-updates main\n",
		"sources.list.d/a.sources":       "# comment\nTypes: deb deb-src\n# comment within\nURIs: http://three.example/debian\n http://four.example/debian/\nSuites: trixie\n\nTypes: deb\nURIs: http://off.example/debian\nEnabled: no\n\nTypes: deb-src\nURIs: http://source.example/debian\n",
		"sources.list.d/c.list.disabled": "deb http://disabled.example/debian trixie main\n",
		"sources.list.d/d.sources":       "no field here\n",
	} {
		name = filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(name), 0o777); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(name, []byte(text), 0o666); err != nil {
			t.Fatal(err)
		}
	}
	uris, problems := readAptDir(dir)
	want := []string{"http://one.example/debian", "https://two.example/debian", "http://three.example/debian", "http://four.example/debian/", "file:/srv/mirror/debian"}
	if !reflect.DeepEqual(uris, want) {
		t.Errorf("got %q\nwant %q", uris, want)
	}
	if text := strings.Join(problems, "\n"); len(problems) != 2 || !strings.Contains(text, "sources.list: line 5: the options have no ]") || !strings.Contains(text, "d.sources: line 1") {
		t.Errorf("problems: %q", problems)
	}
	if uris, problems := readAptDir(filepath.Join(dir, "nowhere")); len(uris)+len(problems) != 0 {
		t.Errorf("a host without apt: %q %q", uris, problems)
	}
}
