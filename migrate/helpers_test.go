package main

import (
	"bytes"
	"crypto/sha256"
	"strings"
	"testing"

	"github.com/etcdimg/etcdimg/migrate/internal/etcdtest"
)

// version is the bundled version of a line.
func version(t testing.TB, line string) string {
	t.Helper()
	for _, v := range etcdtest.Versions(t) {
		if strings.HasPrefix(v, line+".") {
			return v
		}
	}
	t.Fatalf("no etcd %s in the folder of binaries", line)
	return ""
}

// ports are for the servers of steps: tests that run at the same time must not
// all try the usual ones.
func ports(t testing.TB) []string {
	t.Helper()
	port := func() string { u := etcdtest.FreeURL(t); return u[strings.LastIndex(u, ":")+1:] }
	return []string{"--port", port(), "--peer-port", port()}
}

func sum(b []byte) [8]byte {
	h := sha256.Sum256(b)
	return [8]byte(h[:8])
}

// runOperator runs the operator's main function with any arguments.
func runOperator(t testing.TB, env map[string]string, args ...string) (code int, log string) {
	t.Helper()
	var out, errs bytes.Buffer
	code = run(args, func(k string) string { return env[k] }, &out, &errs)
	return code, out.String() + errs.String()
}
