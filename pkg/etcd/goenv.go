package etcd

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net/url"
	"slices"
	"strings"
)

// downloadSettings are the settings of the go command that say where modules
// come from, how they are checked and where they are kept. They are the host's
// to decide, wherever it decides them: environment or go env -w.
var downloadSettings = []string{
	"GOPROXY", "GONOPROXY", "GOPRIVATE", "GOINSECURE", "GOAUTH", "GOVCS",
	"GOSUMDB", "GONOSUMDB",
	"GOPATH", "GOMODCACHE", "GOCACHE", // GOPATH keeps what is known of the checksum database
}

// passedOn are the variables of the host's environment that reach the go
// command: those that downloads need, and none that changes what is compiled.
var passedOn = []string{
	"HOME", "XDG_CONFIG_HOME", "USER", "LOGNAME", "TMPDIR", "PATH", // PATH for git, where a module comes from a repository
	"HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "ALL_PROXY",
	"http_proxy", "https_proxy", "no_proxy", "all_proxy",
	"SSL_CERT_FILE", "SSL_CERT_DIR", "NETRC",
	"GIT_SSL_CAINFO", "GIT_SSL_CAPATH", "GIT_SSH", "GIT_SSH_COMMAND", "GIT_ASKPASS", "GIT_CONFIG_GLOBAL", "SSH_AUTH_SOCK",
}

// environ is an environment as os.Environ gives it: NAME=value, the last one
// of a name counting.
type environ []string

func (e environ) get(name string) string {
	for _, kv := range slices.Backward(e) {
		if k, v, ok := strings.Cut(kv, "="); ok && k == name {
			return v
		}
	}
	return ""
}

// host is what is known of the machine's go command.
type host struct {
	path     string            // absolute
	version  string            // go1.26.8
	settings map[string]string // downloadSettings that have a value
	environ  environ           // the host's whole environment
}

// base returns the environment under which the go command downloads and
// compiles: the host's download settings and nothing else of the host. The
// toolchain is taken from the module proxy unless the host's go is that very
// version.
func (h *host) base(toolchain string) []string {
	var env []string
	for _, name := range passedOn {
		v := h.environ.get(name)
		if name == "PATH" {
			v = withoutProgram(v, toolchain)
		}
		if v != "" {
			env = append(env, name+"="+v)
		}
	}
	for _, name := range downloadSettings {
		if v := h.settings[name]; v != "" {
			env = append(env, name+"="+v)
		}
	}
	return append(env,
		"GOENV=off", "GOFLAGS=", "GOWORK=off", "GO111MODULE=on", "GOTOOLCHAIN="+toolchain,
		"LC_ALL=C", "GIT_TERMINAL_PROMPT=0",
	)
}

// parseGoEnv reads the answer of go env -json: an object of strings.
func parseGoEnv(b []byte) (map[string]string, error) {
	var env map[string]string
	dec := json.NewDecoder(bytes.NewReader(b))
	if err := dec.Decode(&env); err != nil {
		return nil, fmt.Errorf("the answer of go env is not understood: %w", err)
	}
	for name, value := range env {
		if strings.ContainsAny(name, "=\x00") || strings.ContainsRune(value, 0) {
			return nil, fmt.Errorf("the answer of go env is not understood: %q is no setting", name)
		}
	}
	return env, nil
}

// readSettings asks the go command at path for its version and its download
// settings. It neither downloads nor changes anything.
func readSettings(ctx context.Context, r Runner, path string, e environ) (*host, error) {
	var stdout bytes.Buffer
	stderr := new(output)
	// Outside of any module, with its own toolchain, and without what it would
	// refuse to start with, such as a GOEXPERIMENT that it does not know.
	env := []string{"GOTOOLCHAIN=local", "GOWORK=off"}
	for _, names := range [][]string{passedOn, downloadSettings, {"GOENV"}} {
		for _, name := range names {
			if v := e.get(name); v != "" {
				env = append(env, name+"="+v)
			}
		}
	}
	args := append([]string{"env", "-json", "GOVERSION"}, downloadSettings...)
	if err := r.Run(ctx, Command{Path: path, Args: args, Env: env, Dir: "/", Stdout: &stdout, Stderr: stderr}); err != nil {
		if ctx.Err() != nil {
			return nil, err
		}
		return nil, fmt.Errorf("asking %s for its settings: %w%s", path, err, stderr.indented(4))
	}
	settings, err := parseGoEnv(stdout.Bytes())
	if err != nil {
		return nil, fmt.Errorf("asking %s for its settings: %w", path, err)
	}
	h := &host{path: path, version: settings["GOVERSION"], environ: e, settings: map[string]string{}}
	for _, name := range downloadSettings {
		h.settings[name] = settings[name]
	}
	return h, nil
}

// proxy is the host's GOPROXY as errors may show it: without passwords.
func (h *host) proxy() string {
	s := h.settings["GOPROXY"]
	if s == "" {
		return "the go command's default"
	}
	var b strings.Builder
	for s != "" {
		i := strings.IndexAny(s, ",|")
		one, sep := s, ""
		if i >= 0 {
			one, sep = s[:i], s[i:i+1]
		}
		if u, err := url.Parse(one); err == nil && u.User != nil {
			one = u.Redacted()
		}
		b.WriteString(one + sep)
		s = s[len(one)+len(sep):]
	}
	return b.String()
}
