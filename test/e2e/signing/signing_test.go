//go:build e2e

package signing

import (
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// vex is what the test says about vulnerabilities.
const vex = `{"@context": "https://openvex.dev/ns/v0.2.0", "@id": "https://etcd.example/vex", "author": "etcd",
 "timestamp": "2026-01-02T03:04:05Z", "version": 1, "statements": [{"vulnerability": {"name": "CVE-2026-1"},
 "products": [{"@id": "pkg:oci/etcd"}], "status": "not_affected", "justification": "vulnerable_code_not_present"}]}`

// documented is the image's name in the documentation.
const documented = "registry.example/etcd:3.6.16-0"

// published makes keys, and publishes a signed image with all attestations.
func published(l *lab) (image string) {
	l.Helper()
	image = l.registry + "/etcd:3.6.16-0"
	l.run("etcdimg", "keygen")
	l.write("etcd.vex.json", []byte(vex))
	l.run("etcdimg", "publish", "hardened.yaml", image, "--insecure", "--key", "cosign.key", "--sign-then-tag")
	l.run("etcdimg", "attest", image, "--insecure", "--key", "cosign.key", "--type", "openvex", "--predicate", "etcd.vex.json")
	return image
}

// lines are the commands of a document that begin with a word.
func lines(l *lab, document, word string) [][]string {
	l.Helper()
	b, err := os.ReadFile(filepath.Join(l.repo, document))
	if err != nil {
		l.Fatal(err)
	}
	var all [][]string
	for line := range strings.Lines(string(b)) {
		if strings.HasPrefix(line, "    "+word+" ") {
			all = append(all, strings.Fields(line))
		}
	}
	if len(all) == 0 {
		l.Fatalf("%s tells no line with %s", document, word)
	}
	return all
}

var kinds = []string{"spdxjson", "cyclonedx", "slsaprovenance1", "openvex"}

// Every line that the documentation tells consumers works, with both
// generations of cosign, for the index and for each attestation.
func TestCosignVerifies(t *testing.T) {
	l := newLab(t)
	image := published(l)
	l.run("etcdimg", "build", "hardened.yaml", "-o", "dist/hardened")
	l.run("etcdimg", "sign", "dist/hardened", "--key", "cosign.key")
	l.run("etcdimg", "attest", "dist/hardened", "--key", "cosign.key")
	for _, name := range []string{"cosign", "cosign3"} {
		t.Run(name, func(t *testing.T) {
			l := &lab{t, l.repo, l.dir, l.registry, l.environ}
			cosign := l.tool(name)
			for _, document := range []string{"README.md", "docs/signing.md"} {
				for _, argv := range lines(l, document, "cosign") {
					argv[0] = cosign
					for i, a := range argv {
						argv[i] = strings.NewReplacer(documented, image, "IMAGE", image, "DIR", "dist/hardened").Replace(a)
					}
					if name == "cosign3" && argv[1] == "verify-attestation" {
						argv = slices.Insert(argv, 2, "--new-bundle-format=false")
					}
					l.run(argv...)
				}
			}
			for _, kind := range kinds {
				argv := []string{cosign, "verify-attestation", "--key", "cosign.pub", "--insecure-ignore-tlog=true", "--type", kind, image}
				if name == "cosign3" {
					argv = slices.Insert(argv, 2, "--new-bundle-format=false")
				}
				l.run(argv...)
			}
			tree := l.run(cosign, "tree", image)
			for _, suffix := range []string{".sig", ".att"} {
				if !strings.Contains(tree, suffix) {
					t.Errorf("cosign tree lists no %s:\n%s", suffix, tree)
				}
			}
			// It is this key that it believes.
			if _, err := os.Stat(filepath.Join(l.dir, "other.pub")); err != nil {
				l.run("etcdimg", "keygen", "--output-key-prefix", "other")
			}
			if out, err := l.try(cosign, "verify", "--key", "other.pub", "--insecure-ignore-tlog=true", image); err == nil {
				t.Errorf("cosign verified with another key:\n%s", out)
			}
		})
	}
}

// What refers to an image is listed by whoever asks the registry for it: SBOMs
// and provenance, of the index and of each image.
func TestReferrersAreListed(t *testing.T) {
	l := newLab(t)
	image := l.registry + "/etcd:3.6.16-0"
	l.run("etcdimg", "publish", "hardened.yaml", image, "--insecure")
	regctl := l.tool("regctl")
	l.run(regctl, "registry", "set", l.registry, "--tls", "disabled")
	digests := []string{image}
	for line := range strings.Lines(l.run(regctl, "manifest", "get", "--format", "{{range .Manifests}}{{println .Digest}}{{end}}", image)) {
		if digest := strings.TrimSpace(line); digest != "" {
			digests = append(digests, l.registry+"/etcd@"+digest)
		}
	}
	if len(digests) != 2 {
		t.Fatalf("an index of one image has %q", digests)
	}
	for _, subject := range digests {
		listed := l.run(regctl, "artifact", "list", "--format", "{{range .Descriptors}}{{println .ArtifactType}}{{end}}", subject)
		got := strings.Fields(listed)
		slices.Sort(got)
		want := []string{"application/spdx+json", "application/vnd.cyclonedx+json", "application/vnd.in-toto+json"}
		if !slices.Equal(got, want) {
			t.Errorf("%s: referrers are of the types %q, want %q", subject, got, want)
		}
	}
	tree := l.run(regctl, "artifact", "tree", image)
	if n := strings.Count(tree, "application/spdx+json"); n != 2 {
		t.Errorf("the tree has %d SPDX documents, want one of the index and one of its image:\n%s", n, tree)
	}
}

// Bundles are for the newer cosign, and for the older with a trusted root.
func TestCosignVerifiesBundles(t *testing.T) {
	l := newLab(t)
	image := l.registry + "/bundles:v1"
	l.run("etcdimg", "keygen")
	l.run("etcdimg", "publish", "hardened.yaml", image, "--insecure", "--key", "cosign.key", "--signature-format", "bundle")
	l.run("etcdimg", "verify", image, "--insecure", "--key", "cosign.pub", "--attestation", "slsaprovenance1")
	t.Run("cosign", func(t *testing.T) {
		l := &lab{t, l.repo, l.dir, l.registry, l.environ}
		cosign := l.tool("cosign")
		l.run(cosign, "trusted-root", "create", "--out", "tr.json")
		l.run(cosign, "verify", "--new-bundle-format", "--trusted-root", "tr.json", "--key", "cosign.pub", "--insecure-ignore-tlog=true", image)
		l.run(cosign, "verify-attestation", "--new-bundle-format", "--trusted-root", "tr.json", "--key", "cosign.pub", "--insecure-ignore-tlog=true", "--type", "slsaprovenance1", image)
	})
	t.Run("cosign3", func(t *testing.T) {
		l := &lab{t, l.repo, l.dir, l.registry, l.environ}
		cosign := l.tool("cosign3")
		l.run(cosign, "verify", "--key", "cosign.pub", "--insecure-ignore-tlog=true", image)
		l.run(cosign, "verify-attestation", "--key", "cosign.pub", "--insecure-ignore-tlog=true", "--type", "slsaprovenance1", image)
	})
}

// What cosign signs, etcdimg verifies.
func TestEtcdimgVerifiesWhatCosignSigned(t *testing.T) {
	l := newLab(t)
	cosign := l.tool("cosign")
	image := l.registry + "/theirs:v1"
	l.run(cosign, "generate-key-pair")
	l.run("etcdimg", "publish", "hardened.yaml", image, "--insecure")
	l.write("etcd.vex.json", []byte(vex))
	l.run(cosign, "sign", "--yes", "--recursive", "--tlog-upload=false", "--key", "cosign.key", image)
	l.run(cosign, "attest", "--yes", "--tlog-upload=false", "--key", "cosign.key", "--type", "openvex", "--predicate", "etcd.vex.json", image)
	l.run("etcdimg", "verify", image, "--insecure", "--key", "cosign.pub")
	l.run("etcdimg", "verify", image, "--insecure", "--key", "cosign.pub", "--recursive=false", "--attestation", "openvex")
	// And etcdimg signs with the key that cosign made.
	other := l.registry + "/ours:v1"
	l.run("etcdimg", "publish", "hardened.yaml", other, "--insecure", "--key", "cosign.key")
	l.run(cosign, "verify", "--key", "cosign.pub", "--insecure-ignore-tlog=true", other)
}

// Tools that copy images carry signatures and attestations along.
func TestCopiesAreVerified(t *testing.T) {
	l := newLab(t)
	image := published(l)
	digest := digestOf(l, image)
	repository, _, _ := strings.Cut(image, "/etcd:")
	for _, c := range []struct {
		tool string
		copy func(l *lab, tool, to string)
	}{
		{"cosign", func(l *lab, tool, to string) { l.run(tool, "copy", image, repository+to+":v1") }},
		{"crane", func(l *lab, tool, to string) {
			l.run(tool, "copy", image, repository+to+":v1")
			for _, tag := range strings.Fields(l.run(tool, "ls", repository+"/etcd")) {
				if strings.HasSuffix(tag, ".sig") || strings.HasSuffix(tag, ".att") {
					l.run(tool, "copy", repository+"/etcd:"+tag, repository+to+":"+tag)
				}
			}
		}},
		{"regctl", func(l *lab, tool, to string) {
			l.run(tool, "registry", "set", l.registry, "--tls", "disabled")
			l.run(tool, "image", "copy", "--digest-tags", "--referrers", image, repository+to+":v1")
		}},
		{"skopeo", func(l *lab, tool, to string) {
			l.write("registries.d.yaml", []byte("default-docker:\n  use-sigstore-attachments: true\n"))
			if err := os.MkdirAll(filepath.Join(l.dir, "registries.d"), 0o755); err != nil {
				l.Fatal(err)
			}
			l.run("cp", "registries.d.yaml", "registries.d/default.yaml")
			l.run(tool, "--insecure-policy", "--registries.d", "registries.d", "copy", "--all", "--preserve-digests", "--src-tls-verify=false", "--dest-tls-verify=false", "docker://"+image, "docker://"+repository+to+":v1")
		}},
	} {
		t.Run(c.tool, func(t *testing.T) {
			l := &lab{t, l.repo, l.dir, l.registry, l.environ}
			to := "/by-" + c.tool
			c.copy(l, l.tool(c.tool), to)
			copied := repository + to + ":v1"
			if got := digestOf(l, copied); got != digest {
				t.Fatalf("the copy is %s, not %s", got, digest)
			}
			l.run("etcdimg", "verify", copied, "--insecure", "--key", "cosign.pub", "--recursive=false")
			if c.tool != "skopeo" { // it copies signatures; attestations have tags that it does not follow
				l.run("etcdimg", "verify", copied, "--insecure", "--key", "cosign.pub", "--recursive=false", "--attestation", "slsaprovenance1")
			}
		})
	}
}

func digestOf(l *lab, image string) string {
	l.Helper()
	out := l.run("etcdimg", "verify", image, "--insecure", "--key", "cosign.pub", "--recursive=false", "--output", "json")
	var report []struct {
		Digest string `json:"digest"`
	}
	if err := json.Unmarshal([]byte(out), &report); err != nil || len(report) != 1 {
		l.Fatalf("%v: %s", err, out)
	}
	return report[0].Digest
}

// A publish that is killed while it uploads leaves the tag where it was, and
// the next one goes on.
func TestKilledPublishLeavesTheTag(t *testing.T) {
	l := newLab(t)
	l.run("etcdimg", "keygen")
	l.run("etcdimg", "publish", "hardened.yaml", l.registry+"/etcd:v1", "--insecure", "--key", "cosign.key")
	old := digestOf(l, l.registry+"/etcd:v1")

	target, err := url.Parse("http://" + l.registry)
	if err != nil {
		t.Fatal(err)
	}
	// A registry that never takes the first upload.
	stuck, release := make(chan struct{}), make(chan struct{})
	var once sync.Once
	// The host stays as it is asked for: upload addresses lead back here.
	forward := &httputil.ReverseProxy{Rewrite: func(r *httputil.ProxyRequest) { r.Out.URL.Scheme, r.Out.URL.Host = target.Scheme, target.Host }}
	proxy := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method != http.MethodPatch {
			forward.ServeHTTP(w, r)
			return
		}
		_, _ = io.CopyN(io.Discard, r.Body, 16)
		once.Do(func() { close(stuck) })
		<-release
	}))
	defer proxy.Close()
	defer close(release)
	through := strings.TrimPrefix(proxy.URL, "http://") + "/etcd:v1"

	l.write("next.yaml", []byte("include: hardened.yaml\nos-release: {id: debian, version-id: \"13\", name: next}\n"))
	cmd := exec.Command(l.tool("etcdimg"), "publish", "next.yaml", through, "--insecure", "--key", "cosign.key")
	cmd.Dir, cmd.Env = l.dir, append(os.Environ(), l.environ...)
	cmd.Stderr = os.Stderr
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	select {
	case <-stuck:
	case <-time.After(2 * time.Minute):
		t.Error("no upload began: the test shows nothing")
	}
	_ = cmd.Process.Signal(syscall.SIGKILL)
	_ = cmd.Wait()
	if got := digestOf(l, l.registry+"/etcd:v1"); got != old {
		t.Errorf("the tag moved to %s though the publish was killed", got)
	}
	l.run("etcdimg", "publish", "next.yaml", l.registry+"/etcd:v1", "--insecure", "--key", "cosign.key")
	if got := digestOf(l, l.registry+"/etcd:v1"); got == old {
		t.Error("the next publish did not move the tag")
	}
}
