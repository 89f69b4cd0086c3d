package sbom

import (
	"regexp"
	"strings"

	"golang.org/x/mod/module"
)

// homes are module paths whose repository is not in their name: who supplies
// the module, and where its repository is. A $ stands for the path's next
// element. The first prefix that fits counts.
var homes = []struct{ prefix, supplier, repository string }{
	{"go.etcd.io/etcd", "etcd-io", "https://github.com/etcd-io/etcd"},
	{"go.etcd.io/$", "etcd-io", "https://github.com/etcd-io/$"},
	{"golang.org/x/$", "The Go Authors", "https://go.googlesource.com/$"},
	{"google.golang.org/grpc", "The gRPC Authors", "https://github.com/grpc/grpc-go"},
	{"google.golang.org/protobuf", "The Go Authors", "https://go.googlesource.com/protobuf"},
	{"google.golang.org/genproto", "Google LLC", "https://github.com/googleapis/go-genproto"},
	{"google.golang.org/api", "Google LLC", "https://github.com/googleapis/google-api-go-client"},
	{"google.golang.org/appengine", "Google LLC", "https://github.com/golang/appengine"},
	{"cloud.google.com/go", "Google LLC", "https://github.com/googleapis/google-cloud-go"},
	{"go.opentelemetry.io/otel", "The OpenTelemetry Authors", "https://github.com/open-telemetry/opentelemetry-go"},
	{"go.opentelemetry.io/contrib", "The OpenTelemetry Authors", "https://github.com/open-telemetry/opentelemetry-go-contrib"},
	{"go.opentelemetry.io/proto/otlp", "The OpenTelemetry Authors", "https://github.com/open-telemetry/opentelemetry-proto-go"},
	{"go.opentelemetry.io/auto", "The OpenTelemetry Authors", "https://github.com/open-telemetry/opentelemetry-go-instrumentation"},
	{"go.uber.org/$", "Uber Technologies, Inc.", "https://github.com/uber-go/$"},
	{"go.yaml.in/yaml", "The YAML organization", "https://github.com/yaml/go-yaml"},
	{"gopkg.in/yaml.", "The go-yaml authors", "https://github.com/go-yaml/yaml"},
	{"sigs.k8s.io/$", "The Kubernetes Authors", "https://github.com/kubernetes-sigs/$"},
	{"k8s.io/$", "The Kubernetes Authors", "https://github.com/kubernetes/$"},
	{"go4.org/$", "The go4 Authors", "https://github.com/go4org/$"},
}

var (
	forge     = regexp.MustCompile(`^(github\.com|gitlab\.com|bitbucket\.org)/([^/]+)/([^/]+)`)
	gopkgUser = regexp.MustCompile(`^gopkg\.in/([^/]+)/([^/.]+)\.v\d+`)
	gopkg     = regexp.MustCompile(`^gopkg\.in/([^/.]+)\.v\d+`)
)

// home returns who supplies a module, and the address of its repository, or of
// the page that leads the go command there.
func home(path string) (supplier, repository string) {
	if m := forge.FindStringSubmatch(path); m != nil {
		return m[2] + " (" + m[1] + "/" + m[2] + ")", "https://" + m[0]
	}
	for _, h := range homes {
		prefix, wild := strings.CutSuffix(h.prefix, "$")
		rest, ok := strings.CutPrefix(path, prefix)
		if !ok || !wild && rest != "" && rest[0] != '/' && !strings.HasSuffix(prefix, ".") {
			continue
		}
		next, _, _ := strings.Cut(rest, "/")
		return h.supplier, strings.ReplaceAll(h.repository, "$", next)
	}
	if m := gopkgUser.FindStringSubmatch(path); m != nil {
		return m[1] + " (github.com/" + m[1] + ")", "https://github.com/" + m[1] + "/" + m[2]
	}
	if m := gopkg.FindStringSubmatch(path); m != nil {
		return "go-" + m[1] + " (github.com/go-" + m[1] + ")", "https://github.com/go-" + m[1] + "/" + m[1]
	}
	host, _, _ := strings.Cut(path, "/")
	return host, "https://" + path
}

// sourceLocation is where a module version's source is, as SPDX writes it (2.3,
// 7.7.1): the repository at the commit or tag that the version names.
func sourceLocation(path, version string) string {
	_, repository := home(path)
	if !strings.HasPrefix(repository, "https://github.com/") && !strings.HasPrefix(repository, "https://go.googlesource.com/") &&
		!strings.HasPrefix(repository, "https://gitlab.com/") && !strings.HasPrefix(repository, "https://bitbucket.org/") {
		return repository
	}
	return "git+" + repository + revision(path, repository, version)
}

func revision(path, repository, version string) string {
	if version == "" || version == "(devel)" {
		return ""
	}
	if commit, err := module.PseudoVersionRev(version); err == nil {
		return "@" + commit
	}
	return "@" + tagPrefix(path, repository) + strings.TrimSuffix(version, "+incompatible")
}

// tagPrefix is what stands before the version in the tags of a module that is
// not its repository's only one: the folder that it lies in.
func tagPrefix(path, repository string) string {
	prefix, _, ok := module.SplitPathVersion(path)
	if !ok {
		prefix = path
	}
	var folder string
	switch {
	case strings.HasPrefix(path, "gopkg.in/"):
	case forge.MatchString(path):
		folder = strings.TrimPrefix(prefix, strings.TrimPrefix(repository, "https://"))
	default:
		for _, h := range homes {
			root, wild := strings.CutSuffix(h.prefix, "$")
			rest, ok := strings.CutPrefix(prefix, root)
			if !ok {
				continue
			}
			if wild {
				_, rest, _ = strings.Cut(rest, "/")
			}
			folder = rest
			break
		}
	}
	if folder = strings.Trim(folder, "/"); folder == "" || strings.HasPrefix(folder, ".") {
		return ""
	}
	return folder + "/"
}
