//go:build e2e

package e2e

import (
	"archive/tar"
	"bytes"
	"crypto/x509"
	"debug/buildinfo"
	"debug/elf"
	"encoding/json"
	"encoding/pem"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/types"
	"github.com/google/go-containerregistry/pkg/v1/validate"
	"github.com/opencontainers/image-spec/schema"
)

// hardenedArchs are the architectures of configs/hardened.yaml, with the ELF
// machine that their binaries must have.
var hardenedArchs = map[string]elf.Machine{
	"amd64":   elf.EM_X86_64,
	"arm64":   elf.EM_AARCH64,
	"ppc64le": elf.EM_PPC64,
	"s390x":   elf.EM_S390,
}

const (
	hardenedVersion = "3.6.16"
	hardenedBudget  = 8          // layers that an image may have
	hardenedSize    = 16_000_000 // bytes of all compressed layers on amd64
	migrateSize     = 12_000_000 // bytes of the migrate operator
)

func TestHardenedBuild(t *testing.T) {
	built := shared.image(t)
	index, top, err := openLayout(built.Output)
	if err != nil {
		t.Fatal(err)
	}
	images := imagesOf(t, built.Output)

	t.Run("is one index of four platforms", func(t *testing.T) {
		if got := top.Digest.String(); got != built.Digest {
			t.Errorf("index.json names %s, the command said %s", got, built.Digest)
		}
		m, err := index.IndexManifest()
		if err != nil {
			t.Fatal(err)
		}
		if len(m.Manifests) != len(hardenedArchs) {
			t.Errorf("%d manifests, want %d", len(m.Manifests), len(hardenedArchs))
		}
		for arch := range hardenedArchs {
			image, ok := images[arch]
			if !ok {
				t.Errorf("no image for %s", arch)
				continue
			}
			config, err := image.ConfigFile()
			if err != nil {
				t.Fatal(err)
			}
			if p := config.Platform(); p.OS != "linux" || p.Architecture != arch {
				t.Errorf("configuration of %s says %s", arch, p)
			}
			digest, err := image.Digest()
			if err != nil {
				t.Fatal(err)
			}
			if said, _ := built.image(arch); said.Digest != digest.String() {
				t.Errorf("%s is %s, the command said %s", arch, digest, said.Digest)
			}
		}
	})

	t.Run("passes go-containerregistry's validation", func(t *testing.T) {
		if err := validate.Index(index); err != nil {
			t.Error(err)
		}
		for arch, image := range images {
			if err := validate.Image(image); err != nil {
				t.Errorf("%s: %v", arch, err)
			}
		}
	})

	t.Run("follows the schemas of the image specification", func(t *testing.T) {
		check := func(what string, v schema.Validator, raw []byte) {
			if err := v.Validate(bytes.NewReader(raw)); err != nil {
				t.Errorf("%s: %v", what, err)
			}
			if bytes.Contains(raw, []byte("vnd.docker")) || bytes.Contains(raw, []byte("artifactType")) {
				t.Errorf("%s has a media type that is not OCI's, or an artifactType:\n%s", what, raw)
			}
		}
		file := func(name string) []byte {
			b, err := os.ReadFile(filepath.Join(built.Output, name))
			if err != nil {
				t.Fatal(err)
			}
			return b
		}
		raw := func(f func() ([]byte, error)) []byte {
			b, err := f()
			if err != nil {
				t.Fatal(err)
			}
			return b
		}
		check("oci-layout", schema.ValidatorMediaTypeLayoutHeader, file("oci-layout"))
		check("index.json", schema.ValidatorMediaTypeImageIndex, file("index.json"))
		check("index", schema.ValidatorMediaTypeImageIndex, raw(index.RawManifest))
		for arch, image := range images {
			check(arch+" manifest", schema.ValidatorMediaTypeManifest, raw(image.RawManifest))
			check(arch+" configuration", schema.ValidatorMediaTypeImageConfig, raw(image.RawConfigFile))
		}
	})

	t.Run("is addressed by its tag", func(t *testing.T) {
		if want := []string{hardenedVersion + "-0"}; !slices.Equal(built.Tags, want) {
			t.Errorf("tags %v, want %v", built.Tags, want)
		}
		if got := top.Annotations["org.opencontainers.image.ref.name"]; got != built.Tags[0] {
			t.Errorf("org.opencontainers.image.ref.name is %q, want %q", got, built.Tags[0])
		}
	})

	t.Run("is annotated", func(t *testing.T) {
		m, err := index.IndexManifest()
		if err != nil {
			t.Fatal(err)
		}
		annotated := map[string]map[string]string{"index": m.Annotations}
		for arch, image := range images {
			m, err := image.Manifest()
			if err != nil {
				t.Fatal(err)
			}
			annotated[arch] = m.Annotations
		}
		for what, annotations := range annotated {
			if v := annotations["org.opencontainers.image.version"]; !strings.HasPrefix(v, hardenedVersion) {
				t.Errorf("%s: org.opencontainers.image.version is %q", what, v)
			}
			created, err := time.Parse(time.RFC3339, annotations["org.opencontainers.image.created"])
			if err != nil || created.After(time.Now()) {
				t.Errorf("%s: org.opencontainers.image.created is %v (%v)", what, created, err)
			}
		}
	})

	t.Run("is written once, however often it is built", func(t *testing.T) {
		dir := filepath.Join(shared.scratch(t), "out")
		for range 2 {
			again := shared.command("build", shared.profile("hardened.yaml"), "-o", dir, "--output", "json").mustBuild(t)
			if again.Digest != built.Digest {
				t.Errorf("digest %s, want %s", again.Digest, built.Digest)
			}
		}
		if _, _, err := openLayout(dir); err != nil {
			t.Error(err)
		}
		if first, second := blobs(t, built.Output), blobs(t, dir); len(first) != len(second) {
			t.Errorf("%d files after one build, %d after two", len(first), len(second))
		}
	})

	for arch, image := range images {
		t.Run(arch+" starts as documented", func(t *testing.T) { checkConfig(t, image) })
		t.Run(arch+" has nothing that it should not", func(t *testing.T) { checkTree(t, arch, tree(t, image)) })
		t.Run(arch+" has few layers, of OCI's types", func(t *testing.T) {
			layers, err := image.Layers()
			if err != nil {
				t.Fatal(err)
			}
			if len(layers) == 0 || len(layers) > hardenedBudget {
				t.Errorf("%d layers, want 1 to %d", len(layers), hardenedBudget)
			}
			var total int64
			for _, layer := range layers {
				if mediaType, err := layer.MediaType(); err != nil || mediaType != types.OCILayer {
					t.Errorf("media type %s, want %s (%v)", mediaType, types.OCILayer, err)
				}
				size, err := layer.Size()
				if err != nil {
					t.Fatal(err)
				}
				total += size
			}
			t.Logf("%.2f MB compressed", float64(total)/1e6)
			if arch == "amd64" && total > hardenedSize {
				t.Errorf("%d bytes compressed, want at most %d", total, hardenedSize)
			}
		})
	}
}

func checkConfig(t *testing.T, image v1.Image) {
	file, err := image.ConfigFile()
	if err != nil {
		t.Fatal(err)
	}
	config := file.Config
	// Kubernetes can check runAsNonRoot only for a number.
	if user, _, _ := strings.Cut(config.User, ":"); user != "65532" {
		t.Errorf("user %q, want 65532", config.User)
	}
	if want := []string{"/usr/local/bin/etcd"}; !slices.Equal(config.Cmd, want) || len(config.Entrypoint) != 0 {
		t.Errorf("entrypoint %q, cmd %q; want none, and %q", config.Entrypoint, config.Cmd, want)
	}
	if config.WorkingDir != "/var/lib/etcd" {
		t.Errorf("work-dir %q, want /var/lib/etcd", config.WorkingDir)
	}
	environment := map[string]string{}
	for _, kv := range config.Env {
		key, value, _ := strings.Cut(kv, "=")
		environment[key] = value
		if strings.HasPrefix(key, "ETCD") {
			t.Errorf("%s is set: etcd exits when a flag repeats it", key)
		}
	}
	if !slices.Contains(filepath.SplitList(environment["PATH"]), "/usr/local/bin") {
		t.Errorf("PATH is %q", environment["PATH"])
	}
	if environment["SSL_CERT_FILE"] != "/etc/ssl/certs/ca-certificates.crt" {
		t.Errorf("SSL_CERT_FILE is %q", environment["SSL_CERT_FILE"])
	}
	for _, port := range []string{"2379/tcp", "2380/tcp"} {
		if _, ok := config.ExposedPorts[port]; !ok {
			t.Errorf("port %s is not exposed: %v", port, config.ExposedPorts)
		}
	}
	if config.StopSignal != "" && config.StopSignal != "SIGTERM" {
		t.Errorf("stop signal %s", config.StopSignal)
	}
}

// checkProgram checks that a program is a static, stripped one of the
// architecture that nobody can change, and returns what it says of itself.
func checkProgram(t *testing.T, arch string, files map[string]file, path string) *buildinfo.BuildInfo {
	t.Helper()
	f := files[path]
	if f.Uid != 0 || f.Mode&0o777 != 0o555 {
		t.Errorf("%s has owner %d and mode %o", path, f.Uid, f.Mode)
	}
	program, err := elf.NewFile(bytes.NewReader(f.content))
	if err != nil {
		t.Fatal(err)
	}
	if program.Machine != hardenedArchs[arch] {
		t.Errorf("%s is for %s, want %s", path, program.Machine, hardenedArchs[arch])
	}
	for _, p := range program.Progs {
		if p.Type == elf.PT_INTERP {
			t.Errorf("%s is linked dynamically", path)
		}
	}
	if program.Section(".symtab") != nil || program.Section(".debug_info") != nil || program.Section(".zdebug_info") != nil {
		t.Errorf("%s is not stripped", path)
	}
	info, err := buildinfo.Read(bytes.NewReader(f.content))
	if err != nil {
		t.Fatal(err)
	}
	return info
}

func checkTree(t *testing.T, arch string, files map[string]file) {
	var programs []string
	for path, f := range files {
		if f.Uname != "" || f.Gname != "" {
			t.Errorf("%s has the owner's name %q:%q", path, f.Uname, f.Gname)
		}
		if f.Typeflag == tar.TypeReg && bytes.HasPrefix(f.content, []byte(elf.ELFMAG)) {
			programs = append(programs, path)
		}
		if f.Typeflag == tar.TypeReg && f.Mode&0o6000 != 0 {
			t.Errorf("%s is setuid or setgid: %o", path, f.Mode)
		}
	}
	slices.Sort(programs)
	if want := []string{"/usr/local/bin/etcd", "/usr/local/bin/migrate"}; !slices.Equal(programs, want) {
		t.Fatalf("programs %v, want %v alone", programs, want)
	}
	for _, path := range []string{"/bin/sh", "/usr/bin/sh", "/bin/busybox", "/usr/bin/apt", "/usr/bin/dpkg", "/usr/local/bin/migrate-if-needed.sh"} {
		if _, ok := files[path]; ok {
			t.Errorf("%s is there", path)
		}
	}

	if m := checkProgram(t, arch, files, "/usr/local/bin/etcd").Main; m.Path != "go.etcd.io/etcd/server/v3" || m.Version != "v"+hardenedVersion {
		t.Errorf("etcd was compiled from %s %s, want go.etcd.io/etcd/server/v3 v%s", m.Path, m.Version, hardenedVersion)
	}
	if pkg := checkProgram(t, arch, files, "/usr/local/bin/migrate").Path; pkg != "github.com/etcdimg/etcdimg/migrate" {
		t.Errorf("migrate was compiled from %s", pkg)
	}
	if size := len(files["/usr/local/bin/migrate"].content); size > migrateSize {
		t.Errorf("migrate has %d bytes, want at most %d", size, migrateSize)
	}

	for path, want := range map[string]struct {
		owner int
		mode  int64
	}{
		"/var/lib/etcd": {65532, 0o700},
		"/etcd-data":    {65532, 0o700},
		"/tmp":          {0, 0o1777},
	} {
		f, ok := files[path]
		if !ok || f.Typeflag != tar.TypeDir || f.Uid != want.owner || f.Gid != want.owner || f.Mode&0o7777 != want.mode {
			t.Errorf("%s: want a directory of %d with mode %o, got %s", path, want.owner, want.mode, headerLine(&f.Header))
		}
	}
	for path, want := range map[string]string{
		"/etc/passwd":     "nonroot:x:65532:65532:",
		"/etc/group":      "nonroot:x:65532:",
		"/etc/os-release": "VERSION_ID=",
	} {
		if !strings.Contains(string(follow(files, path).content), want) {
			t.Errorf("%s has no %q:\n%s", path, want, follow(files, path).content)
		}
	}
	if nsswitch := string(follow(files, "/etc/nsswitch.conf").content); !strings.Contains(nsswitch, "hosts:") {
		t.Errorf("/etc/nsswitch.conf does not say how hosts are found:\n%s", nsswitch)
	}
	authorities := 0
	for rest := follow(files, "/etc/ssl/certs/ca-certificates.crt").content; ; authorities++ {
		var block *pem.Block
		if block, rest = pem.Decode(rest); block == nil {
			break
		}
		if _, err := x509.ParseCertificate(block.Bytes); err != nil {
			t.Error(err)
		}
	}
	if authorities < 100 {
		t.Errorf("%d certificate authorities in the bundle, want 100 or more", authorities)
	}
	berlin := follow(files, "/usr/share/zoneinfo/Europe/Berlin")
	if _, err := time.LoadLocationFromTZData("Europe/Berlin", berlin.content); err != nil {
		t.Errorf("zone data: %v", err)
	}
}

// follow returns the file at path, through links of its last element.
func follow(files map[string]file, path string) file {
	for range 10 {
		f := files[path]
		switch f.Typeflag {
		case tar.TypeSymlink:
			if path = filepath.Join(filepath.Dir(path), f.Linkname); strings.HasPrefix(f.Linkname, "/") {
				path = filepath.Clean(f.Linkname)
			}
		case tar.TypeLink:
			path = filepath.Join("/", f.Linkname)
		default:
			return f
		}
	}
	return file{}
}

func TestSingleArchitecture(t *testing.T) {
	built := shared.image(t)
	for arch := range hardenedArchs {
		dir := filepath.Join(shared.scratch(t), arch)
		one := shared.command("build", shared.profile("hardened.yaml"), "--arch", arch, "-o", dir, "--output", "json").mustBuild(t)
		images := imagesOf(t, dir)
		if len(images) != 1 || len(one.Images) != 1 {
			t.Errorf("--arch %s gave %d images", arch, len(images))
			continue
		}
		if want, _ := built.image(arch); one.Images[0].Digest != want.Digest {
			t.Errorf("%s alone is %s, among four it is %s", arch, one.Images[0].Digest, want.Digest)
		}
	}
	// Other systems' names are understood, in any order and together.
	dir := filepath.Join(shared.scratch(t), "two")
	shared.command("build", shared.profile("hardened.yaml"), "--arch", "aarch64", "--arch", "x86_64", "-o", dir, "--output", "json").mustBuild(t)
	images := imagesOf(t, dir)
	if _, arm := images["arm64"]; !arm || images["amd64"] == nil || len(images) != 2 {
		t.Errorf("--arch aarch64 --arch x86_64 gave %v", images)
	}
}

// The README's first command, in a folder of its own: no flag, and the output
// where the documentation says.
func TestDefaultOutput(t *testing.T) {
	built := shared.image(t)
	c := shared.command("build", shared.profile("hardened.yaml"))
	c.dir = shared.scratch(t)
	stdout, _, err := c.run(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(stdout, built.Digest) {
		t.Errorf("the index digest %s is not in what the command prints:\n%s", built.Digest, stdout)
	}
	_, top, err := openLayout(filepath.Join(c.dir, "dist", "hardened"))
	if err != nil {
		t.Fatal(err)
	}
	if top.Digest.String() != built.Digest {
		t.Errorf("dist/hardened has %s, want %s", top.Digest, built.Digest)
	}
}

// Every line of the result of --output json is for programs: what it says
// about layers is what the manifests say.
func TestResultDescribesLayers(t *testing.T) {
	built := shared.image(t)
	for arch, image := range imagesOf(t, built.Output) {
		m, err := image.Manifest()
		if err != nil {
			t.Fatal(err)
		}
		config, err := image.ConfigFile()
		if err != nil {
			t.Fatal(err)
		}
		said, _ := built.image(arch)
		if len(said.Layers) != len(m.Layers) {
			t.Errorf("%s: the command lists %d layers, the manifest %d", arch, len(said.Layers), len(m.Layers))
			continue
		}
		for i, layer := range said.Layers {
			want := m.Layers[i]
			if layer.Digest != want.Digest.String() || layer.Size != want.Size || layer.MediaType != string(want.MediaType) || layer.DiffID != config.RootFS.DiffIDs[i].String() {
				b, _ := json.Marshal(want)
				t.Errorf("%s: layer %d is %+v, in the manifest %s with diffID %s", arch, i, layer, b, config.RootFS.DiffIDs[i])
			}
			if len(layer.Components) == 0 {
				t.Errorf("%s: layer %d has no component", arch, i)
			}
		}
	}
}

// Components that do not depend on the architecture are one blob for all.
func TestArchitecturesShareLayers(t *testing.T) {
	images := map[string]int{}
	for _, image := range shared.image(t).Images {
		for _, layer := range image.Layers {
			images[layer.Digest]++
		}
	}
	for _, n := range images {
		if n == len(hardenedArchs) {
			return
		}
	}
	t.Errorf("no layer is common to all architectures: %v", images)
}
