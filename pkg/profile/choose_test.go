package profile_test

import (
	"slices"
	"strings"
	"testing"
)

const several = "etcd: {versions: [3.7.3, 3.6.16, 3.5.35, 3.4.26, 2.3.8], binaries: [etcd, etcdutl]}\n"

func TestChosenVersionStandsBeforeOlderLines(t *testing.T) {
	one := "etcd: {versions: [3.6.16], binaries: [etcd, etcdutl]}\n"
	for _, c := range []struct{ yaml, version, versions, binaries, tag string }{
		{several, "3.7.4", "3.7.4 3.6.16 3.5.35 3.4.26 2.3.8", "etcd etcdutl", "3.7.4-0"},
		{several, "3.8.0-alpha.0", "3.8.0-alpha.0 3.7.3 3.6.16 3.5.35 3.4.26 2.3.8", "etcd etcdutl", "3.8.0-alpha.0-0"},
		{several, "3.5.21", "3.5.21 3.4.26 2.3.8", "etcd etcdutl", "3.5.21-0"},
		{several, "3.5.35", "3.5.35 3.4.26 2.3.8", "etcd etcdutl", "3.5.35-0"},
		{several, "3.4.3", "3.4.3 2.3.8", "etcd", "3.4.3-0"},
		{one, "3.7.3", "3.7.3", "etcd etcdutl", "3.7.3-0"},
		{one, "3.4.26", "3.4.26", "etcd", "3.4.26-0"},
	} {
		p := read(t, c.yaml)
		if err := p.ChooseEtcd(c.version, "--etcd-version"); err != nil {
			t.Errorf("%s: %v", c.version, err)
			continue
		}
		tag, err := p.ImageTag()
		if got := strings.Join(p.Etcd.Versions, " "); got != c.versions || strings.Join(p.Etcd.Binaries, " ") != c.binaries || tag != c.tag || err != nil {
			t.Errorf("%s: %s, %v, %s (%v); want %s, %s, %s", c.version, got, p.Etcd.Binaries, tag, err, c.versions, c.binaries, c.tag)
		}
	}
}

func TestProblemsOfAChosenVersionNameWhereItCameFrom(t *testing.T) {
	for _, c := range []struct{ yaml, version, says string }{
		{several, "v3.5.1", `--etcd-version: etcd.versions: "v3.5.1" is not an etcd version: write 3.5.1`},
		{several, "", `--etcd-version: etcd.versions: "" is not an etcd version: write MAJOR.MINOR.PATCH`},
		{"paths: [{path: /tmp, type: directory}]\n", "3.5.1", "--etcd-version: etcd.versions: the profile has no etcd"},
		{strings.Replace(several, "etcd, ", "", 1), "3.4.1", "etcd.binaries: names no binary"},
	} {
		err := read(t, c.yaml).ChooseEtcd(c.version, "--etcd-version")
		if err == nil || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%q: %v, want %q", c.version, err, c.says)
		}
	}
	p := read(t, several)
	before := slices.Clone(p.Etcd.Binaries)
	if err := p.ChooseEtcd("3.5.1", "--etcd-version"); err != nil {
		t.Fatal(err)
	}
	if got := p.Problem("etcd.versions[0]", "is not there", "choose another").Error(); got != "--etcd-version: etcd.versions[0]: is not there: choose another" {
		t.Errorf("a problem found later is %s", got)
	}
	if !slices.Equal(before, p.Etcd.Binaries) {
		t.Errorf("binaries %v, want %v", p.Etcd.Binaries, before)
	}
}
