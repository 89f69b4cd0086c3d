package operator

import (
	"context"
	"fmt"
	"strings"

	"github.com/etcdimg/etcdimg/migrate/internal/bundle"
	"github.com/etcdimg/etcdimg/migrate/internal/cluster"
	"github.com/etcdimg/etcdimg/migrate/internal/version"
)

// Ctl runs the etcdctl that is bundled of a line, or a later one, against a
// running cluster. A password is handed over where nobody else can read it.
func Ctl(b *bundle.Bundle, l version.Line, endpoints []string, tls cluster.Files, user, password string) (func(context.Context, ...string) ([]byte, error), error) {
	program := ""
	for _, v := range b.Versions() {
		if p := b.Program("etcdctl", v); p != "" && !v.Line().Before(l) && program == "" {
			program = p
		}
	}
	if program == "" {
		return nil, fmt.Errorf("no etcdctl of etcd %s or later is bundled", l)
	}
	// By itself etcdctl gives up after two seconds, for which checking a password
	// on a busy machine may be enough.
	args := []string{program, "--dial-timeout=20s", "--command-timeout=1m", "--endpoints=" + strings.Join(endpoints, ",")}
	for _, x := range [][2]string{{"--cacert", tls.CA}, {"--cert", tls.Cert}, {"--key", tls.Key}} {
		if x[1] != "" {
			args = append(args, x[0], x[1])
		}
	}
	if tls.Auto {
		args = append(args, "--insecure-skip-tls-verify")
	}
	var env []string
	if user != "" {
		env = append(env, "ETCDCTL_USER="+user+":"+password)
	}
	return func(ctx context.Context, more ...string) ([]byte, error) {
		return output(ctx, nil, append(args[:len(args):len(args)], more...), env)
	}, nil
}
