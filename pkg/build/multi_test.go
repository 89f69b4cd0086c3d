package build_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
)

// nine are versions of all lines, the newest first.
var nine = []string{"3.7.3", "3.6.16", "3.5.35", "3.4.26", "3.3.27", "3.2.32", "3.1.20", "3.0.17", "2.3.8"}

func multi(versions ...string) string {
	return strings.Replace(text, "versions: [3.6.1], binaries: [etcd]",
		fmt.Sprintf("versions: [%s], binaries: [etcd, etcdctl, etcdutl]", strings.Join(versions, ", ")), 1) + "layering: {budget: 32}\n"
}

// Another version costs its own binaries and its own layer, in each image, and
// nothing of what is there changes.
func TestOneMoreVersionIsOneMoreLayer(t *testing.T) {
	l := newLab(t, t.TempDir())
	before := l.build(t, read(t, multi(nine...)), "")
	l.compiler.made = nil
	compressed := l.progressed("compressing")
	after := l.build(t, read(t, multi(append(slices.Clone(nine), "3.5.21")...)), "")

	slices.Sort(l.compiler.made)
	if want := []string{"3.5.21 amd64", "3.5.21 arm64"}; !slices.Equal(l.compiler.made, want) {
		t.Errorf("compiled %v, want %v", l.compiler.made, want)
	}
	if got := l.progressed("compressing") - compressed; got != 2 {
		t.Errorf("%d layers were compressed, want one for each architecture", got)
	}
	for i, image := range after.Images {
		old := before.Images[i]
		if len(image.Layers) != len(old.Layers)+1 {
			t.Fatalf("%s: %d layers, before there were %d", image.Arch, len(image.Layers), len(old.Layers))
		}
		have := map[string]bool{}
		for _, layer := range image.Layers {
			have[layer.Digest] = true
		}
		for _, layer := range old.Layers {
			if !have[layer.Digest] {
				t.Errorf("%s: the layer of %v is another one", image.Arch, layer.Components)
			}
		}
	}
}

func TestEachVersionIsALayer(t *testing.T) {
	l := newLab(t, t.TempDir())
	p := read(t, multi(nine...))
	for _, image := range l.build(t, p, "").Images {
		var got []string
		for _, layer := range image.Layers {
			got = append(got, strings.Join(layer.Components, " "))
		}
		want := []string{"base", "certificates"}
		for _, v := range nine {
			want = append(want, "etcd-"+v)
		}
		if !slices.Equal(got, want) {
			t.Errorf("%s: layers %v, want %v", image.Arch, got, want)
		}
	}
}

// An etcd that the image starts by default has to start.
func TestUnsupportedArchitectureIsSetWhereTheDefaultEtcdNeedsIt(t *testing.T) {
	const variable = "ETCD_UNSUPPORTED_ARCH="
	for _, c := range []struct {
		versions []string
		more     string
		want     map[string]string // by architecture; none where it is absent
	}{
		{[]string{"3.4.26"}, "", map[string]string{"arm64": "arm64", "s390x": "s390x"}},
		{[]string{"3.1.20", "3.7.3"}, "", map[string]string{"arm64": "arm64", "ppc64le": "ppc64le", "s390x": "s390x"}},
		{[]string{"3.7.3", "3.1.20"}, "", nil},
		{[]string{"3.4.26"}, "environment: {ETCD_UNSUPPORTED_ARCH: own}\n", map[string]string{"amd64": "own", "arm64": "own", "ppc64le": "own", "s390x": "own"}},
	} {
		yaml := strings.Replace(strings.ReplaceAll(multi(c.versions...), ", etcdutl]", "]"), "archs: [amd64, arm64]", "archs: [amd64, arm64, ppc64le, s390x]", 1)
		r := newLab(t, t.TempDir()).build(t, read(t, yaml+c.more), "")
		for _, made := range r.Images {
			image, err := r.Index.Image(mustHash(t, made.Digest))
			if err != nil {
				t.Fatal(err)
			}
			config, err := image.ConfigFile()
			if err != nil {
				t.Fatal(err)
			}
			got := ""
			for _, kv := range config.Config.Env {
				if value, ok := strings.CutPrefix(kv, variable); ok {
					got = value
				}
			}
			if want := c.want[config.Architecture]; got != want {
				t.Errorf("%v %s: %s%q, want %q", c.versions, config.Architecture, variable, got, want)
			}
		}
	}
}
