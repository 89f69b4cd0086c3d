package debian

import (
	"bytes"
	"fmt"
	"slices"
	"strings"

	"github.com/etcdimg/etcdimg/pkg/lock"
	"github.com/etcdimg/etcdimg/pkg/rootfs"
)

// Source is one paragraph of a deb822 sources file, sources.list(5): where apt
// in the image finds packages.
type Source struct {
	URI        string
	Suites     []string
	Components []string
	Pinned     bool // a past state of the archive, whose Valid-Until has passed
}

// RuntimeSources are the sources of an image with the given packages. lines
// have the form of a profile's repositories: a URL stands for itself, a named
// archive for its snapshot at the time of the lock. Without lines they are the
// suites of the lock, those left out for the architecture excepted.
func RuntimeSources(lines []string, suites []lock.Suite, set lock.Debian) ([]Source, error) {
	var repos []repository
	for _, line := range lines {
		r, err := parseRepository(line)
		if err != nil {
			return nil, err
		}
		repos = append(repos, r)
	}
	arch, _ := DebianArch(set.Arch)
	base := SnapshotBase
	if !slices.ContainsFunc(set.Packages, func(p lock.Package) bool { return p.Name == "ca-certificates" }) {
		// apt could not verify the server. What it fetches is signed anyway.
		base = "http" + strings.TrimPrefix(base, "https")
	}
	newest := map[string]lock.Suite{} // by archive; "" for any
	for _, s := range suites {
		if s.Arch != arch && s.Arch != archAll || s.Skipped != "" {
			continue
		}
		if len(lines) == 0 {
			repos = append(repos, repository{s.Archive, s.Suite, s.Components})
		}
		for _, key := range []string{s.Archive, ""} {
			if s.Date.After(newest[key].Date) && isNamed(s.Archive) {
				newest[key] = s
			}
		}
	}
	var out []Source
	for _, r := range repos {
		s := Source{URI: r.Archive, Suites: []string{r.Suite}, Components: r.Components}
		if isNamed(r.Archive) {
			at, ok := newest[r.Archive]
			if !ok {
				at, ok = newest[""]
			}
			if !ok {
				return nil, fmt.Errorf("repository %q of the image: the lock has no date for archive %s: write a URL", r.Archive+" "+r.Suite, r.Archive)
			}
			s.URI, s.Pinned = snapshotURL(base, r.Archive, SnapshotOf(at.Date))+"/", true
		}
		if i := slices.IndexFunc(out, func(o Source) bool { return o.URI == s.URI && slices.Equal(o.Components, s.Components) }); i >= 0 {
			out[i].Suites = append(out[i].Suites, r.Suite)
			continue
		}
		out = append(out, s)
	}
	return out, nil
}

func snapshotURL(base, archive, timestamp string) string {
	return strings.TrimRight(base, "/") + "/archive/" + archive + "/" + timestamp
}

const (
	archiveKeyring = "/usr/share/keyrings/debian-archive-keyring.pgp"
	sourcesFile    = "/etc/apt/sources.list.d/debian.sources"
)

// applySources tells apt where packages are, and whose signatures to believe.
func applySources(r *ruleRun) error {
	if len(r.opts.Sources) == 0 {
		return nil
	}
	var keys []string
	if _, ok := r.at(archiveKeyring); ok {
		keys = append(keys, archiveKeyring)
	}
	for i, key := range r.opts.Keys {
		ending := "pgp" // apt tells the two forms apart by it
		if isArmored(key) {
			ending = "asc"
		}
		o := text(fmt.Sprintf("/etc/apt/keyrings/profile-%d.%s", i+1, ending), string(key))
		if err := o.make(r); err != nil {
			return err
		}
		keys = append(keys, o.path)
	}
	var b bytes.Buffer
	for i, s := range r.opts.Sources {
		if i > 0 {
			b.WriteByte('\n')
		}
		writeField(&b, "Types", "deb")
		writeField(&b, "URIs", s.URI)
		writeField(&b, "Suites", strings.Join(s.Suites, " "))
		writeField(&b, "Components", strings.Join(s.Components, " "))
		if s.Pinned {
			writeField(&b, "Check-Valid-Until", "no")
		}
		writeField(&b, "Signed-By", strings.Join(keys, " "))
	}
	if err := r.parents(sourcesFile, r.origin()); err != nil {
		return err
	}
	return r.file(sourcesFile, 0o644, rootfs.Bytes(b.Bytes()), r.origin())
}

// aptInContainer keeps apt from filling the layer that a RUN instruction makes:
// no downloaded packages and no parsed indexes stay, indexes are kept
// compressed, translations are not fetched, and what is only suggested does
// not keep a package from being removed. The names are those that images of
// Debian have, which users' Dockerfiles delete.
var aptInContainer = []outcome{
	text("/etc/apt/apt.conf.d/docker-clean", strings.Join([]string{
		`DPkg::Post-Invoke { "rm -f /var/cache/apt/archives/*.deb /var/cache/apt/archives/partial/*.deb /var/cache/apt/*.bin || true"; };`,
		`APT::Update::Post-Invoke { "rm -f /var/cache/apt/archives/*.deb /var/cache/apt/archives/partial/*.deb /var/cache/apt/*.bin || true"; };`,
		`Dir::Cache::pkgcache "";`,
		`Dir::Cache::srcpkgcache "";`,
		``,
	}, "\n")),
	text("/etc/apt/apt.conf.d/docker-gzip-indexes", "Acquire::GzipIndexes \"true\";\n"),
	text("/etc/apt/apt.conf.d/docker-no-languages", "Acquire::Languages \"none\";\n"),
	text("/etc/apt/apt.conf.d/docker-autoremove-suggests", "Apt::AutoRemove::SuggestsImportant \"false\";\n"),
}

// dpkgInContainer: nothing starts services while an image is made, and what an
// image loses in a power cut can be made again.
var dpkgInContainer = []outcome{
	text("/etc/dpkg/dpkg.cfg.d/docker-apt-speedup", "force-unsafe-io\n"),
	executable("/usr/sbin/policy-rc.d", "#!/bin/sh\nexit 101\n"),
}

// applyPathConfig has dpkg leave out of later packages what the image has left
// out of its own.
func applyPathConfig(r *ruleRun) error {
	var b strings.Builder
	if r.opts.Slim {
		for _, dir := range slimmed {
			b.WriteString("path-exclude " + dir + "*\n")
		}
		b.WriteString("path-include /usr/share/doc/*/copyright\npath-include /usr/share/locale/locale.alias\n")
	}
	for _, pattern := range r.opts.Exclude {
		b.WriteString("path-exclude " + pattern + "\n")
	}
	return text("/etc/dpkg/dpkg.cfg.d/docker", b.String()).make(r)
}
