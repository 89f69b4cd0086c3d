//go:build e2e

package signing

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"io"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/etcdimg/etcdimg/pkg/sign/signtest"
)

// who is whom the issuer says that the test is.
const who = "release@etcd.example"

// services are everything that signing without a key asks, each a process or a
// server of its own on the loopback interface.
type services struct {
	issuer, fulcio, timestamps, rekor string // addresses
	rekorOrigin                       string // the newer log's name for itself
	older                             *signtest.Rekor
	key                               *rsa.PrivateKey // of the issuer
}

// alone runs the test again in a network of its own, with nothing but the
// loopback interface: some of the servers tell their metrics to every
// interface, and nobody is to be asked outside. It returns true there.
func alone(t *testing.T) bool {
	t.Helper()
	const inside = "ETCDIMG_E2E_ALONE"
	if os.Getenv(inside) != "" {
		fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM, 0)
		if err != nil {
			t.Fatal(err)
		}
		defer unix.Close(fd)
		lo, err := unix.NewIfreq("lo")
		if err != nil {
			t.Fatal(err)
		}
		lo.SetUint16(unix.IFF_UP | unix.IFF_RUNNING)
		if err := unix.IoctlIfreq(fd, unix.SIOCSIFFLAGS, lo); err != nil {
			t.Fatalf("waking the loopback interface: %v", err)
		}
		return true
	}
	cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^"+t.Name()+"$", "-test.v", "-test.timeout=20m")
	cmd.Env = append(os.Environ(), inside+"=1")
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNET}
	if os.Getuid() != 0 {
		cmd.SysProcAttr.Cloneflags |= syscall.CLONE_NEWUSER
		cmd.SysProcAttr.UidMappings = []syscall.SysProcIDMap{{HostID: os.Getuid(), Size: 1}}
		cmd.SysProcAttr.GidMappings = []syscall.SysProcIDMap{{HostID: os.Getgid(), Size: 1}}
	}
	out, err := cmd.CombinedOutput()
	t.Logf("%s", out)
	if err != nil {
		t.Errorf("in a network of its own: %v", err)
	}
	return false
}

// newServices starts everything, for as long as the test runs.
func newServices(l *lab) *services {
	l.Helper()
	s := &services{older: signtest.NewRekor(l.T), rekorOrigin: "127.0.0.1"}
	s.serveIssuer(l)
	s.startFulcio(l)
	s.startTimestamps(l)
	s.startRekor(l)
	return s
}

// serveIssuer is an OpenID Connect issuer, as much of one as a certificate
// authority looks at: its address, and its keys.
func (s *services) serveIssuer(l *lab) {
	l.Helper()
	var err error
	if s.key, err = rsa.GenerateKey(rand.Reader, 2048); err != nil {
		l.Fatal(err)
	}
	mux := http.NewServeMux()
	server := httptest.NewServer(mux)
	l.Cleanup(server.Close)
	s.issuer = server.URL
	answer := func(v any) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", "application/json")
			_ = json.NewEncoder(w).Encode(v)
		}
	}
	mux.HandleFunc("GET /.well-known/openid-configuration", answer(map[string]any{
		"issuer": s.issuer, "jwks_uri": s.issuer + "/keys", "authorization_endpoint": s.issuer + "/auth", "token_endpoint": s.issuer + "/token",
		"response_types_supported": []string{"code"}, "subject_types_supported": []string{"public"}, "id_token_signing_alg_values_supported": []string{"RS256"},
	}))
	raw := base64.RawURLEncoding.EncodeToString
	mux.HandleFunc("GET /keys", answer(map[string]any{"keys": []any{map[string]any{
		"kty": "RSA", "use": "sig", "alg": "RS256", "kid": "test",
		"n": raw(s.key.N.Bytes()), "e": raw(big.NewInt(int64(s.key.E)).Bytes()),
	}}}))
}

// token is what the issuer gives to somebody (RFC 7519, RS256).
func (s *services) token(l *lab, email string) string {
	l.Helper()
	part := func(v any) string {
		b, err := json.Marshal(v)
		if err != nil {
			l.Fatal(err)
		}
		return base64.RawURLEncoding.EncodeToString(b)
	}
	now := time.Now().Unix()
	signed := part(map[string]any{"alg": "RS256", "kid": "test", "typ": "JWT"}) + "." + part(map[string]any{
		"iss": s.issuer, "aud": "sigstore", "sub": email, "email": email, "email_verified": true, "iat": now, "nbf": now - 60, "exp": now + 1200,
	})
	sum := sha256.Sum256([]byte(signed))
	sig, err := rsa.SignPKCS1v15(rand.Reader, s.key, crypto.SHA256, sum[:])
	if err != nil {
		l.Fatal(err)
	}
	return signed + "." + base64.RawURLEncoding.EncodeToString(sig)
}

func (s *services) startFulcio(l *lab) {
	l.Helper()
	l.write("fulcio.yaml", fmt.Appendf(nil, "oidc-issuers:\n  %s:\n    issuer-url: %s\n    client-id: sigstore\n    type: email\n", s.issuer, s.issuer))
	port := freePort(l)
	s.fulcio = "http://127.0.0.1:" + port
	l.start(s.fulcio+"/healthz", "fulcio", "serve", "--ca", "ephemeralca", "--ct-log-url", "", "--config-path", "fulcio.yaml",
		"--host", "127.0.0.1", "--port", port, "--grpc-host", "127.0.0.1", "--grpc-port", freePort(l), "--metrics-port", freePort(l),
		"--legacy-unix-domain-socket", filepath.Join(l.dir, "fulcio.sock"))
	l.write("fulcio.pem", get(l, s.fulcio+"/api/v1/rootCert"))
}

func (s *services) startTimestamps(l *lab) {
	l.Helper()
	port := freePort(l)
	s.timestamps = "http://127.0.0.1:" + port + "/api/v1/timestamp"
	l.start("http://127.0.0.1:"+port+"/ping", "timestamp-server", "serve", "--host", "127.0.0.1", "--port", port, "--timestamp-signer", "memory", "--disable-ntp-monitoring")
	l.write("tsa.pem", get(l, s.timestamps+"/certchain"))
}

// startRekor starts a log of API version 2; its tiles are in the lab's folder.
func (s *services) startRekor(l *lab) {
	l.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		l.Fatal(err)
	}
	private, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		l.Fatal(err)
	}
	public, err := x509.MarshalPKIXPublicKey(key.Public())
	if err != nil {
		l.Fatal(err)
	}
	l.write("rekor.key", pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: private}))
	l.write("rekor.pub", pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: public}))
	l.write("older-rekor.pub", s.older.Public)
	port := freePort(l)
	s.rekor = "http://127.0.0.1:" + port
	l.start(s.rekor+"/healthz", "rekor-server-posix", "serve", "--hostname", s.rekorOrigin, "--http-address", "127.0.0.1", "--http-port", port,
		"--grpc-address", "127.0.0.1", "--grpc-port", freePort(l), "--http-metrics-port", freePort(l),
		"--storage-dir", filepath.Join(l.dir, "tiles"), "--signer-filepath", "rekor.key", "--checkpoint-interval", "1s", "--batch-max-age", "100ms")
}

// freePort is a port that nobody listens on at the moment.
func freePort(l *lab) string {
	l.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		l.Fatal(err)
	}
	defer listener.Close()
	_, port, err := net.SplitHostPort(listener.Addr().String())
	if err != nil {
		l.Fatal(err)
	}
	return port
}

// start runs a server until the test ends, and waits until it answers.
func (l *lab) start(address, name string, args ...string) {
	l.Helper()
	said, err := os.Create(filepath.Join(l.dir, name+".log"))
	if err != nil {
		l.Fatal(err)
	}
	cmd := exec.Command(l.tool(name), args...)
	cmd.Dir, cmd.Stdout, cmd.Stderr = l.dir, said, said
	cmd.Env = append(os.Environ(), "HOME="+l.dir)
	if err := cmd.Start(); err != nil {
		l.Fatal(err)
	}
	ended := make(chan struct{})
	go func() {
		_ = cmd.Wait()
		close(ended)
	}()
	l.Cleanup(func() {
		_ = cmd.Process.Signal(syscall.SIGTERM)
		select {
		case <-ended:
		case <-time.After(10 * time.Second):
			_ = cmd.Process.Kill()
			<-ended
		}
		said.Close()
	})
	for range 600 {
		if resp, err := http.Get(address); err == nil {
			resp.Body.Close()
			return
		}
		select {
		case <-ended:
			b, _ := os.ReadFile(said.Name())
			l.Fatalf("%s %s ended: %v\n%s", name, strings.Join(args, " "), cmd.ProcessState, b)
		case <-time.After(100 * time.Millisecond):
		}
	}
	b, _ := os.ReadFile(said.Name())
	l.Fatalf("%s does not answer at %s\n%s", name, address, b)
}

func get(l *lab, address string) []byte {
	l.Helper()
	resp, err := http.Get(address)
	if err != nil {
		l.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil || resp.StatusCode != http.StatusOK {
		l.Fatalf("%s: %s, %v: %s", address, resp.Status, err, b)
	}
	return b
}
