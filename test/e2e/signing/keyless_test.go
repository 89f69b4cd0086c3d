//go:build e2e

package signing

import (
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
)

// Signed without a key, with nothing but what runs on this machine: a
// certificate authority, a timestamp authority, transparency logs of both
// generations and an issuer of tokens; verified by etcdimg and by both cosigns.
// What these servers need takes long to compile, so "make test-all" runs it.
func TestKeyless(t *testing.T) {
	if os.Getenv("ETCDIMG_ALL") == "" {
		const why = "signing without a key wants servers that take long to compile: make test-all runs it"
		fmt.Printf("*** NOT RUN: %s: %s\n", t.Name(), why)
		t.Skip("NOT RUN: " + why)
	}
	if !alone(t) {
		return
	}
	l := newLab(t)
	s := newServices(l)
	l.write("token", []byte(s.token(l, who)))
	l.write("etcd.vex.json", []byte(vex))
	start := "start-time=2020-01-01T00:00:00Z"
	cosign := l.tool("cosign")
	l.run(cosign, "trusted-root", "create", "--out", "root.json",
		"--fulcio", "url="+s.fulcio+",certificate-chain=fulcio.pem,"+start,
		"--tsa", "url="+s.timestamps+",certificate-chain=tsa.pem,"+start,
		"--rekor", "url="+s.rekor+",public-key=rekor.pub,origin="+s.rekorOrigin+","+start)
	l.run(cosign, "signing-config", "create", "--out", "signing.json", "--tsa-config", "ANY", "--rekor-config", "ANY",
		"--fulcio", "url="+s.fulcio+",api-version=1,operator=test,"+start,
		"--tsa", "url="+s.timestamps+",api-version=1,operator=test,"+start,
		"--rekor", "url="+s.rekor+",api-version=2,operator=test,"+start)

	fulcio := []string{"--fulcio-url", s.fulcio, "--identity-token", "token"}
	stamped := append(fulcio[:len(fulcio):len(fulcio)], "--timestamp-url", s.timestamps)
	identity := []string{"--certificate-identity", who, "--certificate-oidc-issuer", s.issuer}
	stranger := []string{"--certificate-identity", "other@etcd.example", "--certificate-oidc-issuer", s.issuer}

	for _, c := range []struct {
		name     string
		sign     []string // how etcdimg signs
		etcdimg  []string // what it needs to verify
		cosign   []string // what cosign needs; nil where there is no line for it
		cosign3  []string
		variable string // of cosign's environment
	}{
		{
			name: "stamped", sign: stamped,
			etcdimg: []string{"--certificate-chain", "fulcio.pem", "--timestamp-certificate-chain", "tsa.pem"},
			cosign:  []string{"--certificate-chain", "fulcio.pem", "--timestamp-certificate-chain", "tsa.pem", "--insecure-ignore-tlog=true", "--insecure-ignore-sct=true"},
			cosign3: []string{"--certificate-chain", "fulcio.pem", "--timestamp-certificate-chain", "tsa.pem", "--insecure-ignore-tlog=true", "--insecure-ignore-sct=true", "--new-bundle-format=false"},
		},
		{
			name: "logged", sign: append(fulcio[:len(fulcio):len(fulcio)], "--rekor-url", s.older.URL),
			etcdimg:  []string{"--certificate-chain", "fulcio.pem", "--rekor-key", "older-rekor.pub"},
			cosign:   []string{"--certificate-chain", "fulcio.pem", "--offline=true", "--insecure-ignore-sct=true"},
			cosign3:  []string{"--certificate-chain", "fulcio.pem", "--offline=true", "--insecure-ignore-sct=true", "--new-bundle-format=false"},
			variable: "SIGSTORE_REKOR_PUBLIC_KEY=older-rekor.pub",
		},
		{
			name: "bundled", sign: append(stamped[:len(stamped):len(stamped)], "--signature-format", "bundle", "--rekor-url", s.rekor, "--rekor-version", "2"),
			etcdimg: []string{"--trusted-root", "root.json"},
			cosign:  []string{"--trusted-root", "root.json", "--new-bundle-format=true", "--use-signed-timestamps=true", "--insecure-ignore-sct=true"},
			cosign3: []string{"--trusted-root", "root.json", "--use-signed-timestamps=true", "--insecure-ignore-sct=true"},
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			l := &lab{t, l.repo, l.dir, l.registry, append(slices.Clip(l.environ), c.variable)}
			image := l.registry + "/" + c.name + ":v1"
			l.run(slices.Concat([]string{"etcdimg", "publish", "hardened.yaml", image, "--insecure", "--vex", "etcd.vex.json"}, c.sign)...)
			verify := slices.Concat([]string{"etcdimg", "verify", image, "--insecure"}, c.etcdimg)
			said := l.run(slices.Concat(verify, identity, []string{"--attestation", strings.Join(kinds, ",")})...)
			if want := "signed by " + who + " as " + s.issuer + " has it"; !strings.Contains(said, want) {
				t.Errorf("verify does not say %q:\n%s", want, said)
			}
			if out, err := l.try(slices.Concat(verify, stranger)...); err == nil || !strings.Contains(out, "its certificate is for "+who) {
				t.Errorf("a stranger's signature: %v\n%s", err, out)
			}
			for name, more := range map[string][]string{"cosign": c.cosign, "cosign3": c.cosign3} {
				t.Run(name, func(t *testing.T) {
					l := &lab{t, l.repo, l.dir, l.registry, l.environ}
					cosign := l.tool(name)
					l.run(slices.Concat([]string{cosign, "verify"}, identity, more, []string{image})...)
					for _, kind := range kinds {
						l.run(slices.Concat([]string{cosign, "verify-attestation", "--type", kind}, identity, more, []string{image})...)
					}
					if out, err := l.try(slices.Concat([]string{cosign, "verify"}, stranger, more, []string{image})...); err == nil {
						t.Errorf("cosign takes it for a stranger's:\n%s", out)
					}
				})
			}
		})
	}

	// What cosign signs there, etcdimg verifies.
	t.Run("cosign's stamped", func(t *testing.T) {
		l := &lab{t, l.repo, l.dir, l.registry, l.environ}
		image := l.registry + "/by-cosign:v1"
		l.run("etcdimg", "publish", "hardened.yaml", image, "--insecure")
		l.run(cosign, "sign", "--yes", "--recursive", "--tlog-upload=false", "--fulcio-url", s.fulcio, "--insecure-skip-verify", "--timestamp-server-url", s.timestamps, "--identity-token", "token", image)
		l.run(slices.Concat([]string{"etcdimg", "verify", image, "--insecure", "--certificate-chain", "fulcio.pem", "--timestamp-certificate-chain", "tsa.pem"}, identity)...)
	})
	for _, name := range []string{"cosign", "cosign3"} {
		t.Run(name+"'s bundle", func(t *testing.T) {
			l := &lab{t, l.repo, l.dir, l.registry, l.environ}
			image := l.registry + "/bundled-by-" + name + ":v1"
			l.run("etcdimg", "publish", "hardened.yaml", image, "--insecure")
			argv := []string{l.tool(name), "sign", "--yes", "--recursive", "--signing-config", "signing.json", "--trusted-root", "root.json", "--identity-token", "token"}
			if name == "cosign" {
				argv = append(argv, "--new-bundle-format=true")
			}
			l.run(append(argv, image)...)
			l.run(slices.Concat([]string{"etcdimg", "verify", image, "--insecure", "--trusted-root", "root.json"}, identity)...)
		})
	}
}
