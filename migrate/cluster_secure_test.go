package main

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/etcdimg/etcdimg/migrate/internal/etcdtest"
)

// secrets are a CA and one certificate of it that serves and asks.
type secrets struct{ ca, cert, key string }

func newSecrets(t *testing.T) secrets {
	t.Helper()
	dir := t.TempDir()
	s := secrets{filepath.Join(dir, "ca.pem"), filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem")}
	check := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	caKey, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	check(err)
	caTemplate := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "a CA"}, IsCA: true, BasicConstraintsValid: true,
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(24 * time.Hour), KeyUsage: x509.KeyUsageCertSign,
	}
	ca, err := x509.CreateCertificate(rand.Reader, caTemplate, caTemplate, &caKey.PublicKey, caKey)
	check(err)
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	check(err)
	cert, err := x509.CreateCertificate(rand.Reader, &x509.Certificate{
		SerialNumber: big.NewInt(2), Subject: pkix.Name{CommonName: "member"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(24 * time.Hour), KeyUsage: x509.KeyUsageDigitalSignature,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
	}, caTemplate, &key.PublicKey, caKey)
	check(err)
	der, err := x509.MarshalECPrivateKey(key)
	check(err)
	for name, block := range map[string]*pem.Block{
		s.ca: {Type: "CERTIFICATE", Bytes: ca}, s.cert: {Type: "CERTIFICATE", Bytes: cert}, s.key: {Type: "EC PRIVATE KEY", Bytes: der},
	} {
		check(os.WriteFile(name, pem.EncodeToMemory(block), 0o600))
	}
	return s
}

// trust lets the tests' own client talk to the members, while no other test runs.
func (s secrets) trust(t *testing.T) {
	t.Helper()
	pair, err := tls.LoadX509KeyPair(s.cert, s.key)
	if err != nil {
		t.Fatal(err)
	}
	b, err := os.ReadFile(s.ca)
	if err != nil {
		t.Fatal(err)
	}
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(b)
	changed := http.DefaultTransport.(*http.Transport).Clone()
	changed.TLSClientConfig = &tls.Config{RootCAs: pool, Certificates: []tls.Certificate{pair}, MinVersion: tls.VersionTLS12}
	http.DefaultTransport = changed
}

// flags are a server's.
func (s secrets) flags() []string {
	return []string{
		"--cert-file=" + s.cert, "--key-file=" + s.key, "--trusted-ca-file=" + s.ca, "--client-cert-auth",
		"--peer-cert-file=" + s.cert, "--peer-key-file=" + s.key, "--peer-trusted-ca-file=" + s.ca, "--peer-client-cert-auth",
	}
}

// etcdctl asks a member as root; without a password as nobody.
func (s secrets) etcdctl(t *testing.T, m *etcdtest.Member, password string, args ...string) (string, error) {
	t.Helper()
	// By itself it gives up after two seconds, and a member that was just started
	// may need more.
	all := []string{"--dial-timeout=1m", "--command-timeout=2m", "--endpoints", m.URL, "--cacert", s.ca, "--cert", s.cert, "--key", s.key}
	if password != "" {
		all = append(all, "--user", "root:"+password)
	}
	cmd := exec.Command(filepath.Join(etcdtest.Binaries(t), "etcdctl-"+m.Version), append(all, args...)...)
	cmd.Env = append(os.Environ(), "ETCDCTL_API=3")
	out, err := cmd.CombinedOutput()
	return string(out), err
}

func (s secrets) mustEtcdctl(t *testing.T, m *etcdtest.Member, password string, args ...string) string {
	t.Helper()
	out, err := s.etcdctl(t, m, password, args...)
	if err != nil {
		t.Fatalf("etcdctl %s: %v\n%s", strings.Join(args, " "), err, out)
	}
	return out
}

// TestAClusterWithCertificatesAndUsers goes up, down and through a database for
// all with client certificates required everywhere, and users asked for.
func TestAClusterWithCertificatesAndUsers(t *testing.T) {
	s := newSecrets(t)
	s.trust(t)
	t.Parallel()
	const password = "a secret"
	c := newTrio(t)
	for i := range c.peers {
		c.peers[i] = strings.Replace(c.peers[i], "http:", "https:", 1)
	}
	c.more = s.flags()
	v35, v36 := version(t, "3.5"), version(t, "3.6")
	c.new(v35)
	for _, args := range [][]string{
		{"put", "/registry/a", "1"}, {"put", "/registry/a", "2"},
		{"user", "add", "root:" + password}, {"user", "grant-role", "root", "root"}, {"auth", "enable"},
	} {
		s.mustEtcdctl(t, c.members[0], "", args...)
	}
	shows := func(what string) {
		t.Helper()
		for i, m := range c.members {
			if out := s.mustEtcdctl(t, m, password, "get", "/registry/a", "-w", "fields"); !strings.Contains(out, `"Value" : "2"`) || !strings.Contains(out, `"Version" : 2`) {
				t.Errorf("%s: %s shows %s", what, c.names[i], out)
			}
			if out, err := s.etcdctl(t, m, "", "get", "/registry/a"); err == nil {
				t.Errorf("%s: %s lets nobody read: %s", what, c.names[i], out)
			}
		}
	}
	shows("3.5")

	// Without certificates no member can be asked; the files have to do.
	c.stop(0)
	code, log := c.operate(0, v36, "--dry-run")
	if c.must(code, log); !strings.Contains(log, "no other member answers") {
		t.Errorf("members were asked without certificates:\n%s", log)
	}
	// With them, as flags or as the server gets them.
	as := [][]string{
		{"--etcd-server-extra-args", strings.Join(s.flags(), " ")},
		{"--peer-trusted-ca-file", s.ca, "--peer-cert-file", s.cert, "--peer-key-file", s.key},
		{"--trusted-ca-file", s.ca, "--cert-file", s.cert, "--key-file", s.key}, // client URLs do, too
	}
	swap := func(target string) {
		t.Helper()
		for i := range c.names {
			if c.members[i] != nil {
				c.stop(i)
			}
			if log := c.mustOperate(i, target, as[i]...); strings.Count(log, " and has agreed on version ") != 2 {
				t.Errorf("the others were not asked:\n%s", log)
			}
			c.start(i, target)
			s.mustEtcdctl(t, c.members[i], password, "get", "/registry/a")
		}
		c.agreed(target)
		shows(target)
	}
	swap(v36)

	args := []string{"downgrade", "--bin-dir", etcdtest.Binaries(t), "--endpoints", c.members[1].URL, "--target-version", v35, "--trusted-ca-file", s.ca, "--cert-file", s.cert, "--key-file", s.key}
	if code, log := runOperator(t, nil, args...); code != 1 || !strings.Contains(log, "user name not found") {
		t.Errorf("somebody without a name could lower the cluster: exit %d\n%s", code, log)
	}
	file := filepath.Join(t.TempDir(), "password")
	if err := os.WriteFile(file, []byte(password+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	c.must(runOperator(t, nil, append(args, "--user", "root", "--password-file", file)...))
	if etcdtest.All() {
		swap(v35)
	}

	// A saved snapshot does as well, and so does a member's empty directory.
	saved := filepath.Join(t.TempDir(), "saved.db")
	s.mustEtcdctl(t, c.members[2], password, "snapshot", "save", saved)
	c.stopAll()
	v34 := version(t, "3.4")
	all := filepath.Join(t.TempDir(), "all.db")
	c.must(c.prepare(v34, all, []string{saved}, "--initial-cluster", c.initial()))
	if err := os.RemoveAll(c.dirs[1]); err != nil {
		t.Fatal(err)
	}
	for i := range c.names {
		c.must(c.apply(i, v34, all))
	}
	c.startAll(v34)
	shows("3.4")
	c.stopAll()

	// 3.0 lets anybody read: that has to be accepted.
	if code, log := c.prepare(version(t, "3.0"), all, c.dirs); code != 1 || !strings.Contains(log, "--accept-loss=auth") {
		t.Errorf("exit %d\n%s", code, log)
	}
}
