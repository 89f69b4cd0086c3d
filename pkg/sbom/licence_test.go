package sbom

import "testing"

func TestLicencesOfCopyrightFiles(t *testing.T) {
	for text, want := range map[string]string{
		"License: Expat\n": "MIT",
		"License: GPL-2+ or Artistic, and BSD-3-clause\n":     "(Artistic-1.0-Perl OR GPL-2.0-or-later) AND BSD-3-Clause",
		"License: GPL-1+ and GPL-2\n\nLicense: GPL-2\n text":  "GPL-1.0-or-later AND GPL-2.0-only",
		"License:\n LGPL-2.1+\n":                              "LGPL-2.1-or-later",
		"see /usr/share/common-licenses/GPL-3.":               "GPL-3.0-only",
		"any later version: /usr/share/common-licenses/GPL-2": "GPL-2.0-or-later",
		"License: none\n":                                     "LicenseRef-copyright-5e3a5b85",
		"":                                                    "",
	} {
		got := readCopyright(text).Expression
		if want == "LicenseRef-copyright-5e3a5b85" {
			if got == "" || !ValidLicence(got) {
				t.Errorf("%q: %q", text, got)
			}
			continue
		}
		if got != want {
			t.Errorf("%q: %q, want %q", text, got, want)
		}
	}
}

func TestWhereModulesComeFrom(t *testing.T) {
	for _, c := range []struct{ path, version, supplier, location string }{
		{"github.com/prometheus/client_golang", "v1.2.3", "prometheus (github.com/prometheus)", "git+https://github.com/prometheus/client_golang@v1.2.3"},
		{"go.etcd.io/etcd/server/v3", "v3.6.16", "etcd-io", "git+https://github.com/etcd-io/etcd@server/v3.6.16"},
		{"golang.org/x/time", "v0.0.0-20180412165947-fbb02b2291d2", "The Go Authors", "git+https://go.googlesource.com/time@fbb02b2291d2"},
		{"gopkg.in/yaml.v2", "v2.4.0", "The go-yaml authors", "git+https://github.com/go-yaml/yaml@v2.4.0"},
		{"gopkg.in/natefinch/lumberjack.v2", "v2.2.1", "natefinch (github.com/natefinch)", "git+https://github.com/natefinch/lumberjack@v2.2.1"},
		{"github.com/golang-jwt/jwt", "v3.2.1+incompatible", "golang-jwt (github.com/golang-jwt)", "git+https://github.com/golang-jwt/jwt@v3.2.1"},
		{"example.com/x", "v1.0.0", "example.com", "https://example.com/x"},
	} {
		supplier, _ := home(c.path)
		if location := sourceLocation(c.path, c.version); supplier != c.supplier || location != c.location {
			t.Errorf("%s: %q at %q", c.path, supplier, location)
		}
	}
}
